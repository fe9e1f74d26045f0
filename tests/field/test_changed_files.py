"""B: an open file that something else changes is told at once, its committed rows are kept, and a new file is begun."""

import json
import os
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.field.site import Site, data_files, is_long, open_files
from tests.support.files import rows_of
from tests.support.servers import WorkerProcess
from worker.manifest import decode, manifest_path

TOLD = ("file.short", "file.cut", "file.swapped", "file.altered", "file.missing", "changed while it was open")
Change = Callable[[Path], None]


# B1: `logrotate -f` with copytruncate over <path>/delivered/*.tsv after 20 rows, 20 rows more, `rotate`


def copytruncate(file: Path) -> None:
    """Run logrotate with copytruncate over the directory of a file; without logrotate, what it does."""
    command = shutil.which("logrotate") or shutil.which("logrotate", path="/usr/sbin")
    if command is None:
        shutil.copy2(file, file.with_name(f"{file.name}.1"))
        os.truncate(file, 0)
        return
    configuration = file.with_name("logrotate.conf")
    configuration.write_text(f'"{file.parent}/*.tsv" {{\n copytruncate\n rotate 5\n su root root\n}}\n')
    configuration.chmod(0o600)
    state = file.with_name("logrotate.state")
    subprocess.run([command, "-f", "-s", state, configuration], check=True, capture_output=True)


def emptied(file: Path) -> None:
    """`> file`."""
    os.truncate(file, 0)


def cut_in_a_row(file: Path) -> None:
    """`truncate -s`, in the middle of a row."""
    os.truncate(file, file.stat().st_size - 30)


def grown(file: Path) -> None:
    """`echo >> file`."""
    with file.open("a") as appended:
        appended.write("somebody was here\n")


def grown_by_a_row(file: Path) -> None:
    """Append a row of the file once more, as a repair script might."""
    last = file.read_text().splitlines(keepends=True)[-1]
    with file.open("a") as appended:
        appended.write(last)


def edited(file: Path) -> None:
    """`sed -i`: another file under the same name."""
    fresh = file.with_name("sedXXXXXX")
    fresh.write_bytes(file.read_bytes().replace(b"example.com", b"example.net"))
    fresh.replace(file)


def edited_in_place(file: Path) -> None:
    """Write into the file as an editor can: the same size, other bytes."""
    with file.open("r+b") as opened:
        content = opened.read()
        opened.seek(content.rindex(b"example.com"))
        opened.write(b"EXAMPLE")


def replaced_in_place(file: Path) -> None:
    """`cp other file`: the same inode, another content, longer."""
    file.write_bytes(b"x" * (file.stat().st_size + 100) + b"\n")


def moved_away(file: Path) -> None:
    """`mv file file.1`, as logrotate does without copytruncate."""
    file.rename(file.with_name(f"{file.name}.1"))


def removed(file: Path) -> None:
    """`rm`."""
    file.unlink()


#: How a file is changed, and whether its rows are gone with that.
CHANGES: dict[str, tuple[Change, bool]] = {
    "copytruncate": (copytruncate, True), "emptied": (emptied, True), "cut-in-a-row": (cut_in_a_row, True),
    "grown": (grown, False), "grown-by-a-row": (grown_by_a_row, False), "edited": (edited, False),

    "moved-away": (moved_away, False), "removed": (removed, False),
}  # fmt: skip
#: What the worker does meanwhile.
QUIET, STALLED, KILLED, STOPPED = "quiet", "stalled", "killed", "stopped"
SHORT = {
    ("copytruncate", QUIET), ("grown", QUIET), ("grown-by-a-row", KILLED), ("cut-in-a-row", KILLED),
    ("edited", STALLED), ("removed", KILLED), ("emptied", STALLED),
}  # fmt: skip
CASES = [
    pytest.param(*change, moment, id=f"{name}-{moment}")
    for name, change in CHANGES.items()
    for moment in (QUIET, STALLED, KILLED)
    if is_long() or (name, moment) in SHORT
]


def change_while(worker: WorkerProcess, moment: str, change: Change, file: Path) -> None:
    """Change a file while the worker has nothing to do, stands still, or is dead."""
    if moment == STALLED:
        os.kill(worker.process.pid, signal.SIGSTOP)
    elif moment == KILLED:
        worker.kill()
    change(file)
    if moment == STALLED:
        os.kill(worker.process.pid, signal.SIGCONT)
    elif moment == KILLED:
        worker.start()


def the_open(site: Site) -> Path:
    """Return the open file of deliveries."""
    [file] = [each for each in open_files(site.path) if each.name.startswith("d.")]
    return file


