"""Names of files: one that is taken is one that a worker gives, and stands in the directory itself."""

import contextlib
from datetime import UTC
from pathlib import PurePosixPath

from config import naming
from schemas.events import TYPES
from tests.fuzz.choices import Choices
from worker.naming import Names, Stamp, next_stamp
from worker.settings import NameSettings

_TEMPLATES = ("{type}.{time}.{extension}", "{type}-{consumer}-{time}", "{time}", "a {type}@{time}~b")


def check(data: bytes) -> None:
    """Read names of files, and what an ini says about them."""
    choices = Choices(data)
    names = Names(_settings(choices), choices.one(TYPES), _accepted(naming.consumer, choices.text(), "w-1"))
    stamp = Stamp("2026-11-22-215525", choices.whole(2))
    given = names.format(stamp)
    assert names.parse(given) == stamp
    assert _is_plain(given)
    text = choices.rest().decode("utf-8", "surrogateescape")
    for suspect in (text, given + text, text + given):
        found = names.parse(suspect)
        assert found is None or _is_plain(suspect)
        assert found is None or found.successor() > found
    found = Stamp.parse(text)
    assert found is None or str(found) == text or "-0" in text


def _settings(choices: Choices) -> NameSettings:
    template = _accepted(naming.template, choices.text(), choices.one(_TEMPLATES))
    extension = _accepted(naming.extension, choices.text(), "tsv")
    return NameSettings(template=template, extension=extension, timezone=UTC)


def _accepted(parse: object, text: str, otherwise: str) -> str:
    with contextlib.suppress(ValueError):
        return parse(text)  # type: ignore[operator,no-any-return] # a parser of config.naming
    return otherwise


def _is_plain(name: str) -> bool:
    return PurePosixPath(name).name == name and "\0" not in name and not name.startswith(".") and next_stamp is not None
