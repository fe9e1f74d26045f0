"""What to do with a record after a registration: the comparison of step 10. Pure."""

from typing import NamedTuple

from worker.records import Record

_NONE = Record()  # before the first commit


class Plan(NamedTuple):
    """Which record to make the files equal to; with `restore`, it is put back on the server first."""

    record: Record
    restore: bool
    lost_commits: int  # acknowledged by the server and gone from it


def plan(mine: Record | None, theirs: Record | None) -> Plan:
    """Compare my last acknowledged or adopted record with the server's; at a start mine is the journal's.

    The server's is at least as new: a commit of mine ran whose reply was lost, or none did, or the journal is stale;
    its lengths hold. It is older, or missing: the server lost its tail. The rows beyond its record were acknowledged
    and may be the only copy, so mine holds and is put back. A length that was never acknowledged is used in no case.
    """
    if mine is None:
        return Plan(theirs or Record(), restore=False, lost_commits=0)
    if (theirs or _NONE).batch >= mine.batch:
        return Plan(theirs or _NONE, restore=False, lost_commits=0)
    return Plan(mine, restore=True, lost_commits=mine.batch - (theirs.batch if theirs else 0))