@pytest.mark.parametrize(("change", "is_destroyed", "moment"), CASES)
def test_a_changed_file_is_told_and_what_comes_after_stands_whole_in_another(
    site: Site, change: Change, *, is_destroyed: bool, moment: str
) -> None:
    worker = site.started()
    site.write(20)
    before = Counter(row["rcpt"] for row in rows_of(the_open(site)))
    change_while(worker, moment, change, the_open(site))
    site.publisher.publish_some(20)
    after = site.expected() - before
    site.wait(lambda: not site.left() and not after - sealed_or_open(site), "the rows of later")
    assert any(words in worker.log() for words in TOLD), worker.log()
    assert site.run("rotate", "--all").returncode == 0
    site.stop(worker)
    site.check_files()
    assert all(b"\0" not in each.read_bytes() for each in data_files(site.path))
    found = sealed_or_open(site)
    assert not after - found
    assert max(found.values()) == 1
    kept = found + kept_aside(site)
    is_gone = moment == KILLED and change in {edited, moved_away, removed}  # nobody has the file that was there
    if not is_destroyed and not is_gone:
        assert not before - kept
    else:
        noted = [json.loads(note.read_bytes()) for note in site.notes("*.json")]
        assert any(note.get("committed_rows") == before.total() for note in noted), noted


def sealed_or_open(site: Site) -> Counter[str]:
    """Return the recipients in all accounting files; what logrotate made of them does not count."""
    files = [each for each in data_files(site.path) if each.suffix == ".tsv"]
    return Counter(rcpt for each in files for rcpt in recipients_of(each))


def recipients_of(file: Path) -> list[str]:
    """Return the recipients of the rows of a file, whatever else stands in it."""
    cells = (line.split("\t") for line in file.read_text(errors="replace").splitlines()[1:])
    return [row[3] for row in cells if len(row) > 3]


def kept_aside(site: Site) -> Counter[str]:
    """Return the recipients that stand in `recovered/` and `lost/`."""
    files = [each for name in ("recovered", "lost") for each in (site.path / name).glob("*") if each.suffix != ".json"]
    return Counter(rcpt for each in files for rcpt in recipients_of(each))


@pytest.mark.parametrize("change", [grown, cut_in_a_row], ids=["grown", "cut"])
def test_a_file_that_is_changed_while_no_worker_is_there_is_told_when_another_worker_seals_it(
    site: Site, change: Change
) -> None:
    worker = site.started()
    site.write(20)
    worker.kill()
    change(the_open(site))
    other = site.started("worker-2")
    site.told(other, "file.orphan")
    site.write_more(12)
    assert any(words in other.log() for words in TOLD), other.log()
    site.stop(other)
    site.check_files()
    assert site.notes("*.json") or site.recovered_rows()


def test_a_file_that_is_changed_right_after_it_was_sealed_is_found_by_verify_and_left_as_it_is(site: Site) -> None:
    worker = site.started()
    site.write(20)
    site.stop(worker)
    [sealed, *_] = [each for each in data_files(site.path) if manifest_path(each).exists()]
    sealed.chmod(0o640)
    edited_in_place(sealed)
    content = sealed.read_bytes()
    worker.start()
    site.write_more(6)
    site.stop(worker)
    assert site.run("verify", str(site.path)).returncode == 1
    assert sealed.read_bytes() == content


@pytest.mark.parametrize("change", [edited_in_place, replaced_in_place] if is_long() else [edited_in_place])
@pytest.mark.parametrize("moment", [QUIET, KILLED, "another worker"])
def test_a_byte_that_was_changed_before_the_seal_is_seen_in_the_manifest(
    site: Site, moment: str, change: Change
) -> None:
    """The size is the same, so nothing tells it at once; the sum of what was committed does, later."""
    worker = site.started()
    site.write(20)
    file = the_open(site)
    if moment == "another worker":
        worker.kill()
        change(file)
        worker = site.started("worker-2")
    else:
        change_while(worker, moment, change, file)
    site.write_more(6)
    site.stop(worker)
    sealed = next(each for each in data_files(site.path) if each.name == file.name)
    manifest = decode(manifest_path(sealed).read_bytes(), manifest_path(sealed))
    assert manifest.bytes == sealed.stat().st_size
    verified = site.run("verify", str(site.path))
    assert verified.returncode == 1
    assert file.name in verified.stdout
    if moment != QUIET:
        assert "file.altered" in worker.log()
        assert site.notes("*.altered.json")
