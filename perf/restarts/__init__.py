"""A relay that is restarted again and again behind sockets that stay open: who waits, how long, and what is lost."""
