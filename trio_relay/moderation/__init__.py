"""What operators decide at run time: its one owner, and all that follows from their decisions. Knows no pipeline."""
