"""Mail that keeps coming, whatever happens to Haraka: one message after another, each from a sender of its own."""

import re
import smtplib
import threading
from contextlib import closing, suppress
from typing import Final, Self

from haraka.demo.messages import Message

RATE_PER_SECOND: Final = 12
PER_CONNECTION: Final = 4  # so that every worker process of Haraka gets its share
TIMEOUT_SECONDS: Final = 30.0
PATIENCE_SECONDS: Final = 60.0
_QUEUED: Final = re.compile(rb"\(([0-9A-F-]+\.\d+)\)")
#: Scripts of the sink (script.py), a message each in turn: one recipient, two of one domain, a mixed result.
_MIX: Final = (
    ("accept",),
    ("accept", "accept.second"),
    ("accept",),
    ("reject",),
    ("accept",),
    ("defer-1",),
    ("accept",),
    ("reject-dot",),
)


class Traffic:
    """A thread that sends until it is told to stop; `taken` holds what Haraka said it has queued."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic")
        self._number = 0
        self.taken: dict[str, str] = {}  # sender → Haraka's id of the message
        self.recipients: dict[str, tuple[str, ...]] = {}  # sender → recipients, of every message that was tried

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Send no more; returns when the message under way is settled."""
        self._stop.set()
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive(), "the sender hangs"

    def _run(self) -> None:
        while not self._stop.is_set():
            # Haraka may be dead. What it had no time to answer for is left: the next message has another sender.
            with suppress(OSError, smtplib.SMTPException):
                self._connection()
            self._stop.wait(1 / RATE_PER_SECOND)

    def _connection(self) -> None:
        client = smtplib.SMTP("127.0.0.1", self._port, local_hostname="mailer.sender.test", timeout=TIMEOUT_SECONDS)
        with closing(client):
            client.ehlo()
            for _ in range(PER_CONNECTION):
                self._message(client)
                if self._stop.wait(1 / RATE_PER_SECOND):
                    break
            client.quit()

    def _message(self, client: smtplib.SMTP) -> None:
        self._number += 1
        orig = f"news.{self._number:04}@sender.test"
        rcpts = tuple(f"{word}.{self._number:04}@a{self._number % 3}.test" for word in _MIX[self._number % len(_MIX)])
        self.recipients[orig] = rcpts
        client.mail(orig)
        for rcpt in rcpts:
            code, said = client.rcpt(rcpt)
            assert code == 250, said
        _, said = client.data(Message(orig, rcpts).as_bytes())
        found = _QUEUED.search(said)
        assert found is not None, said
        self.taken[orig] = found[1].decode()
