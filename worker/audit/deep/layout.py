"""Layouts: how the rows of a file are written, by its manifest or its first line. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, tzinfo
from typing import NamedTuple

import msgspec

from schemas.catalogue import FIELDS, Kind
from worker.audit.finding import NotAudited
from worker.manifest import Manifest
from worker.reading.parse import BadLine, NotAHeader, is_known, json_line, layout_of, read_header
from worker.rows import header_line
from worker.series import Series
from worker.settings import Format, RowSettings
from worker.zones import zone_of

_JSONL_SEPARATOR = "\t"  # a configured one has no effect there


class Shape(NamedTuple):
    """What can be told of a layout by looking at a file: all but the time zone."""

    format: Format
    separator: str
    columns: tuple[str, ...]

    @property
    def header(self) -> bytes:
        """Return the first line of its files, without the line break; empty where they have none."""
        return header_line(self.format, self.separator, self.columns).removesuffix(b"\n")


class Layout(NamedTuple):
    """What two files must have in common for one event to be the same row in both."""

    shape: Shape
    timezone: str
    guarded: bool = False  # against formulas

    @classmethod
    def of(cls, described: Manifest | Series, configured: RowSettings) -> "Layout":
        """Return the layout of a file, by its manifest or its series; early manifests do not tell the time zone.

        Raises NotAudited.
        """
        try:
            layout_format = Format(described.format)
        except ValueError as error:
            raise NotAudited(f"the layout of a file is not known here: {error}") from error
        shape = _shape(layout_format, described.separator, described.columns)
        return cls(shape, described.timezone or str(configured.timezone), described.guarded)

    @classmethod
    def configured(cls, settings: RowSettings, event_type: str) -> "Layout":
        """Return the layout that the configuration asks for."""
        shape = _shape(settings.format, settings.separator, settings.columns[event_type])
        return cls(shape, str(settings.timezone), settings.guarded)

    def settings(self, configured: RowSettings, event_type: str) -> RowSettings:
        """Return what renders rows so. Raises NotAudited for what this version does not know."""
        unknown = [column for column in self.shape.columns if not is_known(column)]
        if unknown:
            raise NotAudited(f"a file has a column that is not known here: {unknown[0]}")
        try:
            return msgspec.structs.replace(
                configured, format=self.shape.format, separator=self.shape.separator,
                timezone=_zone(self.timezone, configured.timezone), guarded=self.guarded,
                columns={**configured.columns, event_type: self.shape.columns},
            )  # fmt: skip
        except (KeyError, ValueError, OSError) as error:
            raise NotAudited(f"a file is in a layout that is not known here: {error}") from error


def layouts_of_open(first_line: bytes, known: Iterable[Layout], configured: Layout) -> Iterator[Layout]:
    """Yield the layouts that an open file may have: no manifest tells, and its first line not the time zone.

    Its worker may have been started with another configuration than is read here; `known` are those of sealed files.
    Nor does it tell whether cells are guarded.
    """
    known = list(known)
    shape = shape_of(first_line, [configured.shape, *(each.shape for each in known)])
    likely = [configured._replace(shape=shape), *(each for each in known if each.shape == shape)]
    yield from dict.fromkeys(likely)


def shape_of(first_line: bytes, likely: Sequence[Shape]) -> Shape:
    """Return the shape of a file by its first line; the likeliest where that tells none."""
    for shape in likely:
        if shape.header and first_line == shape.header:
            return shape
    if first_line.startswith(b"{"):
        return _of_object(first_line, likely[0])
    for shape in likely:
        if shape.format is not Format.JSONL:
            try:
                columns = read_header(first_line + b"\n", layout_of(shape.format, shape.separator))
            except NotAHeader:
                continue
            return shape._replace(columns=columns)
    return likely[0]


def common(layouts: Sequence[Layout]) -> Layout:
    """Return the layout that shows what all of these show and write alike: a row in any of them tells that one."""
    first, *others = layouts
    columns = [column for column in first.shape.columns if all(column in each.shape.columns for each in others)]
    if len({each.timezone for each in layouts}) > 1:
        columns = [column for column in columns if not _is_instant(column)]
    return Layout(_shape(Format.TSV, "\t", columns or ["type"]), first.timezone)


def _of_object(first_line: bytes, otherwise: Shape) -> Shape:
    try:
        columns = tuple(json_line(first_line))
    except BadLine:
        return otherwise
    return _shape(Format.JSONL, _JSONL_SEPARATOR, columns) if all(map(is_known, columns)) else otherwise


def _shape(layout_format: Format, separator: str, columns: Sequence[str]) -> Shape:
    return Shape(layout_format, _JSONL_SEPARATOR if layout_format is Format.JSONL else separator, tuple(columns))


def _is_instant(column: str) -> bool:
    return column in FIELDS and FIELDS[column].kind is Kind.INSTANT


def _zone(name: str, configured: tzinfo) -> tzinfo:
    if name == str(configured):
        return configured
    return UTC if name == "UTC" else zone_of(name)
