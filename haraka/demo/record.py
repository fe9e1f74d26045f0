"""What the sink said, as values: one `Transaction` for each mail transaction, and the reading of a reply."""

import re
from dataclasses import dataclass
from typing import Final

from haraka.demo.script import DROP, Stage

# As Haraka reads a reply line: three-digit enhanced codes (5.7.511) are text to it.
_LINE: Final = re.compile(r"([2345]\d\d)([ -])#?(?:(\d\.\d\.\d)\s)?(.*)", re.DOTALL)


@dataclass(frozen=True)
class Reply:
    """A reply as its reader understands it."""

    code: str
    enhanced: str
    text: str

    @property
    def whole(self) -> str:
        """The reply in one line, codes first."""
        return " ".join(part for part in (self.code, self.enhanced, self.text) if part)

    @property
    def is_temporary(self) -> bool:
        """Whether it asks to come back (3xx makes no sense where this is asked)."""
        return self.code[0] in "34"


def read_reply(said: str) -> Reply | None:
    """Return the reply, its lines joined by spaces, or None where it is no SMTP."""
    matches = [_LINE.fullmatch(line) for line in said.split("\r\n")]
    lines = [match for match in matches if match is not None]
    if not said or len(lines) != len(matches):
        return None
    text = " ".join(line[4] for line in lines)
    return Reply(code=lines[-1][1], enhanced=lines[-1][3] or "", text=text)


@dataclass(frozen=True)
class Transaction:
    """One mail transaction as the sink saw it, from MAIL FROM to the answer that ended it."""

    orig: str  # "" is the null sender
    rcpts: tuple[tuple[str, str], ...]  # recipient and the reply to its RCPT TO, in order
    verdict: tuple[Stage, str] | None  # the reply to DATA (when it was refused) or to the final dot
    src_ip: str
    dest_ip: str
    dest_port: int
    content: bytes = b""

    @property
    def last_said(self) -> str:
        """The reply that ended it."""
        return self.verdict[1] if self.verdict else self.rcpts[-1][1]

    @property
    def was_dropped(self) -> bool:
        """Whether the sink closed the connection in place of its last reply."""
        return self.last_said == DROP
