"""The SMTP sink: answers by the script in each recipient's address, and records what it said.

It owns the record: transactions are added when their last reply is decided, before it is sent, so that whatever the
client does with a reply happens after the record has it.
"""

import argparse
import json
import signal
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from haraka.demo.record import Transaction, read_reply
from haraka.demo.script import DROP, Stage, answer

READY_SECONDS = 30.0

#: Told of a sender, its recipients so far with the replies to them, and the stage whose reply is about to be sent.
OnReply = Callable[[str, tuple[tuple[str, str], ...], Stage], None]


class Record:
    """What the sink said so far; safe to read from any thread."""

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._transactions: list[Transaction] = []
        self._attempts: Counter[tuple[str, str]] = Counter()
        self._path = path

    def attempt(self, orig: str, rcpt: str) -> int:
        """Count one more attempt at this recipient of this sender, and return its number from 1."""
        with self._lock:
            self._attempts[orig, rcpt] += 1
            return self._attempts[orig, rcpt]

    def attempts(self, orig: str, rcpt: str) -> int:
        """Return how often this recipient of this sender was tried."""
        with self._lock:
            return self._attempts[orig, rcpt]

    def add(self, transaction: Transaction) -> None:
        """Add a transaction whose last reply is decided; with a path, also one line of JSON."""
        with self._lock:
            self._transactions.append(transaction)
            if self._path is not None:
                line = asdict(transaction) | {"content": transaction.content.decode("utf-8", "replace")}
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")

    def transactions(self) -> tuple[Transaction, ...]:
        """Return all transactions, oldest first."""
        with self._lock:
            return tuple(self._transactions)


class _Conversation(SMTP):
    """One connection: aiosmtpd's SMTP, with the replies taken from the script."""

    def __init__(self, record: Record, on_reply: OnReply, **kwargs: Any) -> None:  # noqa: ANN401 - aiosmtpd's own parameters
        super().__init__(self, **kwargs)  # it is its own handler: the hooks below are found by their names
        self._record, self._on_reply = record, on_reply
        self._orig: str | None = None
        self._rcpts: list[tuple[str, str]] = []

    async def handle_MAIL(  # noqa: N802 - named by aiosmtpd
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str | None, options: list[str]
    ) -> str:
        """Begin a transaction."""
        self._orig, self._rcpts = ("" if address in {None, "<>"} else str(address)), []
        envelope.mail_from = address or "<>"  # aiosmtpd takes an empty one for none
        envelope.mail_options.extend(options)
        return "250 2.1.0 Sender fine"

    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Answer for one recipient."""
        orig = self._orig or ""
        said = answer("RCPT", address, self._record.attempt(orig, address))
        reply = "250 2.1.5 Recipient fine" if said is None else said
        self._rcpts.append((address, reply))
        if read_reply(reply) is None:
            self._end(None)
        elif said is None:
            envelope.rcpt_tos.append(address)
        self._on_reply(orig, tuple(self._rcpts), "RCPT")
        return reply

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802
        """Refuse the DATA command where a script says so."""
        said = self._said_at("DATA")
        if said is None:
            await super().smtp_DATA(arg)
            return
        self._end(("DATA", said))
        await self.push(said)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Answer for the message."""
        first = next(rcpt for rcpt, reply in self._rcpts if reply.startswith("2"))
        said = self._said_at("dot") or f"250 2.0.0 Message for <{first}> taken"
        self._end(("dot", said), bytes(envelope.original_content or b""))
        return said

    async def push(self, status: Any) -> None:  # noqa: ANN401 - str or bytes
        """Send a reply, or close the connection where the script says so."""
        if status != DROP:
            await super().push(status)
        elif self.transport is not None:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """End a transaction that no message-level reply ended: every recipient was refused."""
        if self._orig is not None and self._rcpts:
            self._end(None)
        super().connection_lost(error)

    def _said_at(self, stage: Stage) -> str | None:
        """Return what the first accepted recipient's script says at that stage."""
        for rcpt, reply in self._rcpts:
            said = answer(stage, rcpt, self._record.attempts(self._orig or "", rcpt))
            if reply.startswith("2") and said is not None:
                return said
        return None

    def _end(self, verdict: tuple[Stage, str] | None, content: bytes = b"") -> None:
        transport, orig = self.transport, self._orig
        self._orig = None
        if orig is None or transport is None:
            return
        dest_ip, dest_port = transport.get_extra_info("sockname")[:2]
        src_ip = transport.get_extra_info("peername")[0]
        self._record.add(Transaction(orig, tuple(self._rcpts), verdict, src_ip, dest_ip, dest_port, content))
        if verdict is not None:
            self._on_reply(orig, tuple(self._rcpts), verdict[0])


class Sink(Controller):
    """The sink, in a thread of its own."""

    def __init__(
        self, port: int, record: Path | None = None, host: str = "127.0.0.1", on_reply: OnReply = lambda *_: None
    ) -> None:
        """Set up. on_reply: called before a reply to RCPT, DATA or the final dot is sent."""
        super().__init__(handler=None, hostname=host, port=port, ready_timeout=READY_SECONDS)
        self.record, self._on_reply = Record(record), on_reply

    def factory(self) -> SMTP:
        """Return the conversation of a new connection."""
        return _Conversation(
            self.record, self._on_reply, hostname="sink.test", ident="scripted sink", **self.SMTP_kwargs
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(no_assert=True)


def main() -> None:
    """Run a sink until SIGTERM or SIGINT, as the demo of compose.yaml does."""
    parser = argparse.ArgumentParser(prog="python -m haraka.demo.sink", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=2525)
    parser.add_argument("--record", type=Path, help="one line of JSON for each transaction is appended here")
    options = parser.parse_args()
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    with Sink(options.port, options.record, options.host):
        print(f"sink.ready address={options.host}:{options.port}", flush=True)
        signal.sigwait(signals)


if __name__ == "__main__":
    main()
