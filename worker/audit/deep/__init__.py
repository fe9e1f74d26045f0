"""The deep audit: every event of a range of the streams against every row of the files.

The order of rows does not matter, and memory is bounded: both sides are hashed row by row, the hashes are spilled into
partitions on disk and compared one partition after the other. Only where something differs are the rows themselves
looked for, in a second pass.
"""
