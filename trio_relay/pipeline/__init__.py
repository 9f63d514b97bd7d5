"""The work: what happens to an event or a query between a client's words and the store's memory. No sockets here."""
