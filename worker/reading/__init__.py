"""Reading accounting files back: for people, never for the worker's own decisions.

Nothing here writes, locks or asks a live group. Files are read as far as they count: sealed ones by their manifest,
open ones up to the length that a commit record tells.
"""
