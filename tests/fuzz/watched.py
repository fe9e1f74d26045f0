"""One input under watch: what raises, takes too long or grows too large is a finding, kept as a file."""

import hashlib
import logging
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

FINDINGS = Path(".fuzz/findings")

SECONDS = 5.0  # of processor time: another process that is busy is no finding
_MOST_BYTES = 4 << 30

Check = Callable[[bytes], None]


class TooSlow(Exception):
    """An input took more time than any should."""


def bound_memory() -> None:
    """Let what grows without end fail, rather than the machine; for the rest of this process."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, hard))


@contextmanager
def limited(seconds: float | None = None) -> Iterator[None]:
    """Raise TooSlow in what takes more processor time than that, or than any input should; nothing of it is logged."""
    logged = logging.root.manager.disable
    logging.disable()
    before = signal.signal(signal.SIGVTALRM, _too_slow)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds or SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
        logging.disable(logged)


def keep(target: str, data: bytes) -> Path:
    """Write a finding to a file that can be tried again, and return its path."""
    FINDINGS.mkdir(parents=True, exist_ok=True)
    path = FINDINGS / f"{target}-{hashlib.sha256(data).hexdigest()[:12]}"
    path.write_bytes(data)
    return path


def target_of(finding: Path) -> str:
    """Return the target that a finding, or a kept input, is of."""
    return finding.name.partition("-")[0] if finding.parent.name == FINDINGS.name else finding.parent.name


def _too_slow(*_: object) -> None:
    raise TooSlow
