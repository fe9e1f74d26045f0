"""What happens to Haraka's queue while it ends a message. Each trouble is over by itself after a while."""

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from haraka.demo.messages import Message
from haraka.demo.script import Stage
from haraka.demo.sink import OnReply

SECONDS: Final = 1.5
MEGABYTES: Final = 1

Trouble = Callable[[Path], Callable[[], None]]


def queue_away(queue: Path) -> Callable[[], None]:
    """Rename the queue's directory away: every path in it is gone (ENOENT), open files go on."""
    away = queue.with_name("queue.away")
    queue.rename(away)

    def undo() -> None:
        away.rename(queue)

    return undo


def queue_replaced(queue: Path) -> Callable[[], None]:
    """Rename it away and put an empty one in its place; what is written there meanwhile stays."""
    away = queue.with_name("queue.away")
    queue.rename(away)
    queue.mkdir()

    def undo() -> None:
        for file in queue.iterdir():
            file.replace(away / file.name)
        queue.rmdir()
        away.rename(queue)

    return undo


def queue_full(queue: Path) -> Callable[[], None]:
    """Fill the queue's file system (`small_disk`): not a byte can be written (ENOSPC), renames and unlinks go on."""
    ballast = queue / "error.ballast"  # by its name, Haraka lets it alone
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            pass
    return ballast.unlink


@contextmanager
def small_disk(queue: Path) -> Iterator[None]:
    """Give the queue a file system of its own; needs the right to mount one."""
    queue.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "none", queue], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", queue], check=True)


def at_last_reply(trouble: Trouble, message: Message, queue: Path) -> OnReply:
    """Make `on_reply` of a sink: the trouble begins before the reply that ends the first attempt at a message."""
    begun = threading.Event()

    def on_reply(orig: str, rcpts: tuple[tuple[str, str], ...], stage: Stage) -> None:
        is_refused = len(rcpts) == len(message.rcpts) and not any(said.startswith("2") for _, said in rcpts)
        if orig == message.orig and (stage != "RCPT" or is_refused) and not begun.is_set():
            begun.set()
            threading.Timer(SECONDS, trouble(queue)).start()

    return on_reply
