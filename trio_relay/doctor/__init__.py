"""What is looked at for an operator whose relay may be ill: each group of looks in a file, with its verdicts."""
