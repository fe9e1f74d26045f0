"""The command line of `haraka-accounting replay`: what cannot be meant is told before anything is done."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from worker.cli import cli


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--from", "yesterday", "--into", "x"), "--from: 'yesterday': expected a time such as"),
        (("--from", "2026-13-01", "--into", "x"), "month must be in 1..12"),
        (("--from", "-", "--to", "5-99999999999999999999", "--into", "x"), "--to: '5-99999999999999999999': expected"),
        (("--from", "5-0", "--to", "4-0", "--into", "x"), "it begins with 5-0 and ends with 4-0"),
        (("--from", "-"), "expected one of --into DIR, --export FILE and --live"),
        (("--into", "x"), "expected --from TIME or ID"),
        (("--from", "-", "--into", "x", "--types", "bounced"), "'bounced': expected some of delivered"),
        (("--from", "-", "--into", "x", "a.ndjson"), "expected SOURCE… with --from-archive"),
        (("--from", "-", "--export", "x", "--recipient-domain", "a.test"), "--recipient-domain goes with --into"),
        (("--from", "-", "--to", "5-0", "--live"), "--to does not go with --live"),
        (("--from", "-", "--acknowledged", "--live"), "--acknowledged is about a range of the streams"),
        (("--from-archive", "dead", "a.ndjson", "--into", "x"), "dead is a source of its own"),
    ],
)
def test_a_command_line_that_cannot_be_meant_is_told_with_what_was_expected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["replay", "--redis", "redis://127.0.0.1:1", *arguments])
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())
    assert list(tmp_path.iterdir()) == []
