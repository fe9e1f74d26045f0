"""A real S3 server on loopback: moto's, in a process of its own, which a test can take away and bring back."""

import signal
import subprocess
import sys
import time
from http.client import HTTPConnection, HTTPException
from types import TracebackType
from typing import Self

from haraka.demo.waiting import free_port
from tests.support.servers import PATIENCE_SECONDS

BUCKET = "mail-archive"
_SCRIPT = "import sys; from moto.server import main; main(sys.argv[1:])"


class S3Server:
    """The server and its one bucket. Objects live as long as the process."""

    def __init__(self) -> None:
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.environment = {
            "AWS_ENDPOINT_URL": self.url, "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        }  # fmt: skip

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it empty, and make the bucket."""
        command = [sys.executable, "-c", _SCRIPT, "-H", "127.0.0.1", "-p", str(self._port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                self._request("PUT", BUCKET)
            except (OSError, HTTPException):
                assert self._process.poll() is None, "the S3 server ended"
                assert time.monotonic() < end, "the S3 server does not start"
                time.sleep(0.05)
            else:
                return

    def pause(self) -> None:
        """Let it answer nothing and keep its objects."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it; its objects are gone."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def get(self, key: str) -> bytes:
        """Return an object, asked for without obstore."""
        return self._request("GET", f"{BUCKET}/{key}")

    def put(self, key: str, content: bytes) -> None:
        """Put an object, as somebody else would."""
        self._request("PUT", f"{BUCKET}/{key}", content)

    def _request(self, method: str, path: str, content: bytes = b"") -> bytes:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request(method, f"/{path}", content, {"Authorization": "AWS test:not-looked-at"})
            answer = connection.getresponse()
            found = answer.read()
            assert answer.status == 200, f"{method} {path}: {answer.status} {found[:200]!r}"
            return found
        finally:
            connection.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
