"""What the demo prints: the comparison, the first rows, the archive. From values to rich's tables, nothing else."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from haraka.demo.expect import Expectation, Row

WORDS = {"d": "delivered", "df": "deferred", "b": "bounce"}
#: Columns that are shown of the first rows, with their widths; the last one takes what room is left.
SHOWN = {"type": 4, "timeLogged": 19, "rcpt": 23, "dsnMsg": None}


@dataclass(frozen=True)
class Comparison:
    """The sink's answers against the files' rows, as multisets."""

    outcomes: Mapping[tuple[str, str], tuple[int, int]]  # by type and outcome: due, found
    missing: Counter[Row]
    unexpected: Counter[Row]

    @property
    def agrees(self) -> bool:
        """Whether the files hold exactly what they must."""
        return not self.missing and not self.unexpected


def compare(expectation: Expectation, found: Counter[Row]) -> Comparison:
    """Compare what the files must hold with what they hold."""
    due, left = Counter[tuple[str, str]](), found.copy()
    matched = Counter[tuple[str, str]]()
    for row, outcome in expectation.rows:
        due[row.type, outcome] += 1
        if left[row] > 0:
            left[row] -= 1
            matched[row.type, outcome] += 1
    return Comparison(
        outcomes={
            key: (due[key], matched[key]) for key in sorted(due, key=lambda key: ("d df b".find(key[0]), key[1]))
        },
        missing=expectation.counter() - found,
        unexpected=found - expectation.counter(),
    )


def comparison_table(comparison: Comparison) -> Table:
    """Show both sides per type and outcome."""
    table = _table("What the sink answered, and what the files say")
    table.add_column("type", style="cyan")
    table.add_column("outcome")
    for name in ("sink", "files"):
        table.add_column(name, justify="right")
    table.add_column("")
    for (tag, outcome), (due, matched) in comparison.outcomes.items():
        table.add_row(WORDS[tag], outcome, str(due), str(matched), _mark(due == matched))
    unexpected = comparison.unexpected.total()
    if unexpected:
        table.add_row("", "rows that no answer accounts for", "0", str(unexpected), _mark(good=False))
    table.add_section()
    due, matched = (sum(pair[side] for pair in comparison.outcomes.values()) for side in (0, 1))
    table.add_row("", "all", str(due), str(matched + unexpected), _mark(comparison.agrees), style="bold")
    return table


def difference_table(comparison: Comparison, limit: int = 20) -> Table:
    """Show the rows that make the difference."""
    table = _table(f"The difference (first {limit} of each)")
    for name in ("", *Row._fields):
        table.add_column(name)
    for word, rows in (("missing", comparison.missing), ("unexpected", comparison.unexpected)):
        for row in sorted(rows.elements())[:limit]:
            table.add_row(Text(word, "red"), *map(Text, row))
    return table


def rows_table(rows: Sequence[Mapping[str, str]], name: str) -> Table:
    """Show the first rows of one file, in some of its columns."""
    table = _table(f"{name} ({len(SHOWN)} of {len(rows[0])} columns)")
    table.expand = True
    for column, width in SHOWN.items():
        table.add_column(column, no_wrap=True, overflow="ellipsis", width=width, ratio=None if width else 1)
    for row in rows:
        table.add_row(*(Text(row[column]) for column in SHOWN))
    return table


def archive_table(files: Mapping[Path, Mapping[str, Any] | None], root: Path) -> Table:
    """Show the sealed files with what their manifests say."""
    table = _table("Sealed and archived, each with its manifest")
    table.add_column("file", no_wrap=True)
    for name in ("rows", "bytes"):
        table.add_column(name, justify="right")
    table.add_column("rotated by")
    for file, manifest in files.items():
        facts = [str((manifest or {}).get(key, "?")) for key in ("rows", "bytes", "reason")]
        table.add_row(Text(str(file.relative_to(root))), *facts)
    return table


def _table(title: str) -> Table:
    return Table(title=Text(title), title_justify="left", title_style="bold cyan", box=SIMPLE_HEAD, header_style="dim")


def _mark(good: bool) -> Text:  # noqa: FBT001 - the only thing it shows
    return Text("✓", "green") if good else Text("✗", "bold red")
