"""Erasure: an address in a text, in whatever form, and the text without it. Pure.

What stands in its place is the same for all addresses, so a row stays a row, and nobody learns from it who it was.
"""
