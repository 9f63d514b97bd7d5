"""What `trio-relay doctor` finds: verdicts on numbers, and faults that are really made."""
