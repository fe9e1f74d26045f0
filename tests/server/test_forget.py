"""`forget` beside a real worker and server: what it finds, what it takes out, and what all else makes of that."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

import pytest

from schemas.events import TYPES
from tests.support.forgetting import ANN, NOBODY, OTHERS, Site, counts, holds_ann
from tests.support.sealed import compress
from tests.support.servers import RealValkey, wait_until
from tests.support.workers import PARTITION
from worker.archive import READ_ONLY
from worker.commands.options import load_settings, server_of
from worker.erasure.matching import MARK, canonical, digest
from worker.errors import ExitCode
from worker.forgetting.run import Forgetting
from worker.forgetting.target import Target
from worker.identity import known_id
from worker.janitor.lock import janitor_lock
from worker.manifest import manifest_path


@pytest.fixture
def site(valkey: RealValkey, tmp_path: Path) -> Site:
    """Return a directory with sealed files, out of which the address was taken."""
    made = Site(valkey, tmp_path)
    made.publish_all()
    made.write()
    made.remove()
    return made


@pytest.mark.parametrize("layout", ["tsv", "csv", "jsonl", "original"])
def test_an_address_is_taken_out_of_sealed_files_of_every_form_and_all_else_goes_on(
    valkey: RealValkey, tmp_path: Path, layout: str
) -> None:
    site = Site(valkey, tmp_path, layout)
    rows = site.publish_all()
    site.write()
    for number, file in enumerate(site.sealed()):
        if ending := ("", ".zst", ".gz")[number % 3]:
            compress(file, ending)
            file.with_name(file.name + ending).chmod(READ_ONLY)
    found = site.forget()
    assert counts(found["sealed file"]) == rows
    assert {each["state"] for each in found["sealed file"]} == {"found"}
    assert counts(found["stream"]) == rows
    done = site.remove()
    assert {each["state"] for each in done["sealed file"]} == {"removed"}
    assert "sealed file" not in site.forget()
    assert (site.found(ANN), site.found(MARK)) == (0, 3)
    assert [site.found(other) for other in OTHERS] == [3, 3]
    assert site.verify() == 0
    told = json.loads(site.command("audit", "--deep", "--json").stdout)
    assert (told["findings"], [each["forgotten"] for each in told["types"]]) == ([], [3, 3, 3])


def test_manifest_and_note_tell_who_why_and_how_much_and_prove_the_address_without_naming_it(site: Site) -> None:
    [path] = site.notes()
    note = json.loads(path.read_bytes())
    assert note["reason"] == "request 17"
    assert "@" in note["by"]
    assert note["finished_ms"] >= note["at_ms"]
    assert note["digest"] == digest(note["salt"], canonical("ANN@example.org"))
    assert b"ann@" not in path.read_bytes().lower()
    files = {each["where"]: each["count"] for each in note["places"] if each["kind"] == "sealed file"}
    assert sum(files.values()) == 9
    told = [json.loads(file.read_bytes()) for file in site.files.rglob("d*/archive/*.json")]
    entries = [each["forgotten"][0] for each in told if "forgotten" in each]
    assert {(each["reason"], each["note"], each["digest"]) for each in entries} == {
        ("request 17", path.name, note["digest"])
    }
    assert path.stat().st_mode & 0o007 == 0


def test_a_silent_edit_is_still_found_and_so_is_a_manifest_that_nobody_noted(site: Site, tmp_path: Path) -> None:
    file = next(each for each in site.files.rglob("*.forgotten-1") if b"\tjoann@example.org" in each.read_bytes())
    file.chmod(0o640)
    content = file.read_bytes()
    file.write_bytes(content.replace(b"\tjoann@example.org", b"\tforgotten"))
    told = site.command("audit", "--deep").stdout
    assert "row altered" in told
    assert site.verify() == ExitCode.FAILED
    file.write_bytes(content)
    for note in site.notes():
        note.rename(tmp_path / note.name)
    done = site.command("audit")
    assert done.exit_code == ExitCode.FAILED
    assert "no note" in done.stdout


def test_a_deep_audit_knows_the_rows_in_several_layouts_of_several_addresses_and_without_their_events(
    site: Site,
) -> None:
    site.ini.write_text(site.ini.read_text().replace("format=tsv", "format=csv").replace(",jobId,", ",jobId,node,"))
    site.publish_all()
    site.write()
    site.remove()
    done = site.command("forget", "bob@example.org", "--remove", "--reason", "request 18")
    assert done.exit_code == ExitCode.FAILED
    assert (site.found(ANN), site.found("bob@example.org"), site.found(MARK)) == (0, 0, 18)
    told = json.loads(site.command("audit", "--deep", "--json").stdout)
    assert (told["findings"], [each["missing"] for each in told["types"]]) == ([], [0, 0, 0])
    assert {each["forgotten"] for each in told["types"]} == {10}
    for name in TYPES:  # the older half of the events goes
        site.client.xtrim(f"{{{PARTITION}}}:{name}", maxlen=9, approximate=False)
    told = json.loads(site.command("audit", "--deep", "--json").stdout)
    assert [each for each in told["findings"] if each["kind"].startswith(("row", "file"))] == []


def test_what_cannot_be_changed_is_told_with_what_to_do(valkey: RealValkey, tmp_path: Path) -> None:
    site = Site(valkey, tmp_path)
    site.ini.write_text(f"path={site.files}\narchiving=true\n")
    worker = site.worker()
    for event_type in TYPES:
        site.publish(event_type, ANN)
    wait_until(site.is_drained, "the row is committed")
    site.client.xadd(f"{{{PARTITION}}}:bounce", {"events": b'[{"rcpts":["ann@example.org"]}]', "n": "1", "at": "1"})
    wait_until(lambda: "dead letters" in site.forget(), "the bad event is a dead letter")
    found = site.remove()
    [letter] = found["dead letters"]
    assert {(each["state"], each["count"]) for each in found["open file"]} == {("left", 1)}
    assert "rotate" in found["open file"][0]["text"]
    assert f"dead drop {letter['ids'][0]}" in letter["text"]
    assert "retention" in found["stream"][0]["text"]
    assert {each["where"] for each in found["elsewhere"]} == {"the nodes", "the server's disk", "exports"}
    assert site.command("rotate", "--all").exit_code == 0
    assert site.command("dead", "drop", "--yes", letter["ids"][0]).exit_code == 0
    wait_until(lambda: "open file" not in site.forget(), "the files are sealed")
    found = site.remove()
    assert [each["state"] for each in found["sealed file"]] == ["removed"] * 3
    assert "dead letters" not in found
    worker.stop()
    site.client.delete(*(f"{{{PARTITION}}}:{name}" for name in TYPES))
    site.forget(code=ExitCode.OK)


def test_what_is_kept_aside_is_rewritten_and_an_acceptance_goes_on_to_hold(valkey: RealValkey, tmp_path: Path) -> None:
    site = Site(valkey, tmp_path)
    site.publish_all()
    site.write()
    file = next(each for each in site.sealed() if b"Ann@Example.org" in each.read_bytes())
    manifest_path(file).unlink()
    file.unlink()
    for folder in ("recovered", "lost"):
        (site.files / folder).mkdir(exist_ok=True)
        (site.files / folder / "by-hand.txt").write_bytes(b"1\tann@example.org\tx\n2\tjoann@example.org\n")
    assert site.command("audit", "--deep", "--accept", "known").exit_code == 0
    accepted = next((site.files / "accepted").glob("*.json"))
    assert b"Ann@Example.org" in accepted.read_bytes()
    done = site.remove()
    assert {each["state"] for each in done["set aside"]} == {"removed"}
    assert not holds_ann(b"".join(site.plain()))
    assert (site.files / "lost" / "by-hand.txt").read_bytes() == b"1\tforgotten\tx\n2\tjoann@example.org\n"
    assert site.audit_is_clean("--deep")
    assert site.verify() == 0  # what is noted beside the files is no manifest


def test_copies_in_object_storage_are_named_and_new_ones_made(valkey: RealValkey, tmp_path: Path) -> None:
    site = Site(valkey, tmp_path)
    store = tmp_path / "store"
    site.ini.write_text(site.ini.read_text().replace("[fields]", f"archive_url=file://{store}\n[fields]"))
    site.publish_all()
    site.write()
    assert site.tidy()
    done = site.remove()
    urls = {each["where"] for each in done["copy in object storage"]}
    assert urls
    assert all(Path(url.removeprefix("file://")).is_file() for url in urls)
    assert site.tidy()
    again = site.forget()["copy in object storage"]
    assert {each["where"] for each in again} == urls
    assert {each["state"] for each in again} == {"told"}
    for url in urls:
        Path(url.removeprefix("file://")).unlink()
    held = b"".join(file.read_bytes() for file in store.rglob("*") if file.is_file())
    assert not holds_ann(held)
    site.ini.write_text(site.ini.read_text().replace("[fields]", "keep_days=0\n[fields]"))
    assert site.tidy()
    assert not site.sealed()
    assert site.audit_is_clean("--deep")


def test_a_janitor_at_work_is_waited_for_and_told(valkey: RealValkey, tmp_path: Path) -> None:
    site = Site(valkey, tmp_path)
    site.worker().stop()
    with ThreadPoolExecutor(1) as other, janitor_lock(site.files):
        waiting = other.submit(forgetting(site).remove, "request 17", (told := Queue[str]()).put)
        assert "at work on the sealed files" in told.get(timeout=30)
        assert not waiting.done()
    assert not waiting.result().is_left


def forgetting(site: Site) -> Forgetting:
    configured = load_settings(site.ini, site.url, None).settings
    directory_id = known_id(site.files)
    assert directory_id
    return Forgetting(Target(ANN), configured, directory_id, server_of(configured).connect)


def test_what_is_asked_wrongly_is_a_usage_error(valkey: RealValkey, tmp_path: Path) -> None:
    site = Site(valkey, tmp_path)
    site.worker().stop()
    for arguments, message in (
        (("ann",), "is no address"),
        ((ANN, "--remove"), "expected --reason"),
        ((ANN, "--remove", "--reason", " "), "expected --reason"),
        ((ANN, "--reason", "x"), "goes with --remove"),
    ):
        done = site.command("forget", *arguments)
        assert (done.exit_code, message in done.stderr) == (2, True), done.stderr
    site.forget(code=ExitCode.OK)
    done = site.command("forget", ANN, url=NOBODY)
    assert done.exit_code == ExitCode.UNAVAILABLE
    assert "not looked at" in done.stderr
