"""The words: what the Nostr protocol says. Bytes, text and numbers in, values out; nothing here awaits."""
