"""Every case, by name: what is sent to both Harakas, and what happens to them meanwhile."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from haraka.demo.messages import SENDER_DOMAIN, Message
from tests.haraka.scenarios import MESSAGES
from tests.haraka.side.haraka_side import Kind
from tests.haraka.side.troubles import Trouble, queue_away, queue_full, queue_replaced

TROUBLED: Final = "troubled"

#: Recipients of a message in trouble, by the way to the end of its queue file that Haraka takes meanwhile.
_WAYS: Final = {
    "it is delivered": ("accept.1",),
    "it is deferred": ("defer-1.1",),
    "it is deferred at the dot": ("defer-dot-1.1", "accept.1"),
    "it bounces": ("reject.1",),
    "it bounces at the dot": ("reject-dot.1", "accept.1"),
    "it fails for the last time": ("defer.1",),
    "one recipient is delivered and one bounces": ("accept.1", "reject.1"),
    "one recipient is delivered and one deferred": ("accept.1", "defer-1.1"),
    "one recipient is deferred and one bounces": ("defer-1.1", "reject.1"),
    "one recipient of each kind": ("accept.1", "defer-1.1", "reject.1"),
}
_TROUBLES: Final[Mapping[str, Trouble]] = {
    "its queue is away": queue_away,
    "its queue is replaced": queue_replaced,
    "its queue is full": queue_full,
}
_MIXED: Final = "one recipient is delivered and one bounces"
_WORDS: Final = {"delivered": "accept", "deferred": "defer-1", "bounce": "reject"}


@dataclass(frozen=True)
class Case:
    """What both sides get; with a trouble, at the first message."""

    messages: tuple[Message, ...]
    kind: Kind = field(default_factory=Kind)
    trouble: Trouble | None = None

    @property
    def needs_small_disk(self) -> bool:
        """Whether the queue needs a file system of its own."""
        return self.trouble is queue_full


def _message(script: str, *rcpts: str) -> Message:
    return Message(f"{script}@{SENDER_DOMAIN}", tuple(f"{rcpt}@blue.test" for rcpt in rcpts))


def _other_hooks() -> tuple[Message, ...]:
    """One message for each way in which another plugin's hook can behave."""
    ways = itertools.product(
        _WORDS, (-100, -50, 0, 50, 100), ("quick", "slow"), ("CONT", "OK", "DENY", "DENYSOFT"), ("before", "after")
    )
    scripts = ["_".join(map(str, way)) for way in ways]
    scripts += [f"{hook}_0_{speed}_DENY_before_overruled" for hook in _WORDS for speed in ("quick", "slow")]
    return tuple(
        _message(f"{script}.{number}", f"{_WORDS[script.split('_')[0]]}.{number}")
        for number, script in enumerate(scripts)
    )


def _troubled(way: str, script: str = TROUBLED) -> tuple[Message, ...]:
    return (_message(script, *_WAYS[way]),)


def _everything() -> dict[str, Case]:
    cases = {
        "all kept scenarios": Case(tuple(MESSAGES.values()), Kind(retry_seconds=(5, 5))),
        "all kept scenarios, nodes=2": Case(tuple(MESSAGES.values()), Kind(nodes=2)),
        "other plugins' hooks": Case(_other_hooks()),
        "no bounce messages": Case((*MESSAGES.values(), *_other_hooks()), Kind(suppress_dsn=True)),
    }
    for (what, trouble), way in itertools.product(_TROUBLES.items(), _WAYS):
        cases[f"{what} while {way}"] = Case(_troubled(way), trouble=trouble)
    for (what, trouble), place in itertools.product(_TROUBLES.items(), ("before", "after")):
        for hook, priority in (("delivered", -100), ("bounce", -100), ("delivered", 100)):
            script = f"{hook}_{priority}_slow_CONT_{place}"
            name = f"{what} while {_MIXED}, beside a slow {hook} hook at {priority}, listed {place}"
            cases[name] = Case(_troubled(_MIXED, script), trouble=trouble)
        cases[f"{what} while {_MIXED}, nodes=2 ({place})"] = Case(_troubled(_MIXED), Kind(nodes=2), trouble)
    for what, trouble in _TROUBLES.items():
        no_spool = Kind(accounting={"spool_dir": "plugins/demo_relay.js/spool"})
        cases[f"{what} while {_MIXED}, no bounce messages"] = Case(_troubled(_MIXED), Kind(suppress_dsn=True), trouble)
        cases[f"{what} while {_MIXED}, and the spool cannot be written"] = Case(_troubled(_MIXED), no_spool, trouble)
    for what, trouble in (("away", queue_away), ("full", queue_full)):
        spool_there = Kind(accounting={"spool_dir": "queue"})
        cases[f"its queue is {what} while {_MIXED}, and the spool with it"] = Case(
            _troubled(_MIXED), spool_there, trouble
        )
    return cases


EVERY: Final = _everything()
#: What the default run carries out.
TELLING: Final = (
    "all kept scenarios",
    "all kept scenarios, nodes=2",
    "other plugins' hooks",
    "no bounce messages",
    f"its queue is away while {_MIXED}",
    f"its queue is full while {_MIXED}",
    f"its queue is away while {_MIXED}, beside a slow delivered hook at -100, listed before",
    f"its queue is away while {_MIXED}, and the spool with it",
    "its queue is away while one recipient is delivered and one deferred",
    "its queue is away while it is deferred",
    "its queue is full while it bounces",
)
