"""A small S3 server on loopback whose answers a test writes: what it does not answer is done as S3 does it.

Knows objects, ranges, `If-None-Match: *`, and uploads in parts. Signatures are not looked at.
"""

import hashlib
import http.server
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

BUCKET = "bucket"
URL = f"s3://{BUCKET}/mail"


class Request(NamedTuple):
    """A request as it came."""

    method: str
    key: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_conditional(self) -> bool:
        """Tell whether it is a put that must find nothing."""
        return self.method == "PUT" and self.headers.get("if-none-match") == "*"


class Answer(NamedTuple):
    """What is answered."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}
    promised: int | None = None  # bytes, where fewer come


def error(status: int, code: str) -> Answer:
    """Return an error as S3 says it."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code} it is</Message></Error>"
    return Answer(status, body.encode(), {"Content-Type": "application/xml"})


Script = Callable[[Request], Answer | None]


class ScriptedStore:
    """The server's objects, what it was asked, and what it answers in place of its own answer."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.requests: list[Request] = []
        self.script: Script = lambda _: None
        self._parts: dict[str, dict[int, bytes]] = {}
        self._lock = threading.Lock()

    def asked(self, method: str) -> list[str]:
        """Return the keys of the requests with a method."""
        return [each.key for each in self.requests if each.method == method]

    def answer(self, request: Request) -> Answer:
        """Answer as the test wants it, or as S3 does."""
        with self._lock:
            self.requests.append(request)
            return self.script(request) or self.own_answer(request)

    def own_answer(self, request: Request) -> Answer:
        """Answer as S3 does."""
        match request.method:
            case "HEAD" | "GET":
                return self._read(request)
            case "PUT" if "partNumber" in request.query:
                self._parts[request.query["uploadId"]][int(request.query["partNumber"])] = request.body
                return Answer(200, headers=_etag(request.body))
            case "PUT":
                return self._put(request)
            case "POST" if "uploads" in request.query:
                upload = f"upload-{len(self._parts)}"
                self._parts[upload] = {}
                return Answer(200, b"<InitiateMultipartUploadResult><UploadId>%s</UploadId>"
                              b"</InitiateMultipartUploadResult>" % upload.encode())  # fmt: skip
            case "POST":
                parts = self._parts.pop(request.query["uploadId"])
                self.objects[request.key] = b"".join(parts[number] for number in sorted(parts))
                return Answer(200, b"<CompleteMultipartUploadResult><ETag>&quot;parts&quot;</ETag>"
                              b"</CompleteMultipartUploadResult>")  # fmt: skip
            case _:
                return Answer(204)

    def _put(self, request: Request) -> Answer:
        if request.is_conditional and request.key in self.objects:
            return error(412, "PreconditionFailed")
        self.objects[request.key] = request.body
        return Answer(200, headers=_etag(request.body))

    def _read(self, request: Request) -> Answer:
        content = self.objects.get(request.key)
        if content is None:
            return error(404, "NoSuchKey")
        headers = {**_etag(content), "Last-Modified": "Sun, 22 Nov 2026 21:55:25 GMT", "Accept-Ranges": "bytes"}
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("range", ""))
        if not found:
            return Answer(200, content, headers)
        first, last = int(found[1]), min(int(found[2]), len(content) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        return Answer(206, content[first : last + 1], headers)


def _etag(content: bytes) -> dict[str, str]:
    return {"ETag": f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'}


def _handler(store: ScriptedStore) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _do(self) -> None:
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
            headers = {name.lower(): value for name, value in self.headers.items()}
            key = unquote(url.path).removeprefix(f"/{BUCKET}/")
            answer = store.answer(Request(self.command, key, query, headers, body))
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            length = len(answer.body) if answer.promised is None else answer.promised
            self.send_header("Content-Length", str(length))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)
            if length != len(answer.body):
                self.close_connection = True

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _do  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    return Handler


@contextmanager
def serving(store: ScriptedStore) -> Iterator[Mapping[str, str]]:
    """Serve a store, and yield the environment that leads to it."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(store)) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}", "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        }  # fmt: skip
        server.shutdown()
        thread.join()
