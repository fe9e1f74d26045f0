"""What becomes of a file once it is sealed: moved, compressed, uploaded, expired, each where it is asked for.

A directory has one janitor at a time, by a lock. It works on sealed files alone, never on what it does not know, and
off the loop's path. Every step is durable before the next one and can be done again, so a death anywhere is finished
by the next run; at every moment the manifest beside a file tells what form of it counts.
"""

from worker.janitor.janitor import EVERY_SECONDS, Done, Janitor

__all__ = ["EVERY_SECONDS", "Done", "Janitor"]
