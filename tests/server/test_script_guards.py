"""What the workers' scripts do before their first write, and after it, on a server where something is wrong.

A script is atomic but not transactional: an error after its first write leaves what was written before it. So each
one looks at the keys and counters that it will touch first, and begins with a write that a full server allows.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from schemas.events import TYPES
from tests.server.test_scripts import commit, read_parts
from tests.support.publisher import Publisher
from tests.support.servers import RealValkey
from tests.support.streams import register
from tests.support.workers import PARTITION, settings
from worker import records
from worker.batch import Part
from worker.decode import DeadLetter
from worker.errors import StreamUnavailable
from worker.records import FileState, Record
from worker.stream import Pending, Stream, fleet
from worker.stream.keys import Keys
from worker.stream.link import Link, connector
from worker.stream.retirement import retire_on

KEYS = Keys.of(PARTITION)
OPEN = Record(batch=1, files={"bounce": FileState(name="b.tsv", inode=1, length=1, opened_ms=1)})
STREAMS = tuple(KEYS.streams.values())

#: What Lua takes for a number, or looks like one, and HINCRBY does not take.
NO_COUNTS = ("1.5", "0x10", "007", "1e3", "inf", " 1", "many", "")


class Stage:
    """A worker with entries in hand, and others that are dead or gone."""

    def __init__(self, valkey: RealValkey, tmp_path: Path) -> None:
        self.client: Any = valkey.client()
        self.configured = settings(tmp_path).stream
        self.link = Link(connector(self.configured, valkey.url))
        self.link.open()
        self._url = valkey.url
        publisher = Publisher(self.client, PARTITION)
        self.dead = self._registered("dead")
        commit(self.dead, OPEN)
        publisher.publish_some(3)
        read_parts(self.dead, tmp_path)
        self.client.delete(KEYS.lease("dead"))
        commit(self._registered("gone"), Record(batch=1))
        self.client.delete(KEYS.lease("gone"))
        self.mine = self._registered("worker-1")
        publisher.publish_some(3)
        self.parts: dict[str, Part] = read_parts(self.mine, tmp_path)
        self.entry = self.parts["bounce"].ids[0]

    def _registered(self, consumer: str) -> Stream:
        stream = Stream(self.configured, consumer, url=self._url)
        stream.open()
        register(stream, "dir")
        return stream

    def pending(self, consumer: str) -> int:
        return sum(
            len(self.client.xpending_range(key, "accounting", "-", "+", 10, consumername=consumer)) for key in STREAMS
        )

    def facts(self) -> dict[str, object]:
        """Return what scripts do, in words."""
        record = records.decode(self._stored())
        assert self.client.hget(KEYS.owners, "worker-1") == self.mine._identity()[1] + b" dir"
        return {
            "alive": self.client.exists(KEYS.lease("worker-1")),
            "mine": self.pending("worker-1"),
            "dead": self.pending("dead"),
            "lost": sum(int(self.client.hget(KEYS.ledger, f"{event_type}:lost")) for event_type in TYPES),
            "letters": self.client.xlen(KEYS.dead),
            "my record": self.client.hexists(KEYS.records, "worker-1 dir"),
            "dead is fenced": self.client.hget(KEYS.owners, "dead") != self.dead._identity()[1] + b" dir",
            "file": bool(record and record.files),
            "gone": self.client.hexists(KEYS.owners, "gone"),
        }

    def everything(self) -> dict[bytes, bytes]:
        """Return what the server holds, all but what the seconds change."""
        return {key: self.client.dump(key) for key in self.client.keys("*")}

    def take_over(self) -> object:
        return fleet.take_over(self.link, KEYS, ("worker-1", *self.mine._identity()), b"dead")

    def seize(self) -> object:
        return self.mine.seize("bounce", "b.tsv")

    def forget(self) -> bool:
        return self.mine.forget(fleet.Seized("dead", OPEN, self._stored()), Record(batch=1))

    def _stored(self) -> bytes:
        stored = self.client.type(KEYS.records) == b"hash" and self.client.hget(KEYS.records, "dead dir")
        return stored or b""

    def do(self, script: str) -> object:
        """Run a script as a worker does."""
        suspect = Pending("bounce", self.entry, 4)
        deeds: dict[str, Callable[[], object]] = {
            "register": lambda: register(self.mine, "dir"),
            "commit": lambda: commit(self.mine, Record(batch=1), self.parts),
            "arrive": lambda: self.mine.arrive(["bounce mx1:1"]),
            "hand_in": lambda: self.mine.hand_in("dir", Record(batch=9), ["bounce mx1:1"]),
            "put_back": lambda: self.mine.put_back("dead", Record(batch=9, total={"bounce": 3})),
            "lease": self.mine.renew_lease,
            "read_alone": lambda: self.mine.read_alone("bounce", self.entry),
            "set_aside": lambda: self.mine.set_aside("bounce", self.entry, "killed its readers"),
            "forgive": lambda: self.mine.forgive(3, suspect),
            "take_over": self.take_over,
            "seize": self.seize,
            "forget": self.forget,
            "retire": lambda: retire_on(self.link, KEYS, "gone"),
        }
        return deeds[script]()


class Touched(NamedTuple):
    """What a script will write to."""

    keys: tuple[str, ...]
    counters: tuple[str, ...] = ()


COMMIT_COUNTERS = ("events", "rows", "rows:dir", "dead", "lost", "foreign")
SCRIPTS = {
    "register": Touched((KEYS.epoch, KEYS.owners, KEYS.records, KEYS.history, KEYS.directories)),
    "arrive": Touched((KEYS.owners, KEYS.records, KEYS.history, KEYS.written, KEYS.watch, KEYS.lease("worker-1"))),
    "hand_in": Touched((KEYS.records, KEYS.history, KEYS.written)),
    "put_back": Touched(
        (KEYS.epoch, KEYS.owners, KEYS.records, KEYS.ledger, KEYS.history, KEYS.written), ("rows", "rows:dir")
    ),
    "commit": Touched(
        (
            KEYS.owners,
            KEYS.records,
            KEYS.lease("worker-1"),
            KEYS.ledger,
            KEYS.dead,
            KEYS.watch,
            KEYS.history,
            KEYS.written,
            *STREAMS,
        ),
        COMMIT_COUNTERS,
    ),
    "lease": Touched((KEYS.owners, KEYS.lease("worker-1"), KEYS.history, KEYS.written)),
    "read_alone": Touched((KEYS.owners, KEYS.ledger, KEYS.watch, KEYS.streams["bounce"]), ("lost",)),
    "set_aside": Touched(
        (KEYS.owners, KEYS.ledger, KEYS.dead, KEYS.watch, KEYS.streams["bounce"]), ("dead", "lost", "foreign")
    ),
    "forgive": Touched((KEYS.owners, KEYS.ledger, KEYS.watch, *STREAMS), ("lost",)),
    "take_over": Touched((KEYS.epoch, KEYS.owners, KEYS.ledger, KEYS.watch, *STREAMS), ("lost",)),
    "seize": Touched((KEYS.epoch, KEYS.owners, KEYS.records)),
    "forget": Touched((KEYS.records,)),
    "retire": Touched((KEYS.owners, KEYS.records, *STREAMS)),
}


@pytest.fixture
def stage(valkey: RealValkey, tmp_path: Path) -> Iterator[Stage]:
    made = Stage(valkey, tmp_path)
    yield made
    made.link.close()
    for stream in (made.mine, made.dead):
        stream.close()


@pytest.mark.parametrize("script", SCRIPTS)
def test_trap_24_a_key_of_the_wrong_type_stops_a_script_before_its_first_write(stage: Stage, script: str) -> None:
    for key in SCRIPTS[script].keys:
        held = stage.client.exists(key)
        if held:
            stage.client.rename(key, "aside")
        stage.client.sadd(key, "wrong")
        before = stage.everything()
        try:
            assert stage.do(script) is False
        except StreamUnavailable as error:
            assert "WRONGTYPE" in str(error), key
        assert stage.everything() == before, key
        stage.client.delete(key)
        if held:
            stage.client.rename("aside", key)
    stage.do(script)


@pytest.mark.parametrize("script", [name for name, touched in SCRIPTS.items() if touched.counters])
def test_trap_24_a_counter_that_is_no_count_stops_a_script_before_its_first_write(stage: Stage, script: str) -> None:
    for counter in SCRIPTS[script].counters:
        for value in NO_COUNTS:
            stage.client.hset(KEYS.ledger, f"bounce:{counter}", value)
            before = stage.everything()
            with pytest.raises(StreamUnavailable, match="WRONGVALUE"):
                stage.do(script)
            assert stage.everything() == before, (counter, value)
        stage.client.hset(KEYS.ledger, f"bounce:{counter}", 0)
    stage.do(script)


@pytest.mark.parametrize("script", ["commit", "set_aside"])
def test_trap_24_a_dead_letter_that_cannot_be_added_leaves_its_entry_unacknowledged(stage: Stage, script: str) -> None:
    stage.client.xadd(KEYS.dead, {"a": 1}, id=f"{2**64 - 1}-{2**64 - 1}")
    letter = DeadLetter("bounce", stage.entry, 0, b"{}", "Expected `object`", 1)
    stage.parts["bounce"] = stage.parts["bounce"]._replace(dead=[letter])
    before = stage.everything()
    with pytest.raises(StreamUnavailable, match="last possible ID"):
        stage.do(script)
    assert stage.everything() == before


@pytest.mark.parametrize("script", ["register", "take_over", "seize"])
@pytest.mark.parametrize("value", ["inf", "nan", "soon", "9007199254740992", ""])
def test_trap_14_an_epoch_that_does_not_count_on_stops_a_script_before_its_first_write(
    stage: Stage, script: str, value: str
) -> None:
    stage.client.set(KEYS.epoch, value)
    before = stage.everything()
    with pytest.raises(StreamUnavailable, match="WRONGVALUE"):
        stage.do(script)
    assert stage.everything() == before


#: What differs after each script.
DONE: dict[str, dict[str, object]] = {
    "register": {},
    "commit": {"alive": 1, "mine": 0, "my record": True},
    "arrive": {"alive": 1},
    "hand_in": {},
    "put_back": {"dead is fenced": True, "file": False},
    "lease": {"alive": 1},
    "read_alone": {"mine": 2, "lost": 1},
    "set_aside": {"mine": 2, "letters": 1},
    "forgive": {"mine": 0, "lost": 3},
    "take_over": {"dead": 0, "lost": 3, "dead is fenced": True},
    "seize": {"dead is fenced": True},
    "forget": {"file": False},
    "retire": {"gone": False},
}

#: Where XCLAIM leaves deleted entries on the list: whoever reads its list counts them.
DONE_BY_6_2 = DONE | {"forgive": {}, "take_over": {"mine": 6, "dead": 0, "dead is fenced": True}}


@pytest.mark.parametrize("script", DONE)
def test_trap_23_a_full_server_lets_every_script_finish(stage: Stage, script: str) -> None:
    stage.mine.read_pending(10)  # a second time, as a recovery does: there is something to forgive
    if script in {"read_alone", "take_over", "forgive"}:  # which then count it as lost
        for key in STREAMS:
            stage.client.xtrim(key, maxlen=0, approximate=False)
    before = stage.facts()
    stage.client.config_set("maxmemory", 1)
    stage.do(script)
    stage.client.config_set("maxmemory", 0)
    is_old = stage.client.info("server")["redis_version"] < "7"
    assert stage.facts() == before | (DONE_BY_6_2 if is_old else DONE)[script]
