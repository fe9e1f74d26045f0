"""Recipients by domain: of the decoded events only those recipients that are wanted. Pure."""

from collections.abc import Callable, Iterable
from typing import Any

from worker.addresses import folded_domain
from worker.decode import Decoded


def only_domains(domains: Iterable[str]) -> Callable[[Decoded], Decoded]:
    """Return what takes out all recipients but those in these domains, and events and entries without any.

    A domain is what stands behind the last `@`, compared whole and in any spelling (`worker.addresses`): `example.com`
    is not `mail.example.com`.
    """
    wanted = frozenset(map(folded_domain, domains))

    def keep(event: Any) -> bool:  # noqa: ANN401 - a projection, made for the columns
        event.rcpts = [each for each in event.rcpts if folded_domain(each.rcpt.rpartition("@")[2]) in wanted]
        return bool(event.rcpts)

    def narrow(decoded: Decoded) -> Decoded:
        kept = [
            (entry_id, events)
            for entry_id, all_events in zip(decoded.ids, decoded.events, strict=True)
            if (events := [event for event in all_events if keep(event)])
        ]
        return decoded._replace(ids=[entry_id for entry_id, _ in kept], events=[events for _, events in kept])

    return narrow
