"""Layouts: how the rows of a file are written, by its manifest, and what renders events the same way. Pure."""

from collections.abc import Iterable
from datetime import UTC, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from worker.audit.finding import NotAudited
from worker.inventory import Stored
from worker.manifest import Manifest
from worker.settings import Format, RowSettings


class Layout(NamedTuple):
    """What two files must have in common for one event to be the same row in both."""

    format: str
    separator: str
    timezone: str
    columns: tuple[str, ...]

    @classmethod
    def of(cls, manifest: Manifest, configured: RowSettings) -> "Layout":
        """Return the layout of a sealed file; early manifests do not tell the time zone."""
        timezone = manifest.timezone or str(configured.timezone)
        return cls(manifest.format, manifest.separator, timezone, tuple(manifest.columns))

    @classmethod
    def configured(cls, settings: RowSettings, event_type: str) -> "Layout":
        """Return the layout that the configuration asks for."""
        return cls(settings.format, settings.separator, str(settings.timezone), tuple(settings.columns[event_type]))

    def settings(self, configured: RowSettings, event_type: str) -> RowSettings:
        """Return what renders rows so. Raises NotAudited for what this version does not know."""
        try:
            return msgspec.structs.replace(
                configured, format=Format(self.format), separator=self.separator,
                timezone=_zone(self.timezone, configured.timezone),
                columns={**configured.columns, event_type: self.columns},
            )  # fmt: skip
        except (KeyError, ValueError, OSError) as error:
            raise NotAudited(f"a file is in a layout that is not known here: {error}") from error


def one_layout(event_type: str, files: Iterable[Stored], configured: RowSettings) -> Layout:
    """Return the layout of these files. Raises NotAudited that names the ranges where there are several."""
    found: dict[Layout, list[Stored]] = {}
    for stored in files:
        layout = (
            Layout.of(stored.manifest, configured) if stored.manifest else Layout.configured(configured, event_type)
        )
        found.setdefault(layout, []).append(stored)
    if len(found) > 1:
        groups = "; ".join(_described(layout, group) for layout, group in found.items())
        raise NotAudited(
            f"{event_type}: the files of this range have {len(found)} layouts, audit one range after the other "
            f"(--from, --to, --types): {groups}"
        )
    return next(iter(found), Layout.configured(configured, event_type))


def _described(layout: Layout, group: list[Stored]) -> str:
    names = sorted(stored.path.name for stored in group)
    return f"{names[0]} to {names[-1]} are {layout.format} in {layout.timezone} with {len(layout.columns)} columns"


def _zone(name: str, configured: tzinfo) -> tzinfo:
    if name == str(configured):
        return configured
    return UTC if name == "UTC" else ZoneInfo(name)
