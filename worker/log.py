"""Log lines: a dotted event name and key=value, for people and for grep.

INFO: start, stop, recovery, seal, archive, reconnect, one summary a minute. No recipient's address above DEBUG.
A value may come from anywhere: it forges neither a line nor a field, and is cut where it is very long.
"""

import logging
import sys
from types import TracebackType

from worker.printable import MOST, is_printable, printable

_QUOTED = frozenset(' "=\\')
_BELOW = "  | "  # before what stands below a line: no line of its own begins so

_log = logging.getLogger(__name__)


def _text(value: object) -> str:
    """Write a value; one that holds blanks, quotes or controls is quoted, so that it cannot forge another line."""
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    if len(text) > MOST:
        text = text[: MOST - 1] + "…"
    if text and is_printable(text) and not _QUOTED.intersection(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').encode("unicode_escape").decode("ascii")
    return '"' + escaped.replace("\\\\", "\\") + '"'


def event(logger: logging.Logger, name: str, level: int = logging.INFO, **facts: object) -> None:
    """Log an event with its facts."""
    if logger.isEnabledFor(level):
        logger.log(level, "%s", " ".join([name, *(f"{key}={_text(value)}" for key, value in facts.items())]))


class _Formatter(logging.Formatter):
    """One line a record, whoever logs it and whatever it holds; tracebacks stand below it, behind a bar."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return printable(super().formatMessage(record))

    def formatException(self, ei: "logging._SysExcInfoType") -> str:  # noqa: N802 - logging's name
        return "\n".join(_BELOW + printable(line) for line in super().formatException(ei).split("\n"))


def set_up(*, verbose: bool = False) -> None:
    """Log to standard error, with UTC time to the millisecond."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = _Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = __import__("time").gmtime
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler])
    logging.getLogger("apscheduler").setLevel(logging.WARNING)
    # It warns once a period of a job that is still under way; the schedule tells one that hangs, and once.
    logging.getLogger("apscheduler.scheduler").setLevel(logging.ERROR)


def unexpected(error: BaseException) -> None:
    """Log where an error came from that nobody expected, for who asks for it (-v)."""
    _log.debug("traceback", exc_info=error)


def died(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    """Log an error that ended a thread: Python would write its text to the terminal as it stands."""
    _log.critical("thread.died", exc_info=(kind, error or kind(), trace))
