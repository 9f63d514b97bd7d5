"""The relay management API (NIP-86)."""
