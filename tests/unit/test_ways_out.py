"""One place writes to terminals, and one to the log: whatever a module prints in another way would not be escaped."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_PACKAGES = ("worker", "config", "schemas")

#: What makes colours and tables, and where all of it is written.
_TERMINAL = {"worker/commands/terminal.py", "worker/commands/streams.py"}
_DRAWING = _TERMINAL | {"worker/commands/text.py", "worker/commands/progress.py"}
_LOG = {"worker/log.py"}

_PRINTING = {"print", "echo", "secho", "style", "echo_via_pager", "prompt", "print_exc", "print_exception"}
_LOGGING = {"debug", "info", "warning", "warn", "error", "exception", "critical", "fatal", "log"}
_LOGGERS = {"_log", "log", "logger", "logging", "warnings"}
_STREAMS = {"stdout", "stderr", "__stdout__", "__stderr__"}


def modules() -> list[Path]:
    return [path for package in _PACKAGES for path in sorted((_ROOT / package).rglob("*.py"))]


def ways_out(tree: ast.AST, name: str) -> Iterator[str]:
    """Yield what a module does that only some may do."""
    for node in ast.walk(tree):
        allowed = _who_may_call(node.func) if isinstance(node, ast.Call) else _who_may_have(node)
        if allowed is not None and name not in allowed:
            yield f"{node.lineno}: {ast.unparse(node)}"  # type: ignore[attr-defined]


def _who_may_call(function: ast.expr) -> set[str] | None:
    """Return the modules that may call this; None: all."""
    match function:
        case ast.Name(id=called) | ast.Attribute(attr=called) if called in _PRINTING:
            return _DRAWING
        case ast.Name(id="Table") | ast.Attribute(attr="add_column"):
            return _DRAWING
        case ast.Attribute(value=ast.Name(id=logger), attr=called) if called in _LOGGING and logger in _LOGGERS:
            return _LOG
    return {"worker/durable.py"} if ast.unparse(function) == "os.write" else None


def _who_may_have(node: ast.AST) -> set[str] | None:
    """Return the modules in which this may stand, likewise."""
    match node:
        case ast.Attribute(value=ast.Name(id="sys"), attr=attribute) if attribute in _STREAMS:
            return _TERMINAL | _LOG
        case ast.ImportFrom(module=str(module), names=[ast.alias(name=name), *_]) if module.startswith("rich"):
            return None if name == "Table" else _DRAWING  # as a type
        case ast.Import(names=[ast.alias(name=name), *_]) if name.startswith("rich"):
            return _DRAWING
    return None


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(_ROOT)))
def test_no_module_writes_to_a_terminal_or_a_log_in_a_way_of_its_own(path: Path) -> None:
    name = str(path.relative_to(_ROOT))
    assert not list(ways_out(ast.parse(path.read_text(encoding="utf-8")), name))


@pytest.mark.parametrize(
    "code",
    [
        "print(name)", "click.echo(name)", "click.secho(name, fg='red')", "sys.stdout.write(name)",
        "console.print(name)", "from rich.console import Console", "from rich.text import Text", "Table(title=name)",
        "table.add_column(name)", "_log.info(name)", "logging.warning(name)", "warnings.warn(name)",
        "traceback.print_exc()", "os.write(2, name)", "file = sys.stderr", "print(name, file=sys.stderr)",
    ],
)  # fmt: skip
def test_each_way_around_is_found(code: str) -> None:
    assert list(ways_out(ast.parse(code), "worker/commands/status.py"))
