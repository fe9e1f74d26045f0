"""What is done to the processes and their connections, and when: a plan made from the seed, then carried out.

The plan says everything that chance decides. Where its target is not in a state to suffer it, the next one does, or
the action waits. An action ends on its own later (a stalled process goes on, a dead one is started again).
"""

import heapq
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Final, NamedTuple

from tests.chaos import operators
from tests.chaos.fleet import LEASE_SECONDS, SOCKET_TIMEOUT_SECONDS, Fleet, Member, State
from tests.chaos.operators import Deed, Operators
from tests.chaos.proxy import Fault, Proxy

PUBLISHERS: Final = "publishers"  # the name of their listener
_DELIVERY_SECONDS: Final = 0.4  # how long a signal waits for its target to get entries
_STALL_DELIVERY_SECONDS: Final = 1.5  # a worker that stalls with nothing in hand is not missed by anybody
_TAKE_OVER_SECONDS: Final = 2.0  # others look for what is left every third of a lease
_STOP_SECONDS: Final = 120.0
_DEED_PATIENCE_SECONDS: Final = 20.0


class Kind(StrEnum):
    """What happens to a process; faults of connections are the proxy's."""

    KILL = "kill"
    STALL = "stall"
    STOP = "stop"
    KILL_SERVER = "kill_server"
    STALL_SERVER = "stall_server"


#: How often each thing happens in 100 actions.
_MIX: Final[dict[Kind | Fault, int]] = {
    Kind.KILL: 24, Kind.STALL: 11, Kind.STOP: 5, Kind.KILL_SERVER: 5, Kind.STALL_SERVER: 4,
    Fault.CUT: 15, Fault.HALF_REQUEST: 7, Fault.HALF_REPLY: 7, Fault.LOSE_REPLY: 12, Fault.SWALLOW: 4, Fault.HOLD: 6,
}  # fmt: skip


_SIGNALS: Final[dict[Kind | Fault | Deed, int]] = {
    Kind.KILL: signal.SIGKILL, Kind.STALL: signal.SIGSTOP, Kind.STOP: signal.SIGTERM,
}  # fmt: skip


class Action(NamedTuple):
    """One thing that happens."""

    at_seconds: float
    kind: Kind | Fault | Deed
    target: int  # a worker; for faults, one more than the last is the publishers
    seconds: float  # until it ends
    after: int  # deliveries that the target may see first: else what is pending would be hit at every start
    delay_seconds: float  # after the next delivery
    choice: int  # among what a deed can be done with
    spares_server: bool  # while it lasts: so that a stalled worker wakes up on a sound connection, to be fenced


