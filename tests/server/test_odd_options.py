"""What nobody should type: each option of each command answers any word with one clear line, never with a traceback."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.broken import Lab, run_here, troubles
from tests.support.servers import RealValkey

FORMS = (
    "find --domain example.com --from", "find --domain example.com --to", "find --rcpt", "find --domain",
    "find --job-id", "find --where", "tail -n", "tail --type", "audit --deep --from", "audit --deep --to",
    "audit --directory", "audit --known-lost", "dead show", "dead retry", "dead drop --yes", "dead list --limit",
    "replay --export - --from", "replay --export - --from - --to", "replay --into {path}/a --from - --types",
    "replay --into {path}/b --from - --recipient-domain", "replay --into {path}/c --from-archive",
    "retire", "rotate --name", "rotate --all --timeout", "status --check", "status --redis", "status --config",
    "producers --redis",
)  # fmt: skip
WORDS = (
    "-", "+", "0", "-1", "99999999999999999999", "9" * 400 + "d", "1e999", "nan", "2026-99-99", "0001-01-01",
    "9999-12-31T23:59:59", "2026-01-01T00:00+99:99", "18446744073709551616-0", "1-", "(1-1", "\udcff", "\x1b[31m",
    "ü", "٣d", "{}", "%s", "@", "a@", ".", "..", "/", "x" * 5000, "rcpt=\x1b", "unix://", "redis://h:x",
)  # fmt: skip


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    path = tmp_path_factory.mktemp("odd")
    with RealValkey(path / "valkey") as server:
        made = Lab(server, path)
        made.restore()
        yield made


@pytest.mark.parametrize("form", FORMS)
def test_any_word_is_answered(lab: Lab, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--config", str(lab.ini)] if "--config" not in form else []
    options += ["--redis", lab.url] if "--redis" not in form else []
    wrong = []
    for word in WORDS:
        done = run_here([*form.format(path=tmp_path).split(), word, *options])
        wrong += list(troubles(f"{form} {word!r}", done))
    assert wrong == []


@pytest.mark.parametrize("target", ["/", ".", "..", "/missing/x"])
def test_an_export_needs_a_place(lab: Lab, target: str) -> None:
    done = lab.run(f"replay --from - --export {target}")
    assert done.code in {1, 2, 74}
    assert list(troubles(target, done)) == []
