"""Object stores that answer otherwise than the test server of the other tests: each on a real connection."""

import hashlib
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.janitor.lab import Lab
from tests.janitor.scripted_store import URL, Answer, Request, Script, ScriptedStore, error, serving
from worker.janitor import Done, store
from worker.janitor.copies import Copies
from worker.janitor.store import ObjectStore, StoreTrouble
from worker.manifest import decode, encode, manifest_path

KEY = "mail/delivered/d.1"


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedStore]:
    made = ScriptedStore()
    monkeypatch.setattr(store, "_RETRY", {**store._RETRY, "max_retries": 0})
    with serving(made) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield made


def troubles(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


def refusing_conditions(status: int, code: str) -> Script:
    return lambda request: error(status, code) if request.is_conditional else None


def hiding(s3: ScriptedStore) -> Script:
    """Answer 403 for what is not there, as S3 does to who may not list the bucket."""
    return lambda request: (
        error(403, "AccessDenied") if request.method in {"HEAD", "GET"} and request.key not in s3.objects else None
    )


def both(*scripts: Script) -> Script:
    return lambda request: next((answer for script in scripts if (answer := script(request))), None)


def without_etag(s3: ScriptedStore) -> Script:
    def script(request: Request) -> Answer:
        answer = s3.own_answer(request)
        return answer._replace(headers={name: value for name, value in answer.headers.items() if name != "ETag"})

    return script


def done_and_unheard(s3: ScriptedStore) -> Script:
    """Do what is asked for, and answer 500."""

    def script(request: Request) -> Answer | None:
        if request.method not in {"PUT", "POST"}:
            return None
        s3.own_answer(request)
        return error(500, "InternalError")

    return script


def without_ranges(s3: ScriptedStore) -> Script:
    def script(request: Request) -> Answer | None:
        headers = {name: value for name, value in request.headers.items() if name != "range"}
        return s3.own_answer(request._replace(headers=headers)) if request.method == "GET" else None

    return script


GO_ON = {
    "501 to the condition": lambda _: refusing_conditions(501, "NotImplemented"),
    "400 to the condition": lambda _: refusing_conditions(400, "InvalidArgument"),
    "403 for what is not there": hiding,
    "no etag": without_etag,
    "no ranges": without_ranges,
    "put, and answered with 500": done_and_unheard,
}


@pytest.mark.parametrize("make_script", GO_ON.values(), ids=GO_ON)
def test_a_file_goes_up_where_it_safely_can_and_expires(s3: ScriptedStore, lab: Lab, make_script: Any) -> None:
    path = lab.seal(lab.delivered.archive, "d.1", days_old=9)
    content = path.read_bytes()
    s3.script = make_script(s3)
    assert lab.tidy(archive_url=URL) == Done(uploaded=1)
    assert s3.objects[KEY] == content
    assert decode(s3.objects[f"{KEY}.json"], Path("d.1.json")).rows == 100
    assert lab.tidy(archive_url=URL, keep_days=1) == Done(expired=1)
    assert lab.standing() == {}
    assert s3.objects[KEY] == content


@pytest.mark.parametrize("make_script", GO_ON.values(), ids=GO_ON)
def test_another_object_is_never_replaced_whatever_the_store_takes(
    s3: ScriptedStore, lab: Lab, make_script: Any, caplog: pytest.LogCaptureFixture
) -> None:
    lab.seal(lab.delivered.archive, "d.1", days_old=9)
    s3.objects[KEY] = b"of another directory"
    s3.script = make_script(s3)
    assert lab.janitor(archive_url=URL, keep_days=1).run() == Done()
    assert s3.objects[KEY] == b"of another directory"
    assert "holds 20 bytes" in troubles(caplog)[0]
    assert list(lab.standing()) == ["delivered/archive/d.1"]


CANNOT: dict[str, tuple[Any, str]] = {
    "403 to the put": (lambda _: lambda r: error(403, "AccessDenied") if r.method == "PUT" else None, "AccessDenied"),
    "403 to every look": (
        lambda _: lambda r: error(403, "AccessDenied") if r.method in {"GET", "HEAD"} else None, "performing HEAD",
    ),
    "403 for what is not there, and 501 to the condition": (
        lambda s3: both(hiding(s3), refusing_conditions(501, "NotImplemented")), "expected the permission to list",
    ),
    "409, for ever": (lambda _: refusing_conditions(409, "ConditionalRequestConflict"), "is not there, though"),
    "412, though nothing is there": (lambda _: refusing_conditions(412, "PreconditionFailed"), "is not there, though"),
    "404 to the put": (lambda _: lambda r: error(404, "NoSuchBucket") if r.method == "PUT" else None, "NoSuchBucket"),
    "501 to every put": (lambda _: lambda r: error(501, "NotImplemented") if r.method == "PUT" else None, "501"),
    "200 with an error as its body": (
        lambda _: lambda r: error(200, "InternalError") if r.method == "PUT" else None, "ETag Header missing",
    ),
    "a redirect": (lambda _: lambda r: Answer(301) if r.method == "PUT" else None, "redirect"),
    "a truncated read": (
        lambda s3: lambda r: (
            s3.own_answer(r)._replace(body=b"", promised=len(s3.own_answer(r).body))
            if r.method == "GET" and r.key in s3.objects else None
        ), "d.1",
    ),
    "a read that gives less than the whole": (
        lambda s3: lambda r: (
            Answer(206, s3.objects[r.key][:5], {"Content-Range": f"bytes 0-4/{len(s3.objects[r.key])}"})
            if r.method == "GET" and r.key in s3.objects else None
        ), "Requested 0..",
    ),
    "a read that gives an error as its body": (
        lambda _: lambda r: error(200, "InternalError") if r.method == "GET" else None, "is not what the store says",
    ),
    "a read that gives other bytes": (
        lambda s3: lambda r: (
            s3.own_answer(r)._replace(body=s3.own_answer(r).body[::-1])
            if r.method == "GET" and r.key in s3.objects else None
        ), "expected",
    ),
    "another size": (
        lambda s3: lambda r: (
            Answer(200, s3.objects[r.key] * 2, {"ETag": '"x"'}) if r.method == "HEAD" and r.key in s3.objects else None
        ), "holds",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make_script", "told"), CANNOT.values(), ids=CANNOT)
def test_where_it_cannot_that_is_told_once_and_the_file_stays_until_it_can(
    s3: ScriptedStore, lab: Lab, caplog: pytest.LogCaptureFixture, make_script: Any, told: str
) -> None:
    lab.seal(lab.delivered.archive, "d.1", days_old=9)
    before = lab.standing()
    s3.script = make_script(s3)
    janitor = lab.janitor(archive_url=URL, keep_days=1, keep_bytes=1)
    for _ in range(3):
        assert janitor.run() == Done()
    [line] = troubles(caplog)
    assert told in line
    assert lab.standing() == before
    s3.script = lambda _: None
    lab.pass_time(hours=1)
    assert janitor.run() == Done(uploaded=1, expired=1)
    assert not janitor.troubles


def test_an_endpoint_that_is_no_url_is_told_and_ends_nothing(
    s3: ScriptedStore, lab: Lab, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library panics."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nonsense")
    lab.seal(lab.delivered.archive, "d.1")
    janitor = lab.janitor(archive_url=URL)
    for _ in range(2):
        assert janitor.run() == Done()
    [line] = troubles(caplog)
    assert "is the endpoint a URL?" in line


def large(tmp_path: Path) -> Path:
    path = tmp_path / "large"
    path.write_bytes(b"0123456789abcdef" * (700_000))
    return path


@pytest.mark.parametrize(
    "make_script",
    [
        pytest.param(lambda _: lambda _: None, id="in parts"),
        pytest.param(lambda _: lambda r: error(501, "No") if "uploads" in r.query else None, id="no parts"),
        pytest.param(without_etag, id="no etag"),
        pytest.param(hiding, id="403 for what is not there"),
    ],
)
def test_a_large_object_goes_up_in_parts_or_whole(s3: ScriptedStore, tmp_path: Path, make_script: Any) -> None:
    source = large(tmp_path)
    s3.script = make_script(s3)
    bucket = ObjectStore(URL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "_WHOLE_BYTES", 12_000_000)
        try:
            bucket.put("large", source)
        except StoreTrouble as trouble:
            assert "ETag" in str(trouble)
    back = bucket.read_back("large", source.stat().st_size)
    assert back
    assert back[0].sha256 == hashlib.sha256(source.read_bytes()).hexdigest()


def test_an_object_too_large_to_be_put_whole_needs_to_be_asked_for(s3: ScriptedStore, tmp_path: Path) -> None:
    s3.script = hiding(s3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "_WHOLE_BYTES", 1_000_000)
        with pytest.raises(StoreTrouble, match="expected the permission to list"):
            ObjectStore(URL).put("large", large(tmp_path))
    assert s3.objects == {}


def test_an_object_has_at_most_as_many_parts_as_stores_take(
    s3: ScriptedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_PART_BYTES", 5 << 20)
    monkeypatch.setattr(store, "_MOST_PARTS", 2)
    ObjectStore(URL).put("large", large(tmp_path))
    assert sum("partNumber" in request.query for request in s3.requests) == 2


def test_a_store_that_knows_no_conditions_is_asked_in_vain_only_once(s3: ScriptedStore, lab: Lab) -> None:
    for number in range(3):
        lab.seal(lab.delivered.archive, f"d.{number}")
    s3.script = refusing_conditions(501, "NotImplemented")
    assert lab.tidy(archive_url=URL).uploaded == 3
    assert sum(request.is_conditional for request in s3.requests) == 1


def test_before_a_file_expires_the_store_says_that_it_has_it_by_size_and_etag_and_is_not_read(
    s3: ScriptedStore, lab: Lab
) -> None:
    lab.seal(lab.delivered.archive, "d.1", days_old=9)
    lab.tidy(archive_url=URL)
    s3.requests.clear()
    assert lab.tidy(archive_url=URL, keep_days=1) == Done(expired=1)
    assert KEY in s3.asked("HEAD")
    assert KEY not in s3.asked("GET")


def test_a_copy_without_its_etag_of_then_is_read(s3: ScriptedStore, lab: Lab) -> None:
    path = manifest_path(lab.seal(lab.delivered.archive, "d.1", days_old=9))
    lab.tidy(archive_url=URL)
    manifest = lab.stored("d.1").manifest
    assert manifest
    assert manifest.uploaded
    uploaded = msgspec.structs.replace(manifest.uploaded, etag=None)  # as early versions wrote it
    path.chmod(0o640)
    path.write_bytes(encode(msgspec.structs.replace(manifest, uploaded=uploaded)))
    path.chmod(0o440)
    s3.requests.clear()
    assert lab.tidy(archive_url=URL, keep_days=1) == Done(expired=1)
    assert KEY in s3.asked("GET")


@pytest.mark.parametrize("lost", ["all", "content", "manifest"])
def test_a_store_that_was_emptied_gets_the_file_again_before_it_goes(
    s3: ScriptedStore, lab: Lab, caplog: pytest.LogCaptureFixture, lost: str
) -> None:
    content = lab.seal(lab.delivered.archive, "d.1", days_old=9).read_bytes()
    lab.tidy(archive_url=URL)
    for key in {"all": [KEY, f"{KEY}.json"], "content": [KEY], "manifest": [f"{KEY}.json"]}[lost]:
        del s3.objects[key]
    assert lab.tidy(archive_url=URL, keep_days=1).expired == 1
    assert s3.objects[KEY] == content
    assert decode(s3.objects[f"{KEY}.json"], Path("d.1.json")).rows == 100
    if lost != "manifest":
        assert troubles(caplog)[0].startswith("copy.missing file=")


def test_a_copy_that_was_replaced_since_keeps_the_file_here(
    s3: ScriptedStore, lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    path = lab.seal(lab.delivered.archive, "d.1", days_old=9)
    lab.tidy(archive_url=URL)
    for other in (b"something else", s3.objects[KEY][::-1]):
        s3.objects[KEY] = other
        assert lab.janitor(archive_url=URL, keep_days=1).run() == Done()
        assert s3.objects[KEY] == other
        assert path.exists()
    assert "expected" in troubles(caplog)[0]


def test_where_the_archive_url_was_changed_a_file_goes_up_to_the_new_store_before_it_goes(
    s3: ScriptedStore, lab: Lab
) -> None:
    lab.seal(lab.delivered.archive, "d.1", days_old=9)
    lab.seal(lab.delivered.archive, "d.2", days_old=0)
    assert lab.tidy(archive_url=URL).uploaded == 2
    assert lab.tidy(archive_url=f"{URL}/new") == Done()  # what stands here stands in two places anyway
    assert lab.tidy(archive_url=f"{URL}/new", keep_days=1) == Done(expired=1)
    assert {key for key in s3.objects if "/new/" in key} == {"mail/new/delivered/d.1", "mail/new/delivered/d.1.json"}


def test_a_copy_is_looked_for_where_it_was_made_though_the_location_is_another_now(s3: ScriptedStore, lab: Lab) -> None:
    lab.seal(lab.delivered.archive, "d.1", days_old=9)
    lab.tidy(archive_url=URL)
    s3.objects["mail/elsewhere/d.1"] = s3.objects.pop(KEY)
    s3.objects["mail/elsewhere/d.1.json"] = s3.objects.pop(f"{KEY}.json")
    path = manifest_path(lab.delivered.archive / "d.1")
    path.chmod(0o640)
    path.write_bytes(path.read_bytes().replace(b"/delivered/d.1", b"/elsewhere/d.1"))
    path.chmod(0o440)
    assert lab.tidy(archive_url=URL, keep_days=1).expired == 1
    assert set(s3.objects) == {"mail/elsewhere/d.1", "mail/elsewhere/d.1.json"}


def test_a_store_that_serves_the_directory_itself_gives_no_copy(
    s3: ScriptedStore, lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    """As a gateway does, or a share: what it answers for is the file, by another name."""

    def script(request: Request) -> Answer | None:
        s3.objects = {
            f"mail/{path.relative_to(lab.path)}": path.read_bytes() for path in lab.path.rglob("d.*") if path.is_file()
        }
        return None

    path = lab.seal(lab.delivered.open, "d.1", days_old=9)
    content = path.read_bytes()
    s3.script = script
    janitor = lab.janitor(archiving=False, archive_url=URL, keep_days=0)
    for _ in range(3):
        assert janitor.run().expired == 0
        lab.pass_time(hours=2)
    assert path.read_bytes() == content
    assert [line for line in troubles(caplog) if "gone once the file is away" in line or "not this file's" in line]


def test_a_death_while_a_file_is_away_from_its_name_gives_it_back(
    s3: ScriptedStore, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Died(BaseException):
        pass

    def die(*_: object) -> None:
        raise Died

    lab.seal(lab.delivered.archive, "d.1", days_old=9)
    lab.tidy(archive_url=URL)
    before = lab.standing()
    with monkeypatch.context() as patch:
        patch.setattr(Copies, "require_without", die)
        with pytest.raises(Died):
            lab.tidy(archive_url=URL, keep_days=1)
    assert list(lab.path.rglob(".expiring.d.1"))
    assert lab.tidy(archive_url=URL) == Done()
    assert lab.standing() == before
    assert lab.tidy(archive_url=URL, keep_days=1) == Done(expired=1)


def test_a_file_stays_whose_copy_another_directory_has_replaced_by_its_own(
    s3: ScriptedStore, lab: Lab, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In a store that knows no conditions, and said to both that nothing is there."""
    mine = lab.seal(lab.delivered.archive, "d.1", days_old=9)
    other = Lab(tmp_path / "other")
    its = other.seal(other.delivered.archive, "d.1", rows=7)
    s3.script = refusing_conditions(501, "NotImplemented")
    assert lab.tidy(archive_url=URL) == Done(uploaded=1)
    s3.objects[KEY] = its.read_bytes()
    assert lab.janitor(archive_url=URL, keep_days=1).run() == Done()
    assert mine.exists()
    assert "expected" in troubles(caplog)[0]


def test_a_manifest_that_another_version_wrote_beside_the_copy_will_do(s3: ScriptedStore, lab: Lab) -> None:
    path = lab.seal(lab.delivered.archive, "d.1")
    s3.objects[f"{KEY}.json"] = manifest_path(path).read_bytes().replace(b'"version": "0"', b'"version": "0.1"')
    assert lab.tidy(archive_url=URL) == Done(uploaded=1)


def test_a_slow_store_is_waited_for(s3: ScriptedStore, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.seal(lab.delivered.archive, "d.1", days_old=9)

    def script(request: Request) -> None:
        time.sleep(0.3)

    s3.script = script
    assert lab.tidy(archive_url=URL, keep_days=1) == Done(uploaded=1, expired=1)
