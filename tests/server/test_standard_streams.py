"""Commands whose reader goes away, whose standard streams are closed or full, and terminals that want no colours."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.broken import ENDS, Lab, run_here
from tests.server.test_command_line import write_ini
from tests.support.servers import RealValkey, wait_until
from worker.errors import ExitCode

#: One of each command; those with a table and those with lines.
SOME = (
    "status", "status --json", "audit", "audit --deep", "find --domain example.com", "find --job-id JOB-1.1", "tail",
    "producers", "dead list", "dead show 5-0", "replay --from - --export -", "retire nobody", "verify {path}/files",
    "config check {path}/accounting_files.ini", "tidy", "tail --help", "--version",
)  # fmt: skip


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    path = tmp_path_factory.mktemp("streams")
    with RealValkey(path / "valkey") as server:
        made = Lab(server, path)
        made.restore()
        yield made


def line(lab: Lab, command: str) -> list[str]:
    """Return a command as a process is started with it."""
    words = command.format(path=lab.path).split()
    options = [] if words[0] in {"verify", "config", "--version"} else ["--config", str(lab.ini)]
    server = [] if words[0] in {"verify", "config", "tidy", "--version"} else ["--redis", lab.url]
    return [sys.executable, "-m", "worker", *words, *options, *server]


@pytest.mark.parametrize("command", SOME)
def test_a_command_whose_reader_is_gone_ends_like_any_other_by_its_signal(lab: Lab, command: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(line(lab, command), stdout=writing, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(writing)
    assert (done.returncode, b"Traceback" in done.stderr) == (-signal.SIGPIPE, False), done


def test_a_pipeline_with_head_tells_no_failure(lab: Lab) -> None:
    words = " ".join(line(lab, "find --domain example.com --json"))
    script = f"set -o pipefail; {words} | head -n 1 >/dev/null; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert int(done.stdout) in {0, 128 + signal.SIGPIPE}
    assert done.stderr == ""


@pytest.mark.parametrize("command", SOME)
def test_a_full_standard_output_is_told(lab: Lab, command: str) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(line(lab, command), stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == ExitCode.UNAVAILABLE, done
    assert b"No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_change_no_exit_code(lab: Lab, closed: str) -> None:
    for command in SOME:
        words = line(lab, command)
        wanted = run_here(words[3:]).code
        script = f"exec {' '.join(words)} {closed}"
        done = subprocess.run(["sh", "-c", script], capture_output=True, timeout=60, check=False)
        assert done.returncode == wanted, (command, done)
        assert b"Traceback" not in done.stderr, (command, done)


def test_a_worker_without_standard_streams_writes_nothing_into_its_files_but_rows(lab: Lab, tmp_path: Path) -> None:
    lab.client.flushall()  # no rows
    ini = write_ini(tmp_path)
    words = f"{sys.executable} -m worker -v work --config {ini} --redis {lab.url} --name closed"
    process = subprocess.Popen(["sh", "-c", f"exec {words} <&- >&- 2>&-"])
    held = Path(f"/proc/{process.pid}/fd")
    wait_until(lambda: len(list((tmp_path / "files").glob("*/*.tsv"))) == 3, "three files")
    assert {(held / str(number)).readlink() for number in range(3)} == {Path(os.devnull)}
    process.terminate()
    assert process.wait(60) == 0
    lab.restore()
    assert {file.read_bytes()[:14] for file in (tmp_path / "files").rglob("*.tsv")} <= {b"type\ttimeLogged"[:14]}


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_worker_whose_log_nobody_reads_works_on_and_stops_well(lab: Lab, tmp_path: Path, name: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    words = [*line(lab, "work"), "--name", f"unread-{name}", "--config", str(write_ini(tmp_path))]
    process = subprocess.Popen(words, stdout=writing, stderr=writing if name == "stderr" else subprocess.DEVNULL)
    os.close(writing)
    wait_until(lambda: len(list((tmp_path / "files").glob("*/*.tsv"))) == 3, "three files")
    process.terminate()
    assert process.wait(60) == 0


def on_terminal(words: list[str], **environ: str) -> tuple[int, str]:
    """Run a command on a terminal of its own; returns its exit code and all that it showed."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(environ)
        os.execv(words[0], words)  # noqa: S606 - in the child that has the terminal
    shown = b""
    while True:
        try:
            part = os.read(terminal, 1 << 16)
        except OSError:  # the terminal ends with the process
            break
        if not part:
            break
        shown += part
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), shown.decode()


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1", "TERM": "xterm-256color"}, {"TERM": "dumb"}], ids=str)
@pytest.mark.parametrize("command", SOME)
def test_a_terminal_that_wants_no_colours_gets_none(lab: Lab, command: str, environ: dict[str, str]) -> None:
    code, shown = on_terminal(line(lab, command), **environ)
    assert "\x1b" not in shown
    assert shown
    assert code in ENDS


def test_other_terminals_get_colours(lab: Lab) -> None:
    coloured = [
        command
        for command in ("audit", "tail", "find --job-id JOB-1.1", "status")
        if "\x1b[" in on_terminal(line(lab, command), TERM="xterm-256color", NO_COLOR="")[1]
    ]
    assert coloured == ["audit", "tail", "find --job-id JOB-1.1", "status"]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_a_terminal_cannot_show_is_escaped(lab: Lab, encoding: str) -> None:
    for command in SOME:
        environ = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
        done = subprocess.run(line(lab, command), env=environ, capture_output=True, timeout=60, check=False)
        assert b"Traceback" not in done.stderr, done
        assert done.returncode in ENDS, done
        if encoding != "ascii":  # click writes UTF-8 there
            done.stdout.decode(encoding)
