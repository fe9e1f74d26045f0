"""Ways in which people copy, move and restore a directory."""

import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

#: Copies what stands at the first path to the second one, which is not there yet.
Copy = Callable[[Path, Path], object]


def tar(source: Path, target: Path) -> None:
    """Pack and unpack, as a backup does."""
    archive = target.with_name(f"{target.name}.tar")
    with tarfile.open(archive, "w") as packed:
        packed.add(source, arcname=".")
    target.mkdir()
    with tarfile.open(archive) as packed:
        packed.extractall(target, filter="fully_trusted")  # noqa: S202 - our own
    archive.unlink()


def tar_command(source: Path, target: Path) -> None:
    """`tar` itself, sparse and with a pipe."""
    target.mkdir()
    subprocess.run(f"tar -C {source} -cSf - . | tar -C {target} -xf -", shell=True, check=True)  # noqa: S602


def cp(source: Path, target: Path) -> None:
    """`cp -a`."""
    subprocess.run(["cp", "-a", source, target], check=True)


def cp_r(source: Path, target: Path) -> None:
    """`cp -r`: other times, and modes by the umask."""
    subprocess.run(["cp", "-r", source, target], check=True)


def rsync(source: Path, target: Path) -> None:
    """`rsync -a`, or where that is not installed, what it does: a new file under another name, then a rename."""
    if shutil.which("rsync"):
        subprocess.run(["rsync", "-a", f"{source}/", f"{target}/"], check=True)
        return
    for each in sorted(source.rglob("*")):
        there = target / each.relative_to(source)
        if each.is_dir():
            there.mkdir(parents=True, exist_ok=True)
            continue
        there.parent.mkdir(parents=True, exist_ok=True)
        temporary = there.with_name(f".{there.name}.XXXXXX")
        shutil.copy2(each, temporary)
        temporary.replace(there)


def without_dot_files(source: Path, target: Path) -> None:
    """`cp -a files/* target/`: the shell leaves out what begins with a dot at the top."""
    target.mkdir()
    for each in source.glob("[!.]*"):
        subprocess.run(["cp", "-a", each, target], check=True)


def without_any_dot_files(source: Path, target: Path) -> None:
    """Leave out hidden files everywhere, as some backups do: locks, and the books of names."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(".*"))


def as_another_user(source: Path, target: Path) -> None:
    """Give everything to somebody else, as some restores do, read-only files included."""
    shutil.copytree(source, target)
    if os.getuid() == 0:
        subprocess.run(["chown", "-R", "12345:12345", target], check=True)


def hard_links(source: Path, target: Path) -> None:
    """`cp -al`, as snapshots of rsync and rsnapshot are made: the same inodes under another path."""
    subprocess.run(["cp", "-al", source, target], check=True)


ALL: dict[str, Copy] = {
    "tar": tar, "tar-command": tar_command, "cp-a": cp, "cp-r": cp_r, "rsync": rsync,
    "as-another-user": as_another_user,
    "without-dot-files": without_dot_files, "without-any-dot-files": without_any_dot_files,
}  # fmt: skip