def plan(chance: random.Random, count: int, seconds: float, workers: int, *, deeds: int = 0) -> list[Action]:
    """Return so many actions, and deeds of operators, over that time; how many of each does not depend on chance."""
    kinds: list[Kind | Fault | Deed] = [kind for kind, share in _MIX.items() for _ in range(-(-share * count // 100))]
    kinds += [deed for deed, share in operators.MIX.items() for _ in range(-(-share * deeds // 100))]
    chance.shuffle(kinds)
    times = sorted(chance.uniform(0.5, seconds) for _ in kinds)
    return [_action(chance, at, kind, workers) for at, kind in zip(times, kinds, strict=True)]


def _action(chance: random.Random, at_seconds: float, kind: Kind | Fault | Deed, workers: int) -> Action:
    target = chance.randrange(workers + isinstance(kind, Fault))
    delay_seconds = chance.choice((0, chance.uniform(0, 0.003), chance.uniform(0, 0.01)))
    spares_server = kind is Kind.STALL and chance.random() < 0.85
    lasts, after, choice = _lasts(chance, kind), chance.randrange(4), chance.randrange(60)
    return Action(at_seconds, kind, target, lasts, after, delay_seconds, choice, spares_server)


def _lasts(chance: random.Random, kind: Kind | Fault | Deed) -> float:
    short, beyond_lease = chance.uniform(0, 1), LEASE_SECONDS + chance.uniform(0.5, 3)
    match kind:
        case Kind.KILL | Kind.STOP:
            return beyond_lease if chance.random() < 0.25 else short
        case Kind.STALL:
            return LEASE_SECONDS + _TAKE_OVER_SECONDS + 2 * short
        case Kind.STALL_SERVER:
            return beyond_lease if chance.random() < 0.25 else SOCKET_TIMEOUT_SECONDS + 0.3 + short
        case Fault.HOLD:
            return SOCKET_TIMEOUT_SECONDS + 0.3 + 3 * short
        case _:
            return short


def _is_given_up(action: Action, elapsed_seconds: float) -> bool:
    """Tell whether a deed has found nothing to be done to for long: no file with rows, no worker that is well."""
    return isinstance(action.kind, Deed) and elapsed_seconds > action.at_seconds + _DEED_PATIENCE_SECONDS


class Chaos:
    """Carries a plan out on a fleet."""

    def __init__(self, fleet: Fleet, proxy: Proxy) -> None:
        self._fleet = fleet
        self._proxy = proxy
        self._ends: list[tuple[float, int, Callable[[], None]]] = []  # a heap
        self._number = 0
        self._stopping: dict[str, float] = {}  # by worker: when it must have stopped
        self._server_spared_until = 0.0
        self.operators = Operators(fleet, self._later)
        self.done: Counter[str] = Counter()
        self.surprises: list[str] = []

    def run(self, actions: list[Action]) -> Iterator[float]:
        """Do everything, and end everything; yields what share is done, every few hundredths of a second."""
        began = time.monotonic()
        left = list(actions)
        while left or self._ends or self._stopping:
            self.look_after()
            elapsed = time.monotonic() - began
            left = [action for action in left if not _is_given_up(action, elapsed)]
            performed = next(
                (action for action in left if action.at_seconds <= elapsed and self._perform(action)), None
            )
            if performed is not None:
                left.remove(performed)
                self._note(performed)
                if not isinstance(performed.kind, Fault):  # the proxy counts its faults when they happen
                    self.done[performed.kind] += 1
            yield 1 - len(left) / len(actions)
            time.sleep(0.02)

    def _note(self, action: Action) -> None:
        """Write down when an action was performed, and in which state the workers are since."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        states = " ".join(f"{member.name}={member.state.name.lower()}" for member in self._fleet.members)
        with (self._fleet.home / "actions.log").open("a") as log:
            log.write(f"{now} {action.kind} target={action.target} seconds={action.seconds:.3f} {states}\n")

    def look_after(self) -> None:
        """End what is due to end; start workers again that have stopped, whether they were asked to or not."""
        while self._ends and self._ends[0][0] <= time.monotonic():
            heapq.heappop(self._ends)[2]()
        for member in self._fleet.members:
            if member.state is State.STOPPING:
                self._see_it_stop(member)
            elif member.state is State.UP and not member.is_alive():
                self.surprises.append(f"{member.name} ended by itself with {member.exit_code()}")
                member.start()

    def _see_it_stop(self, member: Member) -> None:
        if member.is_alive():
            if time.monotonic() < self._stopping[member.name]:
                return
            self.surprises.append(f"{member.name} did not stop within {_STOP_SECONDS:.0f} s of SIGTERM")
            member.kill()
        elif member.exit_code() not in {0, -signal.SIGTERM}:  # it may not have got as far as catching it
            self.surprises.append(f"{member.name} stopped with {member.exit_code()}")
        del self._stopping[member.name]
        member.start()

    def _later(self, seconds: float, end: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._ends, (time.monotonic() + seconds, self._number, end))

    def _perform(self, action: Action) -> bool:
        """Do it; False where it is not possible now."""
        match action.kind:
            case Fault():
                return self._strike(action.kind, action)
            case Deed():
                return self.operators.do(action.kind, action.target, action.seconds, action.choice)
            case Kind.KILL_SERVER | Kind.STALL_SERVER:
                return self._hit_server(action)
            case _:
                return self._hit_worker(action)

    def _strike(self, fault: Fault, action: Action) -> bool:
        """Arm a fault, but not for a worker that is stalled: it is to wake up on a sound connection."""
        stalled = {member.name for member in self._fleet.members if member.state is State.STALLED}
        names = [*self._fleet.names, PUBLISHERS]
        turned = names[action.target :] + names[: action.target]
        return any(self._proxy.arm(name, fault, action.seconds) for name in turned if name not in stalled)

    def _hit_server(self, action: Action) -> bool:
        server = self._fleet.server
        spared_until = max(self._server_spared_until, self.operators.spare_server_until)
        if server.state is not State.UP or time.monotonic() < spared_until:
            return False
        if action.kind is Kind.KILL_SERVER:
            server.signal(signal.SIGKILL, State.DOWN)
            self._later(action.seconds, server.start)
        else:
            server.signal(signal.SIGSTOP, State.STALLED)
            self._later(action.seconds, lambda: server.signal(signal.SIGCONT, State.UP))
        return True

    def _hit_worker(self, action: Action) -> bool:
        member = self._signal_one(action, _SIGNALS[action.kind])
        if member is None:
            return False
        match action.kind:
            case Kind.KILL:
                member.kill()
                self._later(action.seconds, member.start)
            case Kind.STALL:
                member.state = State.STALLED
                if action.spares_server:
                    self._server_spared_until = time.monotonic() + action.seconds + 0.5
                self._later(action.seconds, lambda: member.signal(signal.SIGCONT, State.UP))
            case _:
                member.state = State.STOPPING
                self._stopping[member.name] = time.monotonic() + _STOP_SECONDS
        return True

    def _signal_one(self, action: Action, number: int) -> Member | None:
        """Send a signal to a worker when it gets entries, or a little later: then it is in the middle of a batch.

        Where none gets any, the first that is up has it at once; None where none is up.
        """
        members = self._fleet.members
        turned = members[action.target :] + members[: action.target]
        able = [member for member in turned if self._is_able(member)]
        for member in able:
            if self._proxy.at_delivery(
                member.name, partial(member.signal, number, member.state),
                after=action.after, delay_seconds=action.delay_seconds,
                patience_seconds=_STALL_DELIVERY_SECONDS if action.kind is Kind.STALL else _DELIVERY_SECONDS,
            ):  # fmt: skip
                return member
        if able:
            able[0].signal(number, able[0].state)
        return able[0] if able else None

    @staticmethod
    def _is_able(member: Member) -> bool:
        is_up = member.state is State.UP and member.is_alive() and member.is_ready()
        return is_up and time.monotonic() >= member.spared_until
