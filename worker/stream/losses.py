"""Losses: entries that somebody removed from a stream before any consumer had them (design section 1).

They leave nothing behind but a hole in the balance of the ledger: events published before the first unread entry that
were neither committed nor set aside, and that no pending entry holds. The script that finds such a hole twice counts it
as lost and leaves a note in the server's hash `…:watch`, in one step. The note goes from there to the directory of a
worker (`lost/`), and is removed from the hash only then: a crash in between loses neither the count nor the note.
"""

from collections.abc import Callable

import msgspec
from msgspec import Struct

from worker.stream.keys import GROUP, Keys
from worker.stream.link import Connector, Link
from worker.stream.script import Script

_SETTLE_MS = 30_000  # between the two looks that must agree
_PENDING_BYTES = 32_000_000  # of pending entries that one look may read on the server: some 20 ms of its time
_NOTE = b"loss:"

_find = Script("find_losses")


class Loss(Struct, frozen=True, kw_only=True):
    """Events that are gone unread, somewhere between two ids."""

    type: str
    stream: str
    from_id: str = msgspec.field(name="from")
    to_id: str = msgspec.field(name="to")
    events: int
    noticed_ms: int  # by the server's clock


_loss = msgspec.json.Decoder(Loss, strict=False)  # Lua's JSON would round large numbers


def find_losses(
    connect: Connector, partition: str, keep: Callable[[Loss], None], settle_ms: int = _SETTLE_MS
) -> list[Loss]:
    """Look for holes, let `keep` write down each loss that is counted, and return those that it has.

    Several workers may do it at once: a hole is counted and returned once, but `keep` may be handed one twice. Raises
    StreamUnavailable, and whatever `keep` raises: the loss is handed out again the next time.
    """
    link, keys = Link(connect), Keys.of(partition)
    link.open()
    try:
        link.call("SCRIPT", "LOAD", _find.source)
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
