"""The one way from a command to standard output and standard error (tests/unit/test_ways_out.py).

What is told is escaped here, whoever wrote it; colours and tables are made here and in `text`, and no text is markup.
"""

import sys
from collections.abc import Iterable

import click

from worker.commands import streams
from worker.commands.text import as_json
from worker.printable import MOST, printable

_PROGRAM = "haraka-accounting"


def tell(line: str = "", *, err: bool = False, colour: str | None = None, bold: bool = False) -> None:
    """Tell people something in a line, cut where it is very long."""
    shown = printable(line, MOST)
    click.echo(click.style(shown, fg=colour, bold=bold or None) if colour or bold else shown, err=err)


def warn(message: str) -> None:
    """Tell something beside the output, and who tells it."""
    tell(f"{_PROGRAM}: {message}", err=True)


def tell_json(value: object, *, err: bool = False) -> None:
    """Write a value as a line of JSON."""
    click.echo(as_json(value), err=err)


def put(line: bytes | str = "", tag: str = "", colour: str | None = None) -> None:
    """Write a line of a listing, all of it, behind a tag that has a colour on a terminal. It is not flushed."""
    is_coloured = colour and is_shown() and not streams.is_plain()
    sys.stdout.write(f"{click.style(tag, fg=colour) if is_coloured else tag}{printable(line)}\n")


def put_json(value: object) -> None:
    """Write a line of JSON, likewise."""
    sys.stdout.write(as_json(value) + "\n")


def is_shown() -> bool:
    """Tell whether standard output is a terminal."""
    return sys.stdout.isatty()


def hand_on(lines: Iterable[bytes]) -> None:
    """Write bytes as they stand, for a program that reads them; a terminal gets each of these in a line, escaped."""
    if is_shown():
        for line in lines:
            put(line.removesuffix(b"\n"))
    else:
        sys.stdout.buffer.writelines(lines)
