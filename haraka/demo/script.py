"""What the sink answers, and when: the script stands in the recipient's address.

The local part's first word names the script, as in `reject.17@blue.test` or `defer-2.x@blue.test`; a local part
that names none is accepted, so that senders get their bounce messages. Pure: the same address and attempt always
give the same answer.

    accept         accepted
    defer          4xx at RCPT, always           defer-N         … for the first N attempts
    reject         5xx at RCPT                   reject-long     … over several lines, with an unusual code
    reject-data    5xx at DATA                   reject-dot      5xx at the final dot
    defer-dot-N    4xx at the final dot for the first N attempts
    garbage        no SMTP at all, at RCPT       garbage-dot     … at the final dot
    drop-N         the connection closes at RCPT for the first N attempts
"""

from dataclasses import dataclass
from typing import Final, Literal

#: The sink closes the connection in place of a reply.
DROP: Final = ""

Stage = Literal["RCPT", "DATA", "dot"]
ALWAYS: Final = 1_000_000


@dataclass(frozen=True)
class Line:
    """One script: at `stage` it says `reply` for the first `attempts` attempts, and accepts after that."""

    stage: Stage
    reply: str
    attempts: int = ALWAYS


_LINES: Final = {
    "defer": Line("RCPT", "451 4.2.1 Mailbox of <{rcpt}> is busy, come back later (attempt {attempt})"),
    "reject": Line("RCPT", "550 5.1.1 <{rcpt}> has no mailbox here"),
    "reject-long": Line("RCPT", "550-5.7.511 Go away,\r\n550-5.7.511 <{rcpt}>:\r\n550 5.7.511\tit is \u201cno\u201d"),
    "reject-data": Line("DATA", "554 5.7.1 No message for <{rcpt}> today"),
    "reject-dot": Line("dot", "552 5.3.4 The message for <{rcpt}> is\ttoo big"),
    "defer-dot": Line("dot", "452 4.3.1 No space for the message to <{rcpt}> (attempt {attempt})"),
    "garbage": Line("RCPT", "\tgarbage\tfor <{rcpt}>\t"),
    "garbage-dot": Line("dot", "more\tgarbage\tfor <{rcpt}>\r\n\r\nd\t2026-01-01 00:00:00\tforged@row.test"),
    "drop": Line("RCPT", DROP),
}


def script_of(rcpt: str) -> Line | None:
    """Return the script that stands in the address, or None where it is simply accepted."""
    word = rcpt.partition("@")[0].partition(".")[0]
    if word in _LINES:
        return _LINES[word]
    name, _, number = word.rpartition("-")
    if name in _LINES and number.isdecimal():
        return Line(_LINES[name].stage, _LINES[name].reply, int(number))
    return None


def answer(stage: Stage, rcpt: str, attempt: int) -> str | None:
    """Return the reply for that recipient at that stage, or None where the script has nothing against it."""
    line = script_of(rcpt)
    if line is None or line.stage != stage or attempt > line.attempts:
        return None
    return line.reply.format(rcpt=rcpt, attempt=attempt)
