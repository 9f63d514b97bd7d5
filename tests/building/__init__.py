"""How the relay is built and released."""
