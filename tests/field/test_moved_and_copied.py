"""A1 and A2: a directory that was moved goes on with its rows, and one that was copied harms nobody."""

import os
import shutil
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.field import copying
from tests.field.copying import Copy
from tests.field.site import Site, content, is_long, long, open_files
from tests.support.files import rows_of
from worker.errors import ExitCode

REFUSED = ExitCode.DIRECTORY_REFUSED
SHORT = {"tar", "rsync", "without-dot-files"}

any_copy = pytest.mark.parametrize(
    "copy", [pytest.param(copy, id=name) for name, copy in copying.ALL.items() if is_long() or name in SHORT]
)


def move(copy: Copy, path: Path, target: Path | None = None) -> None:
    """Copy a directory, remove it, and put the copy in its place or elsewhere."""
    aside = path.with_name("restored")
    copy(path, aside)
    shutil.rmtree(path)
    aside.rename(target or path)


# A1: 10 rows, SIGKILL, tar the directory, remove it, unpack it, start


@any_copy
def test_a_directory_that_was_unpacked_in_its_place_after_a_kill_keeps_its_committed_rows(
    site: Site, copy: Copy
) -> None:
    worker = site.started()
    site.write(10)
    worker.kill()
    move(copy, site.path)
    worker.start()
    assert site.recovered_rows() == 0
    site.write(10)
    site.check(worker)
    assert site.run("audit").returncode == 0
    assert site.run("verify", str(site.path)).returncode == 0


def test_a_directory_that_was_moved_elsewhere_goes_on_there(site: Site) -> None:
    worker = site.started()
    site.write(10)
    worker.kill()
    elsewhere = site.base / "another disk"
    move(copying.rsync, site.path, elsewhere)
    moved = site.started(path=elsewhere)
    site.write(5, paths=[elsewhere])
    site.check(moved, paths=[elsewhere])
    assert site.run("audit", path=elsewhere).returncode == 0


def test_a_directory_that_another_worker_starts_in_after_the_move_keeps_its_rows(site: Site) -> None:
    """The files are orphans of a consumer that does not come back; their inodes are others."""
    worker = site.started()
    site.write(10)
    worker.kill()
    move(copying.tar, site.path)
    other = site.started("worker-2")
    site.told(other, "file.orphan")
    site.write(5)
    site.check(other)
    assert site.recovered_rows() == 0


def test_a_move_while_rows_are_appended_and_not_committed_costs_none_and_doubles_none(site: Site) -> None:
    worker = site.started()
    site.write(9)
    os.kill(worker.process.pid, signal.SIGSTOP)
    site.publisher.publish_some(30)
    os.kill(worker.process.pid, signal.SIGCONT)
    site.wait(lambda: sum(site.rows().values()) > 9, "the first of these rows")  # committed, or on their way
    worker.kill()
    move(copying.cp, site.path)
    worker.start()
    site.check(worker)


def test_a_restore_of_an_hour_ago_says_which_rows_are_not_in_it(site: Site) -> None:
    """The files are shorter than their record: what stands in them counts, and what is missing is noted."""
    worker = site.started()
    site.write(12)
    worker.kill()
    copying.cp(site.path, site.base / "backup")
    before = site.expected()
    worker.start()
    site.write(9)
    worker.kill()
    shutil.rmtree(site.path)
    (site.base / "backup").rename(site.path)
    code, said = site.refused(worker)
    assert (code, site.recovered_rows()) == (REFUSED, 0), said  # another copy went on since
    assert "directory adopt" in said
    site.wait(lambda: site.run("directory", "adopt", "--redis", site.url).returncode == 0, "the adoption")
    worker.start()
    site.publisher.publish_some(6)
    lost = 9
    site.wait(lambda: sum(site.rows().values()) == sum(site.expected().values()) - lost, "the rows of later")
    site.stop(worker)
    assert not before - site.rows()
    assert max(site.rows().values()) == 1
    assert site.notes("*.json")
    assert site.run("audit").returncode == 1


def test_a_move_and_an_emptied_server_at_once_cost_no_row(site: Site) -> None:
    worker = site.started()
    site.write(10)
    worker.kill()
    move(copying.tar, site.path)
    site.client.flushall()
    worker.start()
    assert site.recovered_rows() == 0
    site.publisher.catch_up()
    site.publisher.publish_some(10)
    site.check(worker)


# A2: worker-1 runs; rsync -a of its directory to another place, a second worker-1 started there


def copy_of(site: Site, copy: Copy = copying.rsync) -> Path:
    """Return a copy of the directory, made while its worker is at work."""
    there = site.base / "second host"
    copy(site.path, there)
    return there


@pytest.mark.parametrize("name", ["worker-1", pytest.param("worker-2", marks=long)])
def test_a_copy_that_is_started_beside_its_original_is_refused_and_the_original_goes_on(site: Site, name: str) -> None:
    worker = site.started()
    site.write(30)
    there = copy_of(site)
    before = content(there)
    second = site.worker(name, there)
    second.start(ready=False)
    site.write(40)
    assert second.process.wait(120) in {REFUSED, ExitCode.NAME_TAKEN, ExitCode.LOCKED}, second.log()
    assert content(there) == before
    site.write(5)
    site.check(worker)
    assert worker.log().count("worker.recovering") == 0


