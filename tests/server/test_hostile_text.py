"""Text from outside on its way to people: commands and workers on a server, a directory and an ini that are hostile."""

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.server.broken import COMMANDS, ENDS, Lab
from tests.server.hostile import EVIL, LOG_LINE, NAME, poison_directory, poison_server, troubles
from tests.support.servers import RealValkey, WorkerProcess, wait_until

#: Runs commands, a list of words each, and says after each how it ended.
_RUN = """
import json, sys
from worker.commands import streams
from worker.cli import run
streams.prepare()
for words in json.loads(sys.argv[1]):
    sys.argv = ["haraka-accounting", *words]
    code = run()
    sys.stdout.flush()
    sys.stderr.flush()
    print(f"END {code}", flush=True)
"""
#: Options that people type; what they typed comes back in messages.
_TYPED = (
    ["find", "--where", f"{EVIL}=x"], ["find", "--type", EVIL], ["retire", EVIL], ["status", "--redis", EVIL],
    ["dead", "show", EVIL], ["find", "--rcpt", "x", "--from", EVIL], ["rotate", "--name", NAME], [EVIL],
    ["replay", "--from", "-", "--into", f"/dev/null/{NAME}"], ["verify", NAME], ["status", "--config", NAME],
)  # fmt: skip
_INI = (
    f"{EVIL}=1", f"path={EVIL}", f"[{EVIL}]", f"timezone={EVIL}", f"format={EVIL}", f"filename={EVIL}", EVIL,
    f"[fields]\nbounce={EVIL}", f"[redis]\nurl={EVIL}", f"[redis]\npassword_file={EVIL}", f"archive_url={EVIL}",
    f"[redis]\nurl=redis://{EVIL}@x", f"[worker]\nname={EVIL}", f"archive_cron={EVIL}", "x" * 100_000 + "=1",
)  # fmt: skip


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    path = tmp_path_factory.mktemp("hostile")
    with RealValkey(path / "valkey") as server:
        made = Lab(server, path)
        poison_directory(path / "files")
        yield made


def lines(lab: Lab) -> list[list[str]]:
    """Return every command as it may be typed."""
    found = []
    for number, command in enumerate(COMMANDS):
        words = command.replace("/out", f"/out-{number}").format(path=lab.path).split()
        config = ["--config", str(lab.ini)] if words[0] != "verify" else []
        found.append([*words, *config, *(["--redis", lab.url] if words[0] not in {"tidy", "verify"} else [])])
    inis = []
    for number, text in enumerate(_INI):
        ini = lab.path / f"{number}.ini"
        ini.write_text(text)
        inis += [["config", "check", str(ini)], ["status", "--config", str(ini)]]
    return [*found, *(list(words) for words in _TYPED), *inis]


def in_pipe(commands: Sequence[Sequence[str]], path: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _RUN, json.dumps(commands)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        timeout=250, check=False, cwd=path, env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    return done.stdout.decode()


def on_terminal(commands: Sequence[Sequence[str]], path: Path, columns: int) -> str:
    controlling, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environ = {"TERM": "xterm-256color", "NO_COLOR": "", "PYTHONPATH": str(Path.cwd())}
    process = subprocess.Popen(
        [sys.executable, "-c", _RUN, json.dumps(commands)], stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal,
        cwd=path, env=os.environ | environ, start_new_session=True,
    )  # fmt: skip
    os.close(terminal)
    shown = b""
    while part := _read(controlling):
        shown += part
    os.close(controlling)
    process.wait(60)
    return shown.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # nobody has it open any more
        return b""


def check(shown: str, commands: Sequence[Sequence[str]], *, is_terminal: bool) -> None:
    ends = [line.split()[1] for line in shown.splitlines() if line.startswith("END ")]
    assert len(ends) == len(commands), shown[-2000:]
    parts = shown.split("END ")
    for words, end, part in zip(commands, ends, parts, strict=False):
        assert int(end) in ENDS, (words, part)
        assert "Traceback" not in part, (words, part)
        if "--export" in words and not is_terminal:
            continue  # bytes for another program
        assert not troubles(part.partition("\n")[2], is_terminal=is_terminal), (words, part)


@pytest.mark.parametrize("columns", [0, 30, 250], ids=["pipe", "narrow", "wide"])
def test_no_command_lets_data_act_on_the_terminal_or_ends_by_it(lab: Lab, columns: int) -> None:
    lab.restore()
    poison_server(lab)
    commands = lines(lab)
    shown = on_terminal(commands, lab.path, columns) if columns else in_pipe(commands, lab.path)
    check(shown, commands, is_terminal=bool(columns))
    assert "\\x1b" in shown  # it was shown, as what it is


def test_json_of_hostile_data_is_json_in_ascii(lab: Lab) -> None:
    lab.restore()
    poison_server(lab)
    commands = [words for words in lines(lab) if "--json" in words]
    assert len(commands) > 5
    for line in in_pipe(commands, lab.path).splitlines():
        if line.startswith(("{", "[{")):
            assert line.isascii()
            json.loads(line)


def test_bytes_that_are_asked_for_reach_a_pipe_as_they_are_and_a_terminal_as_escapes(lab: Lab) -> None:
    lab.restore()
    poison_server(lab)
    raw = [["dead", "show", "6-0", "--raw", "--redis", lab.url]]
    done = subprocess.run(
        [sys.executable, "-m", "worker", *raw[0]], capture_output=True, timeout=60, check=True, cwd=Path.cwd()
    )
    assert done.stdout == EVIL.encode() + b"\xff\xc0\xed\xa0\x80"
    shown = on_terminal(raw, lab.path, 80)
    assert not troubles(shown, is_terminal=True)
    assert "\\x1b]0;owned" in shown


def test_a_worker_on_a_hostile_server_logs_lines_of_its_own_only(lab: Lab) -> None:
    lab.restore()
    poison_server(lab)
    worker = WorkerProcess(lab.ini, lab.url, "worker-9")
    worker.start(ready=False)
    wait_until(lambda: not worker.is_alive() or bool({"ready", "recovering"} & _said(worker)), "a word")
    if worker.is_alive():
        worker.stop()
    log = worker.log()
    assert log
    assert not troubles(log, is_terminal=False)
    for line in log.splitlines():
        assert LOG_LINE.fullmatch(line) or line.startswith(("  | ", "haraka-accounting: ")), line


def _said(worker: WorkerProcess) -> set[str]:
    return {word.removeprefix("worker.") for word in worker.log().split() if word.startswith("worker.")}
