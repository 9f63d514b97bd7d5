"""Policy: who may write and read what, and the lists that operators keep. Pure: nothing here awaits."""