def test_a_copy_by_hard_links_that_another_worker_starts_in_is_refused_though_it_has_the_very_locks(site: Site) -> None:
    worker = site.started()
    site.write(30)
    there = copy_of(site, copying.hard_links)
    names = set(content(there))
    second = site.worker("worker-2", there)
    second.start(ready=False)
    site.write(40)
    assert second.process.wait(120) == REFUSED, second.log()
    assert set(content(there)) - names <= {Path(".worker-2.lock")}
    site.write(5)
    site.check(worker)
    assert worker.log().count("worker.recovering") == 0


@long
def test_a_copy_that_is_started_again_and_again_does_not_disturb_the_original(site: Site) -> None:
    worker = site.started()
    site.write(9)
    there = copy_of(site)
    second = site.worker(path=there)
    for _ in range(4):
        second.start(ready=False)
        site.write(9)
        second.kill()
    site.check(worker)
    assert worker.log().count("worker.recovering") == 0


@pytest.mark.parametrize("copy", [pytest.param(copying.cp, id="cp-a"), pytest.param(copying.hard_links, marks=long)])
def test_a_copy_that_goes_on_while_the_original_stalls_leaves_each_row_in_one_of_them(site: Site, copy: Copy) -> None:
    worker = site.started()
    site.write(12)
    there = copy_of(site, copy)
    os.kill(worker.process.pid, signal.SIGSTOP)
    second = site.worker(path=there)
    second.start(ready=False)
    site.wait(lambda: "worker.ready" in second.log() or not second.is_alive(), "the end of the lease")
    site.publisher.publish_some(9)
    os.kill(worker.process.pid, signal.SIGCONT)
    if second.is_alive():
        assert worker.process.wait(90) in {REFUSED, ExitCode.NAME_TAKEN}, worker.log()
    goes_on, path = (second, there) if second.is_alive() else (worker, site.path)
    site.check(goes_on, paths=[path])
    assert not site.rows(site.path) - site.expected()


def test_a_copy_that_a_cleanly_stopped_original_was_replaced_by_goes_on_and_the_original_is_refused(site: Site) -> None:
    worker = site.started()
    site.write(12)
    site.stop(worker)
    there = copy_of(site)
    second = site.started(path=there)
    site.write(6, paths=[there])
    before = content(site.path)
    code, said = site.refused(worker)
    assert code == REFUSED, said
    assert str(there) in said
    assert content(site.path) == before
    site.check(second, paths=[there])


def test_the_same_directory_by_a_link_is_no_copy(site: Site) -> None:
    worker = site.started()
    site.write(6)
    link = site.base / "link"
    link.symlink_to(site.path)
    code, said = site.refused(site.worker(path=link))
    assert code == ExitCode.LOCKED, said
    second = site.started("worker-2", link)
    site.write(30)
    site.check(worker, second)


@long
def test_a_copy_of_a_directory_of_two_workers_is_refused_to_both(site: Site) -> None:
    workers = [site.started(), site.started("worker-2")]
    site.write(30)
    there = copy_of(site)
    before = content(there)
    seconds = [site.worker(name, there) for name in ("worker-1", "worker-2")]
    for each in seconds:
        each.start(ready=False)
    site.write(30)
    codes = {each.process.wait(120) for each in seconds}
    assert codes <= {REFUSED, ExitCode.NAME_TAKEN, ExitCode.LOCKED}, [each.log() for each in seconds]
    assert content(there) == before
    site.check(*workers)


# A4: the directory is gone


@pytest.mark.parametrize("how", ["removed", "emptied", pytest.param("another directory", marks=long)])
def test_a_directory_that_is_gone_is_refused_and_nothing_is_made_in_its_place(site: Site, how: str) -> None:
    """50 + 50 rows, worker stopped, `rm -rf` of the directory (or its volume not mounted), start."""
    worker = site.started()
    site.write(50)
    site.stop(worker)
    worker.start()
    site.write(50)
    site.stop(worker)
    site.path.rename(site.base / "aside")
    if how != "removed":
        site.path.mkdir()
    if how == "another directory":
        (site.path / "lost+found").mkdir()
    code, said = site.refused(worker)
    assert code == REFUSED, said
    assert str(site.path) in said
    assert not site.path.exists() or {each.name for each in site.path.iterdir()} <= {"lost+found"}
    shutil.rmtree(site.path, ignore_errors=True)
    (site.base / "aside").rename(site.path)
    worker.start()
    site.write(3)
    site.check(worker)


@pytest.mark.parametrize(
    "what", ["delivered", pytest.param("delivered/archive", marks=long), "journal", pytest.param("series", marks=long)]
)
def test_a_part_of_the_directory_that_is_gone_is_told_and_what_is_left_goes_on(site: Site, what: str) -> None:
    worker = site.started()
    site.write(9)
    site.stop(worker)
    worker.start()
    site.write(9)
    worker.kill()
    gone = site.rows(site.path / "nothing") if what in {"journal", "series"} else _rows_below(site, what)
    shutil.rmtree(site.path / what)
    worker.start()
    site.publisher.publish_some(9)
    wanted = site.expected() - gone
    site.wait(lambda: not wanted - site.rows() and not site.left(), "what is left, and what is new")
    site.stop(worker)
    assert site.rows() == wanted
    if gone:
        assert site.run("audit").returncode == 1


def _rows_below(site: Site, what: str) -> Counter[str]:
    files = [each for each in (site.path / what).rglob("d.*") if each.suffix != ".json"]
    assert files or open_files(site.path)
    return Counter(row["rcpt"] for each in files for row in rows_of(each))
