"""Hands messages to Haraka, as an application would."""

import smtplib
from collections.abc import Callable, Iterable
from itertools import groupby

from haraka.demo.messages import Message

TIMEOUT_SECONDS = 60.0


def send(messages: Iterable[Message], port: int, sent: Callable[[Message], None] = lambda _: None) -> None:
    """Send all messages, over one connection for each sending host; `sent` is told of each.

    Raises smtplib.SMTPException where Haraka does not take a message, or one of its recipients.
    """
    for helo, group in groupby(sorted(messages, key=_helo), key=_helo):
        with smtplib.SMTP("127.0.0.1", port, local_hostname=helo, timeout=TIMEOUT_SECONDS) as client:
            for message in group:
                refused = client.sendmail(message.orig, message.rcpts, message.as_bytes())
                if refused:
                    raise smtplib.SMTPRecipientsRefused(refused)
                sent(message)


def _helo(message: Message) -> str:
    return message.helo
