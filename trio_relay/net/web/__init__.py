"""Pages for people: the front page, pages of events, and the console."""
