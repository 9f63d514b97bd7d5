"""One file for each NIP, following its text; every store by one parameter."""
