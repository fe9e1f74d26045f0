"""The comparison of step 10: whose record holds after a registration."""

import pytest

from worker.records import FileState, Record
from worker.recovery import Plan, plan


def record(batch: int, length: int) -> Record:
    file = FileState(name="b", inode=1, length=length, opened_ms=0)
    return Record(batch=batch, files={"bounce": file})


MINE = record(5, length=500)


@pytest.mark.parametrize(
    ("mine", "theirs", "expected"),
    [
        pytest.param(None, None, Plan(Record(), restore=False, lost_commits=0), id="first start"),
        pytest.param(None, MINE, Plan(MINE, restore=False, lost_commits=0), id="restart"),
        pytest.param(
            MINE, record(5, 501), Plan(record(5, 501), restore=False, lost_commits=0), id="same batch, theirs holds"
        ),
        pytest.param(
            MINE,
            record(6, 600),
            Plan(record(6, 600), restore=False, lost_commits=0),
            id="my commit ran, its reply was lost",
        ),
        pytest.param(MINE, record(9, 900), Plan(record(9, 900), restore=False, lost_commits=0), id="others went on"),
        pytest.param(MINE, record(4, 400), Plan(MINE, restore=True, lost_commits=1), id="server lost one commit"),
        pytest.param(MINE, record(0, 0), Plan(MINE, restore=True, lost_commits=5), id="server lost all but the record"),
        pytest.param(MINE, None, Plan(MINE, restore=True, lost_commits=5), id="server lost everything"),
        pytest.param(Record(), None, Plan(Record(), restore=False, lost_commits=0), id="nothing was committed yet"),
        pytest.param(Record(), Record(), Plan(Record(), restore=False, lost_commits=0), id="both are empty"),
    ],
)
def test_newer_record_holds_and_mine_is_put_back_where_the_server_lost_it(
    mine: Record | None, theirs: Record | None, expected: Plan
) -> None:
    assert plan(mine, theirs) == expected
