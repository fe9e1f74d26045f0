"""Log lines: a dotted event name and key=value, for people and for grep.

INFO: start, stop, recovery, seal, archive, reconnect, one summary a minute. No recipient's address above DEBUG.
"""

import logging
import sys

_QUOTED = frozenset(' "=\\')


def _text(value: object) -> str:
    """Write a value; one that holds blanks, quotes or controls is quoted, so that it cannot forge another line."""
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    if text and text.isprintable() and not _QUOTED.intersection(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').encode("unicode_escape").decode("ascii")
    return '"' + escaped.replace("\\\\", "\\") + '"'


def event(logger: logging.Logger, name: str, level: int = logging.INFO, **facts: object) -> None:
    """Log an event with its facts."""
    if logger.isEnabledFor(level):
        logger.log(level, "%s", " ".join([name, *(f"{key}={_text(value)}" for key, value in facts.items())]))


def set_up(*, verbose: bool = False) -> None:
    """Log to standard error, with UTC time to the millisecond."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = __import__("time").gmtime
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler])
    logging.getLogger("apscheduler").setLevel(logging.WARNING)
    # It warns once a period of a job that is still under way; the schedule tells one that hangs, and once.
    logging.getLogger("apscheduler.scheduler").setLevel(logging.ERROR)
