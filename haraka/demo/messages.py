"""The mail that is sent, as values: messages, and the demo's fixed selection of them."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

SENDER_DOMAIN: Final = "sender.test"
DOMAINS: Final = ("amber.test", "azure.test", "coral.test", "ivory.test", "olive.test")
#: Its mail exchanger refuses connections.
CLOSED_DOMAIN: Final = "closed.test"


@dataclass(frozen=True)
class Message:
    """One message: who sends it, from which host (HELO), to whom, with which further header lines."""

    orig: str
    rcpts: tuple[str, ...]
    helo: str = "mailer.sender.test"
    headers: tuple[str, ...] = ()

    def as_bytes(self) -> bytes:
        """Return the message as it goes over the wire; header lines stand as they were given, folds included."""
        head = (
            f"From: <{self.orig}>",
            "To: undisclosed-recipients:;",
            f"Subject: News for {len(self.rcpts)}",
            f"Message-ID: <{self.orig}>",
            *self.headers,
        )
        return "\r\n".join((*head, "", f"Dear reader, {self.orig} writes to you.", "")).encode()


def domain_of(address: str) -> str:
    """Return the domain of an address."""
    return address.rpartition("@")[2]


def demo_messages(seed: int = 1) -> tuple[Message, ...]:
    """Return the demo's 300 messages to 445 recipients, mixed by the seed: the same seed, the same mail."""
    rng = random.Random(seed)  # noqa: S311 - a mix, not a secret
    kinds = [script for count, script in _KINDS for _ in range(count)]
    rng.shuffle(kinds)
    return tuple(_message(number, script, rng) for number, script in enumerate(kinds, 1))


def _message(number: int, scripts: Callable[[random.Random], Iterator[str]], rng: random.Random) -> Message:
    rcpts = (address.replace("#", f"{number:03}") for address in scripts(rng))
    campaign = rng.choice(("spring", "summer", "autumn", "winter"))
    return Message(
        orig=f"news.{number:03}@{SENDER_DOMAIN}",
        rcpts=tuple(dict.fromkeys(rcpts)),
        helo=f"mailer-{number % 3 + 1}.{SENDER_DOMAIN}",
        headers=(f"X-Campaign: {campaign} sale",),
    )


def _one(script: str) -> Callable[[random.Random], Iterator[str]]:
    return lambda rng: iter([f"{script}.#@{rng.choice(DOMAINS)}"])


def _five_of_one_domain(rng: random.Random) -> Iterator[str]:
    domain = rng.choice(DOMAINS)
    return (f"accept.#{letter}@{domain}" for letter in "abcde")


def _several_domains(rng: random.Random) -> Iterator[str]:
    return (f"accept.#@{domain}" for domain in rng.sample(DOMAINS, 3))


def _mixed(rng: random.Random) -> Iterator[str]:
    domain = rng.choice(DOMAINS)
    return (f"{script}.#@{domain}" for script in ("accept", "defer-1", "reject", "defer"))


def _closed(_rng: random.Random) -> Iterator[str]:
    return iter([f"accept.#@{CLOSED_DOMAIN}"])


_KINDS: Final = (
    (145, _one("accept")),
    (20, _several_domains),
    (15, _five_of_one_domain),
    (30, _one("defer-1")),
    (20, _one("defer")),
    (25, _one("reject")),
    (12, _one("reject-data")),
    (8, _one("reject-dot")),
    (15, _mixed),
    (10, _closed),
)
