"""Manifests: what stands beside a sealed file is its manifest, or refused with its path; no name leads elsewhere."""

from pathlib import Path

from worker.manifest import BadManifest, decode, encode

_PATH = Path("/srv/archive/d.2026-11-22-215525.tsv.json")


def check(data: bytes) -> None:
    """Read a manifest, write it and read it again."""
    try:
        found = decode(data, _PATH)
    except BadManifest as error:
        assert str(_PATH) in str(error)
        return
    assert decode(encode(found), _PATH) == found
    for name in (found.name, found.compressed.name if found.compressed else found.name):
        assert _PATH.with_name(name).parent == _PATH.parent
