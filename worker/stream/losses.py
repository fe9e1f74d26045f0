"""Losses: entries that somebody removed from a stream before they became rows (design section 1).

Unread ones leave nothing behind but a hole in the balance of the ledger: events published before the first unread entry
that were neither committed nor set aside, and that no pending entry holds. The script that finds such a hole twice
counts it as lost. Pending ones leave their ids, and whichever script meets those counts them.

Each of them leaves a note in the server's hash `…:watch`, in the step that counts. The note goes from there to the
directory of a worker (`lost/`), and is removed from the hash only then: a crash in between loses neither the count nor
the note.
"""

from collections.abc import Callable
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from schemas.events import TYPES
from worker.elapsed import MACHINE, Clocks
from worker.stream.keys import GROUP, Keys
from worker.stream.link import Connector, Link
from worker.stream.script import Script
from worker.stream.time_line import is_steady

_SETTLE_MS = 30_000  # between the two looks that must agree
_PENDING_BYTES = 32_000_000  # of pending entries that one look may read on the server: some 20 ms of its time
_NOTE = b"loss:"

_find = Script("find_losses")


#: Stands in the name of a note.
_Id = Annotated[str, Meta(pattern=r"^[0-9]+-[0-9]+$")]


class Loss(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Events that are gone: unread ones somewhere between two ids, or those of pending entries with these ids."""

    type: Literal["delivered", "deferred", "bounce"]
    stream: str
    from_id: _Id = msgspec.field(name="from")
    to_id: _Id = msgspec.field(name="to")
    events: int  # counted as lost
    entries: int | None = None  # pending ones; each counts as one event, and what it held besides as an unread loss
    noticed_ms: int  # by the server's clock

    @property
    def name(self) -> str:
        """Return what tells it from all other losses."""
        return f"{self.type}.{self.noticed_ms if self.entries is None else self.from_id}"


_loss = msgspec.json.Decoder(Loss, strict=False)  # Lua's JSON would round large numbers


def find_losses(
    connect: Connector,
    partition: str,
    keep: Callable[[Loss], None],
    settle_ms: int = _SETTLE_MS,
    *,
    clocks: Clocks = MACHINE,
) -> list[Loss]:
    """Look for holes, let `keep` write down each loss that was counted, and return those that it has.

    Several workers may do it at once: a loss is counted and returned once, but `keep` may be handed one twice. Raises
    StreamUnavailable, and whatever `keep` raises: the loss is handed out again the next time.
    """
    link, keys = Link(connect), Keys.of(partition)
    link.open()
    try:
        link.call("SCRIPT", "LOAD", _find.source)
        if not is_steady(link, keys, settle_ms, clocks):  # the server's clock does not tell how long ago a look was
            link.call("HDEL", keys.watch, *(f"{event_type}:missing" for event_type in TYPES))
        for event_type, key in keys.streams.items():
            link.call(
                "EVALSHA", _find.sha, 3, keys.ledger, keys.watch, key, GROUP, event_type, settle_ms, _PENDING_BYTES
            )
        found = []
        for field, loss in _noted(link, keys):
            keep(loss)
            if link.call("HDEL", keys.watch, field):
                found.append(loss)
        return found
    finally:
        link.close()


def _noted(link: Link, keys: Keys) -> list[tuple[bytes, Loss]]:
    """Return the losses that wait to be noted in a directory; what somebody else wrote there is left alone."""
    reply = link.call("HGETALL", keys.watch)
    found = []
    for field, value in zip(reply[::2], reply[1::2], strict=True):
        if field.startswith(_NOTE):
            try:
                found.append((field, _loss.decode(value)))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
    return found
