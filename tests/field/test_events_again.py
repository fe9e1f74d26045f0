"""E1: the real plugin sends its ring again after the server forgot, and each event has its row once."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from haraka.demo.instance import Instance, Settings
from haraka.demo.messages import Message
from haraka.demo.sender import send
from haraka.demo.sink import Sink
from haraka.demo.waiting import free_port
from tests.field.forgetting import forgetting
from tests.field.site import KEYS, Site, is_long
from tests.haraka.conftest import npm_packages
from tests.support.servers import WorkerProcess

pytestmark = [pytest.mark.haraka, pytest.mark.timeout(600)]
__all__ = ["npm_packages"]

PER_MESSAGE = 2  # recipients


class Mail:
    """A Haraka with the plugin, a sink, and what was sent through them."""

    def __init__(self, base: Path, redis_port: int, stack: ExitStack) -> None:
        self.sink = stack.enter_context(Sink(free_port()))
        settings = Settings(free_port(), self.sink.port, redis_port, nodes=0, accounting={"suppress_dsn": "true"})
        self.haraka = Instance(base / "haraka", settings)
        self.haraka.make()
        stack.callback(self.haraka.stop)
        self.haraka.start()
        self.sent: list[str] = []

    def send(self, messages: int) -> None:
        """Hand messages to Haraka, of two recipients each."""
        first = len(self.sent) // PER_MESSAGE
        made = [
            Message(f"news.{number:04}@sender.test", tuple(f"accept.{number:04}@{at}.test" for at in ("a", "b")))
            for number in range(first, first + messages)
        ]
        send(made, self.haraka.settings.smtp_port)
        self.sent += [rcpt for message in made for rcpt in message.rcpts]


@pytest.fixture
def mail(site: Site, npm_packages: None) -> Iterator[Mail]:
    with ExitStack() as stack:
        yield Mail(site.base, site.server.settings.port, stack)


def wait_for_rows(site: Site, mail: Mail) -> None:
    """Wait until everything that was sent has rows, and nothing is left."""
    site.wait(lambda: not Counter(mail.sent) - site.rows() and not site.left(), "the rows of all mail", seconds=180)


def check(site: Site, mail: Mail, worker: WorkerProcess) -> None:
    """Compare each row with what was sent: it stands once."""
    wait_for_rows(site, mail)
    mail.haraka.stop()
    site.wait(lambda: not site.left(), "what came last")
    site.stop(worker)
    assert site.rows() == Counter(mail.sent), (Counter(mail.sent), site.rows())
    site.check_files()


def flushall_and_more_mail(site: Site, mail: Mail) -> None:
    """FLUSHALL; the next batch tells the plugin of it."""
    site.client.flushall()
    mail.send(3)


def flushall_and_a_new_connection(site: Site, mail: Mail) -> None:
    """FLUSHALL; the plugin connects again, and finds it out before there is another event."""
    site.client.flushall()
    site.client.client_kill_filter(_type="normal", skipme=True)
    site.wait(lambda: site.client.exists(KEYS.producers), "the ring")


def emptied_server(site: Site, mail: Mail) -> None:
    """Start the server again without its data."""
    with forgetting(site, "emptied"):
        pass
    mail.send(3)


def restored_server(site: Site, mail: Mail) -> None:
    """Start it again on what it had before the last messages."""
    with forgetting(site, "restored"):
        mail.send(20)
        wait_for_rows(site, mail)


def no_producers(site: Site, mail: Mail) -> None:
    """Delete the numbers of the producers; the plugin connects again, and leaves no gap."""
    site.client.delete(KEYS.producers)
    site.client.client_kill_filter(_type="normal", skipme=True)
    site.wait(lambda: site.client.exists(KEYS.producers), "the ring")


LOSSES = [flushall_and_more_mail, flushall_and_a_new_connection, emptied_server, restored_server, no_producers]


@pytest.mark.parametrize("lose", LOSSES if is_long() else [flushall_and_more_mail, no_producers])
def test_a_ring_that_the_plugin_sends_again_yields_no_second_row(
    site: Site, mail: Mail, lose: Callable[[Site, Mail], None]
) -> None:
    """One worker, real plugin, 200 rows, FLUSHALL, the plugin sends its ring again."""
    worker = site.started()
    mail.send(100)
    wait_for_rows(site, mail)
    lose(site, mail)
    check(site, mail, worker)


@pytest.mark.skipif(not is_long(), reason="FIELD=all")
def test_a_ring_that_comes_while_the_worker_is_dead_yields_no_second_row(site: Site, mail: Mail) -> None:
    worker = site.started()
    mail.send(50)
    wait_for_rows(site, mail)
    worker.kill()
    site.client.flushall()
    mail.send(10)
    worker.start()
    check(site, mail, worker)
