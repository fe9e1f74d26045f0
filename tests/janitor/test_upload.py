"""Upload to object storage: on a real S3 server, on a directory, and on a store that fails."""

import hashlib
import http.server
import logging
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from haraka.demo.waiting import free_port
from tests.janitor.lab import Lab
from tests.janitor.s3 import BUCKET, S3Server
from worker.catalogue import expired
from worker.janitor import Done, store
from worker.janitor.store import ObjectStore
from worker.manifest import decode

URL = f"s3://{BUCKET}/accounting"


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with S3Server() as running:
        yield running


@pytest.fixture
def s3(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return server


def troubles(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


def test_a_file_and_its_manifest_are_in_the_bucket_and_the_manifest_here_tells_where(lab: Lab, s3: S3Server) -> None:
    path = lab.seal(lab.delivered.archive, "d.1")
    content = path.read_bytes()
    assert lab.tidy(archive_url=URL) == Done(uploaded=1)
    manifest = lab.stored("d.1").manifest
    assert manifest
    assert manifest.uploaded
    assert manifest.uploaded.url == f"{URL}/delivered/d.1"
    assert s3.get("accounting/delivered/d.1") == content
    there = decode(s3.get("accounting/delivered/d.1.json"), Path("d.1.json"))
    assert (there.sha256, there.rows, there.uploaded) == (manifest.sha256, manifest.rows, None)
    assert lab.tidy(archive_url=URL) == Done()


def test_a_compressed_file_goes_up_as_it_stands_and_expires_once_it_is_there(lab: Lab, s3: S3Server) -> None:
    lab.seal(lab.delivered.open, "d.2", days_old=2)
    wishes: dict[str, Any] = {"compress": "gzip", "archive_url": URL, "keep_days": 0}
    assert lab.tidy(**wishes) == Done(archived=1, compressed=1, uploaded=1, expired=1)
    assert lab.standing() == {}
    [manifest] = expired(lab.delivered)
    assert manifest.compressed
    assert manifest.uploaded
    there = s3.get("accounting/delivered/d.2.gz")
    assert hashlib.sha256(there).hexdigest() == manifest.compressed.sha256


def test_a_large_file_goes_up_in_parts_and_is_read_back(lab: Lab, s3: S3Server, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(random.Random(1).randbytes(20_000_001))
    bucket = ObjectStore(URL)
    bucket.put("delivered/large", large)
    found = bucket.read_back("delivered/large", 20_000_001)
    assert found
    assert found[0] == (20_000_001, hashlib.sha256(large.read_bytes()).hexdigest())


def test_another_object_of_that_name_is_never_replaced_and_the_file_stays(
    lab: Lab, s3: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    lab.seal(lab.delivered.archive, "d.3", days_old=9)
    lab.seal(lab.delivered.archive, "d.4", days_old=9)
    s3.put("accounting/delivered/d.3", b"of another directory")
    janitor = lab.janitor(archive_url=URL, keep_days=1)
    assert janitor.run() == Done(uploaded=1, expired=1)
    janitor.run()
    assert s3.get("accounting/delivered/d.3") == b"of another directory"
    assert list(lab.standing()) == ["delivered/archive/d.3"]
    [line] = troubles(caplog)
    assert f"{URL}/delivered/d.3 holds 20 bytes" in line


def test_what_died_between_the_upload_and_its_note_is_uploaded_only_once(lab: Lab, s3: S3Server) -> None:
    path = lab.seal(lab.delivered.archive, "d.5")
    s3.put("accounting/delivered/d.5", path.read_bytes())
    assert lab.tidy(archive_url=URL) == Done(uploaded=1)


def test_directories_that_share_a_bucket_are_told_apart_by_their_id(lab: Lab, s3: S3Server) -> None:
    path = lab.seal(lab.delivered.archive, "d.6")
    assert lab.tidy(archive_url=URL + "/{directory}").uploaded == 1
    assert s3.get("accounting/0123456789abcdef/delivered/d.6") == path.read_bytes()


def test_a_directory_can_be_the_store(lab: Lab, tmp_path: Path) -> None:
    path = lab.seal(lab.delivered.archive, "d.7", days_old=9)
    content = path.read_bytes()
    wishes: dict[str, Any] = {"archive_url": (tmp_path / "a store").as_uri(), "keep_days": 1}
    assert lab.tidy(**wishes) == Done(uploaded=1, expired=1)
    assert (tmp_path / "a store/delivered/d.7").read_bytes() == content
    assert lab.standing() == {}


class Faulty(http.server.BaseHTTPRequestHandler):
    """A store that answers 500 to everything."""

    def _fail(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(500)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = do_PUT = do_POST = _fail  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def answers_500() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Faulty) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.fixture
def refuses() -> str:
    return f"http://127.0.0.1:{free_port()}"


@pytest.mark.parametrize("outage", ["refuses", "answers_500"])
def test_an_outage_of_the_store_removes_nothing_is_told_once_and_ends_by_itself(
    lab: Lab, s3: S3Server, caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest, outage: str
) -> None:
    caplog.set_level(logging.INFO)
    names = [f"{outage}.{number}" for number in range(3)]
    for name in names:
        lab.seal(lab.delivered.archive, name, days_old=9)
    before = lab.standing()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", request.getfixturevalue(outage))
        janitor = lab.janitor(archive_url=URL, keep_days=1, keep_bytes=1)
        for _ in range(2):
            assert janitor.run() == Done()
        assert len(troubles(caplog)) == 1
        assert "step=upload" in troubles(caplog)[0]
        assert lab.standing() == before
    janitor._store = None  # the address is another one now
    lab.pass_time(days=1)
    assert janitor.run() == Done(uploaded=3, expired=3)
    assert [r.getMessage() for r in caplog.records if "janitor.recovered" in r.getMessage()] == [
        "janitor.recovered step=upload file=any"
    ]
    assert not janitor.troubles


def test_a_store_that_stops_and_goes_on_is_waited_for(
    lab: Lab, s3: S3Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(store, "_CLIENT", {**store._CLIENT, "timeout": "1s"})
    lab.seal(lab.delivered.archive, "d.8", days_old=9)
    janitor = lab.janitor(archive_url=URL, keep_days=1)
    s3.pause()
    try:
        assert janitor.run() == Done()
    finally:
        s3.resume()
    assert len(troubles(caplog)) == 1
    assert janitor.run() == Done(uploaded=1, expired=1)


def test_a_copy_that_reads_back_otherwise_does_not_count_until_it_reads_back_right(
    lab: Lab, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that answers wrong bytes: here, the store's file is changed behind its back, and later changed back."""
    root = tmp_path / "store"

    class Disk(ObjectStore):
        wrong = True

        def put(self, key: str, source: Path | bytes) -> None:
            super().put(key, source)
            if self.wrong and key.endswith("d.9"):
                content = (root / key).read_bytes()
                (root / key).write_bytes(content[::-1])
                type(self).wrong = False

    path = lab.seal(lab.delivered.archive, "d.9", days_old=9)
    janitor = lab.janitor(archive_url=root.as_uri(), keep_days=1, open_store=Disk)
    assert janitor.run() == Done()
    assert path.exists()
    assert "expected" in troubles(caplog)[0]
    (root / "delivered/d.9").write_bytes(path.read_bytes())
    assert janitor.run() == Done()  # such a file rests for an hour: looking again means reading all of it
    lab.monotonic += 3601
    assert janitor.run() == Done(uploaded=1, expired=1)
    assert len(troubles(caplog)) == 1


def test_a_bucket_that_is_not_there_is_told_by_its_name(
    lab: Lab, s3: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    lab.seal(lab.delivered.archive, "d.1")
    lab.janitor(archive_url="s3://no-such-bucket/x").run()
    assert "no-such-bucket" in troubles(caplog)[0]
    assert list(lab.standing()) == ["delivered/archive/d.1"]
    assert os.environ["AWS_ENDPOINT_URL"] == s3.url
