"""Every form of URL that the configuration accepts reaches a real server, for workers and for commands."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import redis

from config import check
from haraka.demo.waiting import free_port
from tests.server.test_command_line import run, write_ini
from tests.support.any_server import AnyServer
from tests.support.files import recipients_in
from tests.support.publisher import Publisher
from tests.support.servers import WorkerProcess, wait_until
from tests.support.workers import PARTITION
from worker.errors import StreamUnavailable
from worker.stream.link import Link, connector

PASSWORD = "p@s/s:w%20o?r#d ü"  # noqa: S105 - of a server of this test
SOCKETS = ("valkey.sock", "with space.sock", "per%cent.sock")


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnyServer]:
    """Return a server with a password, on a Unix socket too."""
    directory = tmp_path_factory.mktemp("server")
    also = ("--bind", "127.0.0.1", "::1") if has_ipv6() else ()
    options = (
        *also,
        "--unixsocket",
        directory / SOCKETS[0],
        "--user",
        "mail",
        "on",
        f">{PASSWORD}",
        "~*",
        "&*",
        "+@all",
    )
    with AnyServer(directory, *options) as made:
        for name in SOCKETS[1:]:
            (directory / name).symlink_to(SOCKETS[0])
        yield made


def urls(server: AnyServer) -> dict[str, int]:
    """Return every form of URL, and the database that it names."""
    port, path, login = server.port, quote(str(server.log.parent)), f"mail:{quote(PASSWORD, safe='')}"
    return {
        f"redis://127.0.0.1:{port}": 0,
        f"redis://127.0.0.1:{port}/": 0,
        f"redis://127.0.0.1:{port}/3": 3,
        f"redis://127.0.0.1:{port}?db=4": 4,
        f"redis://LOCALHOST:{port}/0": 0,
        f"redis://{login}@127.0.0.1:{port}/5": 5,
        **({f"redis://[::1]:{port}/6": 6, f"redis://{login}@[::1]:{port}": 0} if has_ipv6() else {}),
        f"unix://{path}/{SOCKETS[0]}": 0,
        f"unix://{path}/{SOCKETS[0]}?db=7": 7,
        f"unix://{login}@{path}/{SOCKETS[0]}?db=8": 8,
        f"unix://{path}/{quote(SOCKETS[1])}": 0,
        f"unix://{path}/{quote(SOCKETS[2])}": 0,
    }


def reached(url: str) -> dict[str, str]:
    """Return what the server says of a worker's connection to a URL, which the configuration has to accept."""
    report = check(None, redis_url=url, environ={})
    assert report.settings is not None, (url, report.problems)
    link = Link(connector(report.settings.stream, url))
    link.open()
    words = link.call("CLIENT", "INFO").decode().split()
    link.close()
    return dict(word.split("=", 1) for word in words)


def test_each_form_of_url_is_accepted_and_reaches_its_database(server: AnyServer) -> None:
    for url, database in urls(server).items():
        facts = reached(url)
        assert (facts["db"], facts["user"]) == (str(database), "mail" if "mail:" in url else "default"), url


def test_a_password_from_elsewhere_goes_with_the_user_of_each_form(server: AnyServer, tmp_path: Path) -> None:
    path = quote(str(server.log.parent))
    for url in (f"redis://mail:wrong@127.0.0.1:{server.port}/1", f"unix://mail@{path}/{SOCKETS[0]}?db=1"):
        stream = check(None, redis_url=url, environ={"ACCOUNTING_REDIS_PASSWORD": PASSWORD}).settings.stream  # type: ignore[union-attr]
        link = Link(connector(stream, stream.url or ""))
        link.open()
        assert b" db=1 " in link.call("CLIENT", "INFO")
        link.close()


def test_a_worker_and_every_command_work_on_a_unix_socket(server: AnyServer, tmp_path: Path) -> None:
    url = f"unix://{quote(str(server.log.parent / SOCKETS[0]))}?db=9"
    ini = write_ini(tmp_path, f"[redis]\nurl={url}\n")
    client = redis.Redis(unix_socket_path=str(server.log.parent / SOCKETS[0]), db=9, protocol=2)
    worker = WorkerProcess(ini, None)
    worker.start()
    Publisher(client, PARTITION).publish_some(3)
    wait_until(lambda: sum(recipients_in(tmp_path / "files").values()) == 3, "rows")
    for command in (
        ["status"], ["status", "--check", "worker-1"], ["find", "--domain", "example.com"], ["tail"], ["audit"],
        ["audit", "--deep"], ["producers"], ["dead", "list"], ["rotate", "--all"], ["tidy"],
        ["replay", "--from", "-", "--into", "again"],
    ):  # fmt: skip
        done = run(*command, "--config", str(ini), cwd=tmp_path)
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), (command, done.stderr)
    assert worker.stop() == 0
    assert run("retire", "worker-1", "--config", str(ini), cwd=tmp_path).returncode == 0


def openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnyServer]:
    """Return a server that speaks TLS alone, and asks for its clients' certificates."""
    executable = shutil.which("redis-server")  # the wheel's has no TLS
    if executable is None:
        pytest.skip("no redis-server with TLS here")
    path = tmp_path_factory.mktemp("tls")
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", 2,
            "-keyout", path / "key.pem", "-out", path / "cert.pem", *subject)  # fmt: skip
    openssl("ec", "-in", path / "key.pem", "-aes256", "-passout", "pass:secret", "-out", path / "locked.pem")
    port = free_port()
    options = (
        "--port", 0, "--tls-port", port, "--tls-cert-file", path / "cert.pem", "--tls-key-file", path / "key.pem",
        "--tls-ca-cert-file", path / "cert.pem", "--tls-auth-clients", "yes",
    )  # fmt: skip
    with AnyServer(path, *options, executable=Path(executable)) as made:
        made.port = port
        yield made


def test_each_form_of_url_with_tls_reaches_its_database(tls: AnyServer) -> None:
    path = tls.log.parent
    client = f"ssl_certfile={quote(str(path))}/cert.pem&ssl_keyfile={quote(str(path))}/key.pem"
    ours = f"ssl_ca_certs={quote(str(path))}/cert.pem"
    for url in (
        f"rediss://127.0.0.1:{tls.port}/2?{client}&{ours}",
        f"rediss://localhost:{tls.port}?db=2&{client}&{ours}",
        f"rediss://127.0.0.1:{tls.port}/2?{client}&ssl_cert_reqs=none",
        f"rediss://127.0.0.1:{tls.port}/2?{client}&{ours}&ssl_check_hostname=no",
        f"rediss://127.0.0.1:{tls.port}/2?{client}&{ours}&ssl_check_hostname=true&ssl_cert_reqs=required",
    ):
        assert reached(url)["db"] == "2", url


def test_a_server_whose_certificate_is_unknown_is_named(tls: AnyServer) -> None:
    path = quote(str(tls.log.parent))
    url = f"rediss://127.0.0.1:{tls.port}?ssl_certfile={path}/cert.pem&ssl_keyfile={path}/key.pem"
    with pytest.raises(StreamUnavailable, match=f"127.0.0.1:{tls.port}.*self.signed certificate"):
        reached(url)
