"""Histories: what happens to the workers of a simulation, as a list of small numbers that can be drawn and shrunk."""

import os
import random
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.crash import inis, operator, outsider
from tests.crash.ending import check, check_gone, finish
from tests.crash.simulation import Simulation, Slot
from tests.crash.trouble import KINDS

LAYOUTS: dict[str, tuple[Slot, ...]] = {
    "one": (Slot("a", 0),),
    "two": (Slot("a", 0), Slot("b", 0)),
    "apart": (Slot("a", 0), Slot("b", 1)),
    "moved": (Slot("a", 0), Slot("a", 1)),
    "twins": (Slot("a", 0), Slot("a", 0)),
    "three": (Slot("a", 0), Slot("b", 0), Slot("c", 1)),
    "crossed": (Slot("a", 0), Slot("b", 0), Slot("a", 1)),
}

#: Layouts whose first worker need not come back: another one of its directory ends what it leaves.
SURVIVED = {"two", "three", "crossed"}

#: What can happen, and how often relative to the rest.
ACTIONS = {
    "step": 60, "publish": 10, "kill": 6, "start": 6, "lapse": 8, "power": 3, "lose": 6, "late": 6, "arrive": 4,
    "stop": 1, "wait": 3, "retire": 1,
}  # fmt: skip
_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108  # files go faster there
_FORGETFUL = {"save": 8, "tail": 5, "rollback": 2, "empty": 1, "flush": 1}
_CARRIED = {"copy": 2, "torn copy": 1, "other copy": 1, "move": 3, "back up": 4, "restore": 3, "dots": 2, "id": 1}
_CONFIGURED = {"ini": 8, "start": 12, "kill": 8, "stop": 4}
_CLAIMED = {"claim": 6, "claim away": 2}
_CLOCKS = {"clock": 3, "server clock": 3, "tidy": 3, "chores": 3}
_TOUCHED = {"touch": 5}
_TROUBLED = {"break": 12, "eio": 3, "fsync": 3, "short": 4, "full": 3, "room": 3, "step": 90, "power": 8}

#: What else can happen in the worlds where not all is well.
WORLDS: dict[str, dict[str, int]] = {
    "sound": {},
    "forgetful": _FORGETFUL,  # servers that lose the tail of their commands, or all they had, restarted or not
    "troubled": _TROUBLED,  # disks that answer with errors: once, or several times, or until there is room
    "carried": _CARRIED,  # directories copied (at rest or torn), moved, restored, without dot files or their id
    "configured": _CONFIGURED,  # settings that change between two starts
    "touched": _TOUCHED,  # files that somebody changes from outside
    "claimed": _CLAIMED | _CLOCKS,  # entries that an operator claims for another consumer; clocks that jump
    # And together. A clock that jumps ends the time in which a server that forgot compares, and a copy that is started
    # on one that forgot is not told from the original: those are apart.
    "wild": _FORGETFUL | _CLAIMED | _CONFIGURED | _TROUBLED,
    "handled": _CARRIED | _CLAIMED | _CLOCKS | _CONFIGURED | _TOUCHED,
}

_OPERATED = {"copy", "torn copy", "other copy", "move", "back up", "restore", "dots", "id", "touch"}
_MOST_SLOTS = 5
_JUMPS_SECONDS = (-864_000, -3600, -7, 7, 3600, 864_000)
_FORGETS = {"tail": (False, True), "rollback": (False, False), "empty": (True, True), "flush": (True, False)}


class Action(NamedTuple):
    """One thing that happens: to which slot, and how much of it."""

    what: str
    who: int = 0
    amount: int = 1


class History(NamedTuple):
    """Everything that decides a run."""

    layout: str
    actions: tuple[Action, ...]
    batch_entries: int = 1
    max_size_bytes: int = 300
    same_pids: bool = False
    gone: bool = False  # the first worker never comes back

    @property
    def is_forgetful(self) -> bool:
        """Tell whether the server may lose the tail of its commands."""
        return any(action.what in _FORGETS for action in self.actions)

    @property
    def is_operated(self) -> bool:
        """Tell whether somebody carries directories, or changes files in them."""
        return any(action.what in _OPERATED for action in self.actions)

    def __str__(self) -> str:
        lines = [f"  {each.what} {each.who} {each.amount}" for each in self.actions]
        facts = f"batch_entries={self.batch_entries} max_size={self.max_size_bytes} same_pids={self.same_pids}"
        facts += f" gone={self.gone}"
        return "\n".join([f"layout {self.layout} {LAYOUTS[self.layout]} {facts}", *lines])


def run(history: History, trace: Callable[..., None] | None = None) -> None:
    """Let a history happen; raises where in the end something is lost, doubled or left over."""
    with tempfile.TemporaryDirectory(dir=_MEMORY) as base, pytest.MonkeyPatch.context() as patch:
        simulation = Simulation(
            Path(base), patch, LAYOUTS[history.layout], batch_entries=history.batch_entries,
            max_size_bytes=history.max_size_bytes, same_pids=history.same_pids,
            forgetful=history.is_forgetful, trace=trace,
        )  # fmt: skip
        simulation.is_operated = history.is_operated
        try:
            for number in range(len(simulation.slots)):
                simulation.start(number)
            for action in history.actions:
                if trace:
                    trace(f"--- {action.what} {action.who} {action.amount}")
                apply(simulation, action)
            if trace:
                trace("--- finish")
            gone = 0 if history.gone and history.layout in SURVIVED else None
            finish(simulation, gone)
            check(simulation)
            if gone is not None:
                check_gone(simulation, gone)
        finally:
            simulation.close()


