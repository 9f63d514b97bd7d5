"""Honest clients beside hostile ones of eleven kinds, one kind at a time: who waits for how long, and on what."""
