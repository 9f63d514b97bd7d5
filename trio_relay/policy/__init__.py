"""What this relay allows: who may write and read what, and the lists that its operators keep. Pure."""
