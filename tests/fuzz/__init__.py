"""Any bytes at every door: what must hold whatever comes, said once for properties and for long guided runs."""
