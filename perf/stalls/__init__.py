"""How long what one client sends holds the relay's loop, and what many hostile ones do to all others."""
