"""Inputs that are kept: small ones of each kind, from which every driver begins, and what was found before."""

from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).parent / "corpus"


def seeds(target: str) -> Sequence[bytes]:
    """Return the kept inputs of a target, in the order of their names."""
    return [path.read_bytes() for path in sorted((FOLDER / target).iterdir())]
