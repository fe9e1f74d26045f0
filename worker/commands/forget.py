"""`haraka-accounting forget`: every place where an address stands, and the address taken out of what can be changed."""

import sys
from pathlib import Path

import click

from worker.commands import terminal, text
from worker.commands.options import config_option, json_option, load_settings, redis_option, server_of
from worker.commands.used import used_id
from worker.errors import DiskTrouble, ExitCode, Unreadable
from worker.forgetting.run import Forgetting, Outcome
from worker.forgetting.target import Target
from worker.forgotten import State
from worker.identity import require_partition

_STYLES = {State.FOUND: "red", State.LEFT: "red", State.REMOVED: "green", State.TOLD: ""}


@click.command(name="forget")
@click.argument("address", metavar="ADDRESS")
@config_option
@redis_option
@click.option("--remove", is_flag=True, help="Take the address out of what can be changed; without it, only look.")
@click.option("--reason", metavar="TEXT", help="With --remove: why. It is noted, and stands in the files' manifests.")
@json_option
def forget_command(  # noqa: PLR0913 - one parameter an option
    address: str, config_file: Path | None, redis_url: str | None, reason: str | None, *, remove: bool, as_json: bool
) -> None:
    """List every place where ADDRESS stands: files, recovered/, lost/, accepted/, streams, dead letters.

    Any spelling of it counts, and so does one inside a text or a sender (VERP); a longer address does not. With
    --remove, sealed files are rewritten under new manifests, with `forgotten` in its place, and a note is kept in
    forgotten/. Safe while workers run. Exit codes: 0 it stands nowhere that can be seen from here, 1 it stands where
    the list says, 74 not everything could be looked at.
    """
    if remove and not (reason or "").strip():
        raise click.UsageError("--remove: expected --reason TEXT, such as the number of the request")
    if reason and not remove:
        raise click.UsageError("--reason goes with --remove")
    try:
        target = Target(address)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="ADDRESS") from error
    settings = load_settings(config_file, redis_url, None).settings
    path = settings.directory.path
    directory_id = used_id(path)
    if directory_id is None:
        raise Unreadable(f"{path}: no directory of accounting files: expected one that a worker has used")
    require_partition(path, settings.stream.partition)
    forgetting = Forgetting(target, settings, directory_id, server_of(settings).connect)
    try:
        outcome = forgetting.remove(reason, terminal.warn) if reason else forgetting.look()
    except OSError as error:
        raise DiskTrouble(f"{error.filename or path}: {error.strerror}") from error
    _show(outcome, as_json=as_json)
    if outcome.is_left:
        sys.exit(ExitCode.FAILED)
    if outcome.missed:
        sys.exit(ExitCode.UNAVAILABLE)


def _show(outcome: Outcome, *, as_json: bool) -> None:
    if as_json:
        terminal.tell_json(outcome)
    else:
        shown = text.table("what", "state", "count", "where", "", right=frozenset({"count"}))
        for each in outcome.standing:
            style = _STYLES[each.state]
            text.add_row(shown, each.kind, each.state, each.count or None, each.where, each.text, style=style)
        text.show(shown)
        if outcome.note:
            terminal.tell(f"noted in {outcome.note}")
    for why in outcome.missed:
        terminal.warn(f"not looked at: {why}")
