"""Hands messages to Haraka, as an application would."""

import argparse
import smtplib
from collections.abc import Callable, Iterable
from contextlib import closing
from itertools import groupby

from haraka.demo.messages import Message, demo_messages

TIMEOUT_SECONDS = 60.0


def send(
    messages: Iterable[Message], port: int, sent: Callable[[Message], None] = lambda _: None, host: str = "127.0.0.1"
) -> None:
    """Send all messages, over one connection for each sending host; `sent` is told of each.

    Raises smtplib.SMTPException where Haraka does not take a message, or one of its recipients.
    """
    for helo, group in groupby(sorted(messages, key=_helo), key=_helo):
        # Not as a context: its QUIT after an interrupt takes the reply to something else for its own, and raises that.
        with closing(smtplib.SMTP(host, port, local_hostname=helo, timeout=TIMEOUT_SECONDS)) as client:
            for message in group:
                refused = client.sendmail(message.orig, message.rcpts, message.as_bytes())
                if refused:
                    raise smtplib.SMTPRecipientsRefused(refused)
                sent(message)
            client.quit()


def _helo(message: Message) -> str:
    return message.helo


def main() -> None:
    """Send the demo's messages to a Haraka, as the demo of compose.yaml does."""
    parser = argparse.ArgumentParser(prog="python -m haraka.demo.sender", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=25)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    messages = demo_messages(options.seed)
    send(messages, options.port, host=options.host)
    print(f"sender.done messages={len(messages)} recipients={sum(len(message.rcpts) for message in messages)}")


if __name__ == "__main__":
    main()
