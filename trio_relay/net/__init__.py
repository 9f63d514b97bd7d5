"""The doors: how the outside reaches the relay. Bytes become calls on the front desk, messages become frames."""
