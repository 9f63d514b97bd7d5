"""The memory: what is remembered, and the promises that every backend keeps (see `base`)."""
