"""Series and the catalogue of expired files: what is none is left out; what is one stays inside its directory."""

import os

import msgspec

from tests.fuzz.choices import Choices
from tests.fuzz.scratch import scratch
from worker import catalogue, series
from worker.inventory import Place
from worker.series import FOLDER, Series


def check(data: bytes) -> None:
    """Read the input as a series, or as a catalogue."""
    choices = Choices(data)
    if choices.one((True, False)):
        _series(choices.rest())
    else:
        _catalogue(choices.rest())


def _series(content: bytes) -> None:
    directory = scratch()
    (directory / FOLDER).mkdir(exist_ok=True)
    file = directory / FOLDER / f"{_id_of(content)}.json"
    file.write_bytes(content)
    try:
        for found in series.load(directory).values():
            assert isinstance(found.header, bytes)
            for place in (found.location, found.archive):
                path = os.path.normpath(directory / place)
                assert path == str(directory) or path.startswith(f"{directory}/")
    finally:
        file.unlink()


def _id_of(content: bytes) -> str:
    """Return the name that makes the content count, where it can."""
    try:
        return msgspec.json.decode(content, type=Series).id
    except (ValueError, RecursionError):
        return "0123456789abcdef"


def _catalogue(content: bytes) -> None:
    place = Place("delivered", scratch(), scratch() / "archive")
    catalogue.catalogue_path(place).write_bytes(content)
    found = list(catalogue.expired(place))
    assert len(found) <= content.count(b"\n")
    assert len({manifest.name for manifest in found}) == len(found)
