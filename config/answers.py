"""Answers: the value of every key, from what is given or its default."""

from collections.abc import Mapping
from typing import TypeVar, cast

from config import keys
from config.given import Given, Id
from config.key import Key
from config.problem import Problem

T = TypeVar("T")
_NOT_GIVEN = Given("")


class Answers:
    """The value of each key; `problems` holds what was wrong with those that were given."""

    def __init__(self, given: Mapping[Id, Given]) -> None:
        self._given = given
        self._unfit: set[Id] = set()
        self.problems: list[Problem] = []
        self._values = {key.id: self._value(key) for key in keys.KEYS.values()}

    def __getitem__(self, key: Key[T]) -> T:
        """Return the key's value; its default where what was given is unfit."""
        return cast("T", self._values[key.id])

    def is_given(self, key: Key[object]) -> bool:
        """Tell whether the key has a text of its own, not blank."""
        return bool(self._at(key).text)

    def fit(self, *among: Key[object]) -> bool:
        """Tell whether all of the keys could be read, so that comparing them makes sense."""
        return self._unfit.isdisjoint(key.id for key in among)

    def problem(self, message: str, *among: Key[object]) -> Problem:
        """Return a problem that stands where the last of the keys is given."""
        key = max(among, key=lambda each: (self.is_given(each), self._at(each).line or 0))
        at = self._at(key)
        return Problem(message=message, file=at.file, line=at.line, option=at.option, section=key.section, key=key.name)

    def _at(self, key: Key[object]) -> Given:
        return self._given.get(key.id, _NOT_GIVEN)

    def _value(self, key: Key[T]) -> T:
        try:
            return key.parse(_utf8(self._at(key).text) or key.default)
        except ValueError as error:
            self._unfit.add(key.id)
            self.problems.append(self.problem(str(error), key))
            return _any_value(key)


def _any_value(key: Key[T]) -> T:
    """Return a value to compare others with: the default, which a machine may not have, such as its local time zone."""
    try:
        return key.parse(key.default)
    except ValueError:
        return key.parse(key.example)


def _utf8(text: str) -> str:
    if any("\ud800" <= char <= "\udfff" for char in text):  # bytes that did not decode
        raise ValueError("expected text in UTF-8")
    return text
