"""Other relays, as this one talks to them: it is their client, to compare stores and to follow or feed them."""
