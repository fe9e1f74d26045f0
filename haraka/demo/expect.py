"""From what the sink said to the rows that the accounting files must hold. Pure.

It plays Haraka's outbound queue: one item for each message and domain (each recipient with `always_split`); a mixed
result splits the item, and the split-off part counts its failures from zero again (Haraka's way); what fails more
often than there are retry intervals bounces; each bounce of a message with a sender gives one bounce message (DSN),
which is delivered to the sender by the null sender.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from haraka.demo.messages import Message, domain_of
from haraka.demo.record import Reply, Transaction, read_reply

_ODD_STATUS: Final = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?=\s|$)")  # three digits stay in the text
TypeTag = Literal["d", "df", "b"]


class Row(NamedTuple):
    """What is compared of a row of an accounting file; `dsn_msg` with its white space run together."""

    type: TypeTag | str
    orig: str
    rcpt: str
    dsn_status: str
    dsn_msg: str


@dataclass(frozen=True)
class Queueing:
    """How Haraka is set up to queue: the retry schedule, and what else decides the rows."""

    retries: int
    always_split: bool = False
    closed_domains: Collection[str] = ()


@dataclass(frozen=True)
class Expectation:
    """The rows by what the sink answered, and what is still to come."""

    rows: tuple[tuple[Row, str], ...]  # row and outcome, as the table of the demo names it
    unsettled: frozenset[tuple[str, str]]  # sender and recipient whose last answer is still to come
    dsns_due: int  # bounce messages that the sink has not seen yet
    dsns_too_many: int  # bounce messages that no bounce accounts for

    @property
    def is_final(self) -> bool:
        """Whether nothing is to come any more."""
        return not self.unsettled and not self.dsns_due

    def counter(self) -> Counter[Row]:
        """Return the rows as a multiset."""
        return Counter(row for row, _ in self.rows)


@dataclass(eq=False)
class _Item:
    """A queue file: the recipients still to be delivered and how often they failed."""

    orig: str
    rcpts: tuple[str, ...]
    failures: int = 0


class _Why(NamedTuple):
    """Why recipients fail: the table's words, the status and what was said."""

    outcome: str
    dsn_status: str
    text: str
    code: str = ""  # where Haraka itself speaks: its code, which like the status takes the class of the event
    is_last: bool = False  # the retries are used up, which the row says

    def row(self, tag: Literal["df", "b"], orig: str, rcpt: str) -> Row:
        """Return the row that says so."""
        digit = "4" if tag == "df" else "5"
        said = f"{digit}{self.code[1:]} {self.text}" if self.code else self.text
        if self.is_last:
            said = f"Too many failures ({said})"
        return Row(tag, orig, rcpt, digit + self.dsn_status[1:], squeeze(said))


def expect(messages: Iterable[Message], transactions: Iterable[Transaction], queueing: Queueing) -> Expectation:
    """Return what the files must hold after these messages got these answers."""
    queue = _Queue(queueing)
    for message in messages:
        queue.take(message)
    for transaction in transactions:
        queue.play(transaction)
    dsns = queue.dsns_due
    return Expectation(
        rows=tuple(queue.rows),
        unsettled=frozenset(queue.items),
        dsns_due=(+dsns).total(),
        dsns_too_many=(-dsns).total(),
    )


