"""The audit: that every event is accounted for, and every row stands in the files. Reads only (docs/audit.md).

Nothing is computed from its counterpart: a term is read where it really is, and both sides of an equation are of one
moment, though workers and the janitor go on working. So a difference is never an effect of looking.
"""