def apply(simulation: Simulation, action: Action) -> None:
    """Let one thing happen."""
    who, amount = action.who % len(simulation.slots), action.amount
    directory = simulation.slots[who].directory
    deeds: dict[str, Callable[[], object]] = {
        "step": lambda: simulation.step(who, amount),
        "publish": lambda: simulation.publish(amount),
        "kill": lambda: simulation.kill(who),
        "start": lambda: simulation.start(who),
        "lapse": lambda: simulation.lapse(who),
        "power": lambda: simulation.power_loss(directory, random.Random(amount)),
        "lose": lambda: simulation.break_next(who, "reply lost"),
        "late": lambda: simulation.break_next(who, "late"),
        "arrive": lambda: simulation.wire.deliver(amount),
        "stop": lambda: simulation.stop(who),
        "wait": lambda: simulation.wait(amount),
        "retire": lambda: simulation.retire(who),
        "save": simulation.save,
        **{
            what: partial(
                simulation.forget,
                again=bool(amount % 2),
                everything=everything,
                restarts=restarts,
                unanswered=restarts and amount % 4 == 1,
            )
            for what, (everything, restarts) in _FORGETS.items()
        },
        **_deeds_of_an_operator(simulation, who, amount),
        "break": lambda: simulation.break_disk(who, amount),
        "room": simulation.troubles[directory].make_room,
        **{kind: partial(simulation.trouble_disk, directory, kind, max(1, amount // 2)) for kind in KINDS},
    }
    deeds[action.what]()


def _deeds_of_an_operator(simulation: Simulation, who: int, amount: int) -> dict[str, Callable[[], object]]:
    """Return what somebody does who has the directories, the settings and the clocks in hand."""
    other = simulation.slots[amount % len(simulation.slots)].name
    return {
        "copy": lambda: _copy(simulation, who),
        "torn copy": lambda: _copy(simulation, who, torn=True),
        "other copy": lambda: _copy(simulation, who, name="z"),
        "move": lambda: operator.move(simulation, who, by_copying=bool(amount % 2)),
        "back up": lambda: operator.keep(simulation, who),
        "restore": lambda: operator.restore(simulation, who),
        "dots": lambda: operator.lose_dot_files(simulation, who, identity_too=False),
        "id": lambda: operator.lose_dot_files(simulation, who, identity_too=True),
        "touch": lambda: outsider.change(simulation, who, amount),
        "claim": lambda: operator.claim(simulation, who, other),
        "claim away": lambda: operator.claim(simulation, who, "nobody"),
        "tidy": lambda: operator.tidy(simulation, who),
        "chores": lambda: operator.do_chores(simulation, who),
        "ini": lambda: simulation.configure(who, inis.configured(simulation.settings_at_first(who), amount)),
        "clock": lambda: simulation.set_clocks(workers=_JUMPS_SECONDS[amount % 6]),
        "server clock": lambda: operator.set_server_clock(simulation, abs(_JUMPS_SECONDS[amount % 6])),
    }


def _copy(simulation: Simulation, who: int, *, torn: bool = False, name: str | None = None) -> None:
    """Copy a directory, unless there are many copies."""
    if len(simulation.slots) < _MOST_SLOTS:
        operator.copy(simulation, who, torn=torn, name=name)


def draw(chance: random.Random, world: str = "sound") -> History:
    """Draw a history."""
    layout = "one" if world in {"forgetful", "wild"} and chance.random() < 0.5 else chance.choice(list(LAYOUTS))
    weights = ACTIONS | WORLDS[world]
    kinds = chance.choices(list(weights), list(weights.values()), k=chance.randint(5, 60))
    start = [Action("publish", 0, chance.randint(1, 6))]
    if chance.random() < 0.8:
        start += [Action("step", who, 200) for who in range(len(LAYOUTS[layout]))]
        start.append(Action("publish", 0, chance.randint(1, 6)))
    most = len(LAYOUTS[layout]) + 2 * ("copy" in weights)  # copies have workers, too
    actions = [Action(kind, chance.randrange(most), _amount(kind, chance)) for kind in kinds]
    return History(
        layout, (*start, *actions), batch_entries=chance.choice((1, 1, 3)),
        max_size_bytes=chance.choice((300, 900)), same_pids=chance.random() < 0.3, gone=chance.random() < 0.3,
    )  # fmt: skip


def _amount(kind: str, chance: random.Random) -> int:
    match kind:
        case "step":
            return chance.choice((1, 1, 2, 3, 5, 8, 13, 21, 40, 80))
        case "break":
            return chance.choice((1, 1, 2, 3, 5, 8, 13, 21, 34))
        case "publish":
            return chance.randint(1, 5)
        case "wait":
            return chance.choice((1, 11, 25, 35))
        case _:
            return chance.randint(0, 9)


def shrink(history: History, fails: Callable[[History], bool], *, tries: int = 400) -> History:
    """Return a smaller history that fails too."""
    left = [tries]

    def attempt(actions: Sequence[Action]) -> bool:
        left[0] -= 1
        return left[0] >= 0 and fails(history._replace(actions=tuple(actions)))

    actions = list(history.actions)
    size = max(1, len(actions) // 2)
    while size and left[0] > 0:
        at = 0
        while at < len(actions):
            fewer = actions[:at] + actions[at + size :]
            if attempt(fewer):
                actions = fewer
            else:
                at += size
        size //= 2
    for at, action in enumerate(actions):
        for amount in (1, action.amount // 2, action.amount - 1):
            if 0 < amount < actions[at].amount:
                smaller = [*actions[:at], action._replace(amount=amount), *actions[at + 1 :]]
                if attempt(smaller):
                    actions = smaller
                    break
    return history._replace(actions=tuple(actions))
