"""`haraka-accounting verify`: sealed files compared with their manifests, without a server or a configuration."""

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import click

from worker.commands import terminal
from worker.commands.options import json_option
from worker.commands.progress import Tell, progress
from worker.errors import ExitCode
from worker.reading.targets import Target, content_bytes, targets
from worker.reading.verify import Finding, State, verify

_MOST_THREADS = 4  # hashing lets others run; more would only wait for the disk


@click.command(name="verify")
@click.argument("files", nargs=-1, required=True, metavar="FILE…", type=click.Path(path_type=Path))
@json_option
def verify_command(files: Sequence[Path], *, as_json: bool) -> None:
    """Compare sealed files with their manifests: bytes, SHA-256, rows, header, and those of the compressed form.

    FILE is a data file, its compressed form, a manifest, or a directory: then every sealed file below it. Needs neither
    server nor configuration, and changes nothing. With --json, one object a line. Exit code 1: something differs or
    cannot be read, or a file that was named is not sealed; everything else is looked at all the same.
    """
    found = list(dict.fromkeys(target for path in files for target in targets(path)))
    with progress("verifying", "files", sum(map(content_bytes, found))) as tell:
        findings = list(_findings(found, tell))
    for finding in findings:
        if as_json:
            terminal.tell_json(finding)
        else:
            _tell(finding)
    if not as_json:
        counts = Counter(finding.state for finding in findings)
        terminal.tell(
            ", ".join(f"{counts[state]} {state}" for state in State if counts[state]) or "no accounting files"
        )
    if any(_is_wrong(target, finding) for target, finding in zip(found, findings, strict=True)):
        sys.exit(ExitCode.FAILED)


def _is_wrong(target: Target, finding: Finding) -> bool:
    """Tell whether a finding is an error: that a file of a directory is not sealed yet is none."""
    is_asked_for = finding.state is State.NOT_SEALED and target.given is not None
    return finding.state in {State.DIFFERS, State.UNREADABLE} or is_asked_for


def _findings(found: Sequence[Target], tell: Tell) -> Iterator[Finding]:
    """Verify several files at a time; yields what came of each, in their order."""
    done, files, lock = 0, 0, Lock()

    def read(count: int) -> None:
        nonlocal done
        with lock:
            done += count
            tell(done, files)

    threads = ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1))
    try:
        for finding in threads.map(lambda target: verify(target, read), found):
            files += 1
            yield finding
    finally:
        threads.shutdown(cancel_futures=True)


def _tell(finding: Finding) -> None:
    facts = f" ({finding.rows} rows, {finding.bytes} bytes)" if finding.state is State.OK else ""
    terminal.tell(f"{finding.path}: {finding.state}{facts}")
    for difference in finding.differences:
        terminal.tell(f"  {difference}")
