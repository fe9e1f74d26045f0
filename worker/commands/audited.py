"""How an audit is shown: both sides of each equation, their difference, and what was found."""

from collections.abc import Sequence

from rich.table import Table

from worker.audit.acceptance import Accepted
from worker.audit.deep.run import DeepReport
from worker.audit.finding import Finding
from worker.audit.report import DirectoryReport, Report
from worker.commands import text
from worker.commands.terminal import tell

_SHOWN = 50

_ALWAYS = ("rows_of_events", "rows_in_files")
_WRONG = ("missing", "altered", "doubled", "unexpected")
_FIGURES = (
    *_ALWAYS, *_WRONG, "forgotten", "elsewhere", "no_longer_in_the_stream", "files", "expired_files", "expired_rows",
)  # fmt: skip


def show(report: Report) -> None:
    """Print what was compared, and what was found."""
    show_counts(report)
    tell()
    show_findings(report.findings, report.accepted)


def show_counts(report: Report) -> None:
    """Print what was compared."""
    text.show(_balances(report))
    for directory in report.directories:
        _tell_apart(f"{directory.path} ({directory.id})")
        text.show(_rows(directory))
        if directory.others:
            tell(f"{directory.others} files in it belong to other directories: not counted")
    for directory_id, rows in report.elsewhere.items():
        counts = ", ".join(f"{count:,} {event_type}" for event_type, count in rows.items())
        tell()
        tell(f"not here: the rows of directory {directory_id}: {counts}")


def show_deep(report: DeepReport) -> None:
    """Print the counts of a deep audit, the rows of its range, and what was found."""
    counts = report.counts
    show_counts(counts)
    _tell_apart("row by row:")
    types = [each.type for each in report.types]
    shown = text.table("rows", *types, right=frozenset(types))
    for name in _FIGURES:
        values = [getattr(each, name) for each in report.types]
        if any(values) or name in _ALWAYS:
            text.add_row(
                shown, name.replace("_", " "), *values, style="bold red" if name in _WRONG and any(values) else ""
            )
    text.show(shown)
    for url in (url for each in report.types for url in each.uploaded):
        tell(f"expired here, uploaded to {url}")
    tell()
    show_findings(report.findings, report.accepted)


def show_findings(findings: Sequence[Finding], accepted: Sequence[Accepted]) -> None:
    """Print findings for people, in red, and that there are none in green; before them those that were accepted."""
    for each in accepted[:_SHOWN]:
        tell(
            f"accepted {text.instant(each.at_ms)} by {each.by} ({each.reason}): "
            f"{each.finding.kind}: {each.finding.text}"
        )
    if len(accepted) > _SHOWN:
        tell(f"only the first {_SHOWN} of {len(accepted)} accepted findings; --json has all")
    for finding in findings[:_SHOWN]:
        tell(f"{finding.kind}: {finding.text}", colour="red")
    if len(findings) > _SHOWN:
        tell(f"only the first {_SHOWN} of {len(findings)} findings; --json has all")
    if not findings:
        tell("Everything is accounted for.", colour="green")


def _tell_apart(line: str) -> None:
    """Tell what comes next, between two empty lines."""
    tell()
    tell(line)
    tell()


def _balances(report: Report) -> Table:
    types = [each.type for each in report.types]
    shown = text.table("events", *types, right=frozenset(types))
    for name in report.types[0].came:
        text.add_row(shown, name, *(each.came[name] for each in report.types))
    _end(shown)
    for name in report.types[0].went:
        text.add_row(shown, f"- {name}", *(each.went[name] for each in report.types))
    _end(shown)
    _add_difference(shown, [each.difference for each in report.types])
    return shown


def _rows(directory: DirectoryReport) -> Table:
    types = [each.type for each in directory.rows]
    shown = text.table("rows", *types, right=frozenset(types))
    text.add_row(shown, "committed", *(each.committed for each in directory.rows))
    _end(shown)
    text.add_row(shown, "- in sealed files", *(each.sealed for each in directory.rows))
    text.add_row(shown, "- in expired files", *(each.expired for each in directory.rows))
    text.add_row(shown, "- in open files", *(each.open for each in directory.rows))
    _end(shown)
    _add_difference(shown, [each.difference for each in directory.rows])
    return shown


def _end(shown: Table) -> None:
    shown.rows[-1].end_section = True


def _add_difference(shown: Table, differences: Sequence[int]) -> None:
    text.add_row(shown, "= difference", *differences, style="bold red" if any(differences) else "")
