"""Forgetting an address: where it stands, what is removed, and the note of it."""
