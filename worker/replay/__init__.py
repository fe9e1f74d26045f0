"""Replay: a range of the streams, or an export of one, written as accounting files once more.

What is written depends on the range and the configuration alone: the same bytes under the same names, on any day.
Nothing on the server changes, and no file that stands is replaced. What survives an interruption are whole files; a
replay that is run again finds them, and goes on.
"""
