"""The deep audit: every event of a range of the streams against every row of the files.

The order of rows does not matter, and memory is bounded: both sides are hashed row by row, and the hashes go to disk.
Mostly their number and sum tell that both sides are the same; else they are compared partition by partition, and only
then are the rows themselves looked for, in a second pass.
"""
