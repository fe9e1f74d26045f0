"""`haraka-accounting dead`: dead letters listed, shown, retried, dropped."""

import re
import sys
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import click

from schemas.events import TYPES
from worker.commands import terminal, text
from worker.commands.options import Server, json_option, on_server
from worker.stream.dead_letters import DeadLetters, Letter, NoSuchLetter, Outcome, dead_letters

_MOST = 1_000_000  # letters in one list
_ID = re.compile(r"[0-9]{1,20}-[0-9]{1,20}")


def _whole_ids(_context: click.Context, _parameter: click.Parameter, value: Any) -> Any:  # noqa: ANN401 - click's
    """Refuse a part of an id: for Redis it would be a range."""
    for letter_id in (value,) if isinstance(value, str) else value:
        if not _ID.fullmatch(letter_id):
            raise click.BadParameter(f"{letter_id!r} is not an id such as 1795373309671-0")
    return value


_type_option = click.option("--type", "event_type", type=click.Choice(TYPES), help="Only letters of this type.")
_all_option = click.option("--all", "everything", is_flag=True, help="All letters, or all of a type.")
_ids_argument = click.argument("ids", nargs=-1, metavar="ID…", callback=_whole_ids)


@click.group(name="dead")
def dead_group() -> None:
    """Events that could not become rows: look at them, retry or drop them."""


@dead_group.command(name="list")
@on_server
@json_option
@_type_option
@click.option(
    "--limit", type=click.IntRange(1, 1_000_000), default=100, show_default=True, help="Show so many at most."
)
def list_command(server: Server, *, as_json: bool, event_type: str | None, limit: int) -> None:
    """List dead letters, the oldest first. Changes nothing."""
    with dead_letters(*server) as dead:
        letters = list(islice(dead.letters(dead.last_id(), event_type), limit + 1))
    if as_json:
        terminal.tell_json([_summary(letter) for letter in letters[:limit]])
    else:
        shown = text.table(
            "id", "when", "type", "entry", "index", "bytes", "error", right=frozenset({"index", "bytes"})
        )
        for letter in letters[:limit]:
            text.add_row(shown, *_facts(letter).values())
        text.show(shown)
    if len(letters) > limit:
        terminal.tell(f"only the first {limit}; there are more (--limit)", err=True)


@dead_group.command(name="show")
@on_server
@json_option
@click.option("--raw", is_flag=True, help="Write the bytes as they are, and nothing else.")
@click.argument("letter_id", metavar="ID", callback=_whole_ids)
def show_command(server: Server, *, letter_id: str, as_json: bool, raw: bool) -> None:
    """Show a dead letter with its bytes. Changes nothing."""
    with dead_letters(*server) as dead:
        letter = dead.get(letter_id)
    if raw:
        terminal.hand_on([letter.payload])
    elif as_json:
        content = {"text": letter.payload.decode("utf-8", "replace"), "base64": b64encode(letter.payload).decode()}
        terminal.tell_json(_summary(letter) | content)
    else:
        for name, value in _facts(letter).items():
            terminal.put(f"{name:6} {text.MISSING if value is None else value}")
        terminal.put()
        terminal.put(letter.payload)


@dead_group.command(name="retry")
@on_server
@_ids_argument
@_all_option
@_type_option
def retry_command(server: Server, *, ids: tuple[str, ...], everything: bool, event_type: str | None) -> None:
    """Put dead letters back into their streams, for a worker that can read them now.

    What fails again becomes a new dead letter.
    """
    _check_choice(ids, everything=everything, event_type=event_type)
    with dead_letters(*server, change=True) as dead:
        until = dead.last_id()
        _report("retried", ids, (_each(dead, ids) if ids else dead.letters(until, event_type)), dead.retry)


@dead_group.command(name="drop")
@on_server
@_ids_argument
@_all_option
@_type_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def drop_command(server: Server, *, ids: tuple[str, ...], everything: bool, event_type: str | None, yes: bool) -> None:
    """Remove dead letters for good. Asks first."""
    _check_choice(ids, everything=everything, event_type=event_type)
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here: --yes drops without a question")
    with dead_letters(*server, change=True) as dead:
        until = dead.last_id()
        count = len(ids) or sum(1 for _ in dead.letters(until, event_type))
        if not yes:
            click.confirm(f"Drop {count} dead letters for good?", abort=True)
        chosen = _each(dead, ids) if ids else dead.letters(until, event_type)
        _report("dropped", ids, chosen, lambda letter: dead.drop(letter.id))


def _check_choice(ids: tuple[str, ...], *, everything: bool, event_type: str | None) -> None:
    if bool(ids) == everything:
        raise click.UsageError("expected ids of dead letters, or --all")
    if ids and event_type:
        raise click.UsageError("--type goes with --all")


def _each(dead: DeadLetters, ids: tuple[str, ...]) -> Iterator[Letter]:
    """Yield the letters with these ids; those that are not there are left out."""
    for letter_id in ids:
        try:
            yield dead.get(letter_id)
        except NoSuchLetter as error:
            terminal.tell(str(error), err=True)


def _report(done: str, ids: tuple[str, ...], letters: Iterator[Letter], act: Callable[[Letter], Outcome]) -> None:
    """Do something with letters, say what came of it; exit code 1 where something asked for was not done."""
    outcomes: Counter[Outcome] = Counter()
    for letter in letters:
        outcome = act(letter)
        outcomes[outcome] += 1
        if outcome is Outcome.REFUSED:
            terminal.tell(f"{letter.id} belongs to no stream: it can only be dropped", err=True)
    terminal.tell(f"{done} {outcomes[Outcome.DONE]}")
    if outcomes[Outcome.REFUSED] or outcomes[Outcome.DONE] < len(set(ids)):
        sys.exit(1)


def _summary(letter: Letter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "at_ms": letter.at_ms,
        "type": letter.type,
        "entry": letter.entry_id,
        "index": letter.index,
        "size": len(letter.payload),
        "error": letter.error,
    }


def _facts(letter: Letter) -> dict[str, Any]:
    """Return the summary for people."""
    summary = _summary(letter)
    when = {"when": text.instant(summary.pop("at_ms"))}
    return {"id": summary.pop("id")} | when | summary
