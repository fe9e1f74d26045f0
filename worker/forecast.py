"""When the server's memory is full, if events keep coming as they do. Pure arithmetic.

Streams grow by what is published and stop growing where trimming takes away as much: at what the retention holds, or at
the limit of their memory, whichever is less. Everything else on the server is taken as it is.
"""

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

_DAY_SECONDS = 86_400


class StreamMemory(Struct, frozen=True, kw_only=True):
    """One stream as it was measured."""

    bytes: int
    events: int  # that it holds
    events_per_second: float  # published lately

    @property
    def growth(self) -> float:
        """Return bytes per second."""
        return self.events_per_second * self.bytes / self.events if self.events else 0.0


class Memory(Struct, frozen=True, kw_only=True):
    """The server's memory as it was measured."""

    used_bytes: int
    max_bytes: int  # 0: no maxmemory
    streams: Sequence[StreamMemory]


class Outlook(StrEnum):
    """What will become of the memory."""

    NO_LIMIT = "no maxmemory"  # then the machine's memory is the limit, which nobody here can see
    NEVER = "never at this rate"
    FULL = "full"


class Forecast(Struct, frozen=True, kw_only=True):
    """The outlook, and the figures that it was made of."""

    outlook: Outlook
    full_in_seconds: int | None  # with FULL only; 0: it is full now
    used_bytes: int
    max_bytes: int
    streams_bytes: int
    steady_bytes: int | None  # what the streams will take once trimming takes away what comes; None: they go on growing
    events_per_second: float
    bytes_per_event: float


def forecast(memory: Memory, *, retention_days: int, limit_bytes: int, is_blocked: bool) -> Forecast:
    """Return the outlook. 0 days or bytes: no such limit. Blocked trimming takes nothing away."""
    growth = sum(stream.growth for stream in memory.streams)
    rate = sum(stream.events_per_second for stream in memory.streams)
    events = sum(stream.events for stream in memory.streams)
    streams_bytes = sum(stream.bytes for stream in memory.streams)
    steady = _steady_bytes(growth, 0 if is_blocked else retention_days, 0 if is_blocked else limit_bytes)
    outlook, seconds = _outlook(memory, growth, streams_bytes, steady)
    return Forecast(
        outlook=outlook,
        full_in_seconds=seconds,
        used_bytes=memory.used_bytes,
        max_bytes=memory.max_bytes,
        streams_bytes=streams_bytes,
        steady_bytes=None if steady is None else int(steady),
        events_per_second=rate,
        bytes_per_event=growth / rate if rate else streams_bytes / events if events else 0.0,
    )


def _steady_bytes(growth: float, retention_days: int, limit_bytes: int) -> float | None:
    limits = [growth * retention_days * _DAY_SECONDS] if retention_days else []
    limits += [float(limit_bytes)] if limit_bytes else []
    return min(limits, default=None)


def _outlook(memory: Memory, growth: float, streams_bytes: int, steady: float | None) -> tuple[Outlook, int | None]:
    if not memory.max_bytes:
        return Outlook.NO_LIMIT, None
    room = memory.max_bytes - memory.used_bytes
    if room <= 0:
        return Outlook.FULL, 0
    if growth <= 0 or (steady is not None and steady - streams_bytes <= room):
        return Outlook.NEVER, None
    return Outlook.FULL, int(room / growth)
