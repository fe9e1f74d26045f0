"""Every outage, by name: what happens, and to which Haraka."""

import os
import secrets
from collections.abc import Iterator, Mapping
from typing import Final

from tests.outage import outages
from tests.outage.lab import Setup
from tests.outage.run import Scenario

#: When Haraka is killed follows from it; a test that fails shows it, and OUTAGE_SEED gives the same moments again.
SEED: Final = int(os.environ.get("OUTAGE_SEED") or secrets.randbelow(1_000_000))

FAULTS: Final[Mapping[str, outages.Fault]] = {
    "the server is stopped for 10 s": outages.server_stopped,
    "the server is killed and restarted": outages.server_killed,
    "replies are swallowed": outages.replies_swallowed,
    "connections are reset in the middle of a batch": outages.connections_reset,
    "the server is full": outages.server_full,
}
KILLS: Final[Mapping[str, outages.Act]] = {
    **{f"Haraka is killed while {what}": outages.haraka_killed_during(fault, SEED) for what, fault in FAULTS.items()},
    "Haraka is killed while it publishes": outages.haraka_killed_publishing(SEED),
    "Haraka is killed while it drains": outages.haraka_killed_draining(SEED),
    "Haraka is killed while it claims": outages.haraka_killed_claiming(SEED),
}
#: A killed Haraka may lose what it let go before it was safe, and how long a write takes is not what is asked here.
PATIENT: Final = {"max_hold_ms": "15000"}
#: A file stands where the spool's directory would have to.
NO_DISK: Final = {"spool_dir": "plugins/demo_relay.js/spool", "max_hold_ms": "3000"}


def _scenarios() -> Iterator[tuple[str, Scenario]]:
    for nodes in (0, 2):
        for what, fault in FAULTS.items():
            yield f"{what}, nodes={nodes}", Scenario(outages.ride_out(fault), Setup(nodes))
        for what, act in KILLS.items():
            spools = act is not KILLS["Haraka is killed while it publishes"]
            yield f"{what}, nodes={nodes}", Scenario(act, Setup(nodes, PATIENT), spools=spools)
        yield (
            f"the server is not there at the start, nodes={nodes}",
            Scenario(outages.server_late, Setup(nodes, has_server=False)),
        )
    yield "both ini files are edited, nodes=2", Scenario(outages.inis_edited, Setup(2), spools=False)
    yield (
        "neither server nor disk takes anything, nodes=0",
        Scenario(
            outages.nobody_takes_anything,
            Setup(0, NO_DISK, others={"plugin_timeout": "1\n"}),
            spools=False,
            may_let_go=True,
        ),
    )


EVERY: Final = dict(_scenarios())
#: What the default run carries out: all of them take minutes.
TELLING: Final = (
    "replies are swallowed, nodes=2",
    "Haraka is killed while the server is stopped for 10 s, nodes=0",
    "the server is not there at the start, nodes=0",
    "both ini files are edited, nodes=2",
    "neither server nor disk takes anything, nodes=0",
)


def chosen() -> Mapping[str, Scenario]:
    """Return what OUTAGE asks for: `all`, or those whose names hold its text; without it the telling ones."""
    asked = os.environ.get("OUTAGE", "")
    if not asked:
        return {name: EVERY[name] for name in TELLING}
    return {name: scenario for name, scenario in EVERY.items() if asked == "all" or asked in name}