@dataclass
class _Queue:
    """Haraka's outbound queue, as far as it decides which rows there are."""

    how: Queueing
    items: dict[tuple[str, str], _Item] = field(default_factory=dict)
    rows: list[tuple[Row, str]] = field(default_factory=list)
    dsns_due: Counter[str] = field(default_factory=Counter)
    deferred: set[tuple[str, str]] = field(default_factory=set)

    def take(self, message: Message) -> None:
        """Queue a message, and let what has a closed exchanger fail to the end: the sink never sees it."""
        for rcpts in self._deliveries(message.rcpts):
            item = self._put(_Item(message.orig, rcpts))
            domain = domain_of(rcpts[0])
            while domain in self.how.closed_domains and (item.orig, rcpts[0]) in self.items:
                self._defer(item, dict.fromkeys(rcpts, _no_exchanger("connection refused", domain)))

    def play(self, transaction: Transaction) -> None:
        """Do what Haraka does with these answers."""
        if not transaction.orig:
            self.dsns_due[transaction.rcpts[0][0]] -= 1
            self._put(_Item("", tuple(rcpt for rcpt, _ in transaction.rcpts)))
        item = self.items[transaction.orig, transaction.rcpts[0][0]]
        why = _why_all(transaction)
        if why is None:
            self._play_each(item, transaction)
        elif why.dsn_status.startswith("4"):
            self._defer(item, dict.fromkeys(item.rcpts, why))
        else:
            self._bounce(item, dict.fromkeys(item.rcpts, why))

    def _play_each(self, item: _Item, transaction: Transaction) -> None:
        replies = {rcpt: _understood(said) for rcpt, said in transaction.rcpts}
        failed = {rcpt: _why_one("RCPT", reply) for rcpt, reply in replies.items() if reply.code[0] != "2"}
        for rcpt in replies.keys() - failed.keys():
            self._deliver(item.orig, rcpt, _understood(transaction.last_said))
        temporary = {rcpt: why for rcpt, why in failed.items() if replies[rcpt].is_temporary}
        if temporary:
            self._defer(self._split(item, tuple(temporary)), temporary)
        permanent = {rcpt: why for rcpt, why in failed.items() if rcpt not in temporary}
        if permanent:
            self._bounce(self._split(item, tuple(permanent)), permanent)

    def _deliveries(self, rcpts: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        if self.how.always_split:
            yield from ((rcpt,) for rcpt in rcpts)
            return
        for domain in dict.fromkeys(map(domain_of, rcpts)):
            yield tuple(rcpt for rcpt in rcpts if domain_of(rcpt) == domain)

    def _put(self, item: _Item) -> _Item:
        self.items.update({(item.orig, rcpt): item for rcpt in item.rcpts})
        return item

    def _split(self, item: _Item, rcpts: tuple[str, ...]) -> _Item:
        return item if len(rcpts) == len(item.rcpts) else self._put(_Item(item.orig, rcpts))

    def _deliver(self, orig: str, rcpt: str, reply: Reply) -> None:
        outcome = "accepted after 4xx" if (orig, rcpt) in self.deferred else "accepted"
        self._settle(Row("d", orig, rcpt, "2.0.0", squeeze(reply.text)), outcome if orig else "bounce message accepted")

    def _defer(self, item: _Item, reasons: dict[str, _Why]) -> None:
        item.failures += 1
        if item.failures > self.how.retries:
            last = {
                rcpt: why._replace(outcome=f"{why.outcome}, to the end", is_last=True) for rcpt, why in reasons.items()
            }
            self._bounce(item, last)
            return
        for rcpt, why in reasons.items():
            self.deferred.add((item.orig, rcpt))
            self.rows.append((why.row("df", item.orig, rcpt), why.outcome))

    def _bounce(self, item: _Item, reasons: dict[str, _Why]) -> None:
        for rcpt, why in reasons.items():
            self._settle(why.row("b", item.orig, rcpt), why.outcome)
        if item.orig:
            self.dsns_due[item.orig] += 1

    def _settle(self, row: Row, outcome: str) -> None:
        self.rows.append((row, outcome))
        del self.items[row.orig, row.rcpt]


def squeeze(text: str) -> str:
    """Run white space together: how it is written in a row is for other tests."""
    return " ".join(text.split())


def _why_all(transaction: Transaction) -> _Why | None:
    """Return why all recipients fail, or None where each has an answer of its own."""
    if transaction.was_dropped:
        return _no_exchanger("connection dropped", domain_of(transaction.rcpts[0][0]))
    reply = read_reply(transaction.last_said)
    if reply is None:
        line = transaction.last_said.partition("\r\n")[0]
        return _Why("garbage reply", "5.5.1", f"Unrecognized response from upstream server: {line}", "550")
    if transaction.verdict is None or reply.code[0] == "2":
        return None
    return _why_one(transaction.verdict[0], reply)


def _why_one(stage: str, reply: Reply) -> _Why:
    where = "at the dot" if stage == "dot" else f"at {stage}"
    odd = _ODD_STATUS.match(reply.text)
    status = reply.enhanced or (odd[0] if odd else f"{reply.code[0]}.0.0")
    return _Why(f"{reply.code[0]}xx {where}", status, reply.whole)


def _no_exchanger(outcome: str, domain: str) -> _Why:
    return _Why(outcome, "4.1.2", f"Tried all MXs {domain}", "550")


def _understood(said: str) -> Reply:
    reply = read_reply(said)
    if reply is None:
        raise ValueError(f"no SMTP reply: {said!r}")
    return reply
