"""A whole laboratory in one work directory: worker and server, Haraka with the plugin, and the sink.

Started in the order that each needs (the worker first: it publishes which message headers the plugin keeps), stopped
in the order of the mail's way, so that nothing is left between two of them. Leaving the context stops all of it.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from haraka.demo import accounting, instance
from haraka.demo.expect import Expectation, Queueing, expect
from haraka.demo.messages import CLOSED_DOMAIN, Message
from haraka.demo.sender import send
from haraka.demo.sink import Sink
from haraka.demo.waiting import ClosedPort, free_port, wait_until


@dataclass(frozen=True)
class Setup:
    """What labs differ in."""

    nodes: int | None = None
    always_split: bool = False
    retry_seconds: tuple[int, ...] = (5,)
    columns: str = accounting.COLUMNS
    accounting_files: Mapping[str, object] = field(default_factory=dict)
    binds: Mapping[str, str] = field(default_factory=dict)


class Lab:
    """The running laboratory and the messages it was given."""

    def __init__(self, directory: Path, setup: Setup) -> None:
        self.setup = setup
        self._stack = ExitStack()
        self._closed = ClosedPort()
        self.sink = Sink(free_port(), directory / "sink.ndjson")
        files = accounting.Settings(directory, free_port(), setup.columns, setup.accounting_files)
        self.worker = accounting.Worker(files)
        self.haraka = instance.Instance(directory / "haraka", self._haraka_settings(files))
        self.messages: list[Message] = []

    def _haraka_settings(self, files: accounting.Settings) -> instance.Settings:
        return instance.Settings(
            smtp_port=free_port(),
            sink_port=self.sink.port,
            redis_port=files.redis_port,
            password_file=files.password_file,
            nodes=self.setup.nodes,
            always_split=self.setup.always_split,
            retry_seconds=self.setup.retry_seconds,
            ports={CLOSED_DOMAIN: self._closed.port},
            binds=self.setup.binds,
        )

    def __enter__(self) -> Self:
        with ExitStack() as stack:  # undoes what was started when a later part does not start
            stack.callback(self._closed.close)
            stack.callback(self.worker.stop)
            self.worker.start()
            stack.enter_context(self.sink)
            stack.callback(self.haraka.stop)
            self.haraka.make()
            self.haraka.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def send(self, messages: Iterable[Message], sent: Callable[[Message], None] = lambda _: None) -> None:
        """Hand messages to Haraka."""
        messages = tuple(messages)
        self.messages.extend(messages)
        send(messages, self.haraka.settings.smtp_port, sent)

    def expectation(self) -> Expectation:
        """Return what the files must hold, by what the sink has said so far."""
        setup = self.setup
        queueing = Queueing(len(setup.retry_seconds), setup.always_split, closed_domains=(CLOSED_DOMAIN,))
        return expect(self.messages, self.sink.record.transactions(), queueing)

    def check(self) -> None:
        """Raise ProcessDiedError where a part of it is gone."""
        self.haraka.check()
        self.worker.check()

    def is_done(self) -> bool:
        """Whether all mail has had its last answer, Haraka's queue is empty and every event is in the files."""
        self.check()
        return self.expectation().is_final and not self.haraka.queued() and not self.worker.backlog()

    def finish(self, timeout_seconds: float = 60.0) -> None:
        """Wait until all is done, then stop Haraka, then the worker: after it nothing can be added to the files."""
        wait_until(self.is_done, "the end of all deliveries", timeout_seconds)
        self.haraka.stop()
        wait_until(lambda: not self.worker.backlog(), "the last events", timeout_seconds)
        code = self.worker.stop()
        if code != 0:
            raise RuntimeError(f"the worker ended with code {code} (log: {self.worker.log})")
