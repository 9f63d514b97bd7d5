"""A month of weather in an hour: honest clients, a ledger of what they were told, and all that may go wrong beside."""
