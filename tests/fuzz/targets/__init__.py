"""What is fuzzed: by name, a function that takes bytes and raises for what must not be."""

from collections.abc import Callable

from tests.fuzz.targets import entries, exports, ids, ini, journal, lines, manifests, names, records, series

Check = Callable[[bytes], None]

TARGETS: dict[str, Check] = {
    "entries": entries.check,
    "lines": lines.check,
    "records": records.check,
    "ini": ini.check,
    "manifests": manifests.check,
    "journal": journal.check,
    "series": series.check,
    "names": names.check,
    "ids": ids.check,
    "exports": exports.check,
}
