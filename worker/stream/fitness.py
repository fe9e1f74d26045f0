"""Whether a server can be trusted with the streams, by what INFO says of its settings. Pure."""

from collections.abc import Mapping
from typing import NamedTuple

#: Sections of INFO that are judged.
SECTIONS = ("server", "memory", "persistence", "replication", "stats")

_OLDEST = (6, 2)


class Fitness(NamedTuple):
    """What is to be said of a server."""

    refusal: str | None = None  # it must not be used
    trouble: str | None = None  # it cannot be used now
    warnings: tuple[str, ...] = ()
    evicts_leases: bool = False  # and has done so: a worker without a lease may well be alive


def judge(facts: Mapping[str, str]) -> Fitness:
    """Return what the facts of INFO say; what a server does not tell is taken as fit."""
    policy, version = facts.get("maxmemory_policy", "noeviction"), facts.get("redis_version", "")
    refusal = trouble = None
    if policy.startswith("allkeys-"):
        refusal = f"eviction policy {policy} deletes whole streams: expected maxmemory-policy noeviction"
    elif _is_older(version):
        refusal = f"Redis {version}: expected 6.2 or later"
    if facts.get("role") == "slave" and facts.get("slave_read_only", "1") == "1":
        of = f"{facts.get('master_host', '?')}:{facts.get('master_port', '?')}"
        trouble = f"the server is a replica of {of} and takes no writes: expected its primary"
    can_evict = policy.startswith("volatile-") and facts.get("maxmemory", "0") != "0"
    return Fitness(
        refusal, trouble, tuple(_warnings(facts, policy if can_evict else None)),
        evicts_leases=can_evict and facts.get("evicted_keys", "0") != "0",
    )  # fmt: skip


def _warnings(facts: Mapping[str, str], evicting_policy: str | None) -> list[str]:
    found = []
    if facts.get("aof_enabled") == "0":
        found.append("appendonly is off: a crash of the server loses what it had not saved")
    if facts.get("aof_last_write_status", "ok") != "ok":
        found.append("the server cannot write its append-only file: look at its log and its disk")
    if evicting_policy:
        found.append(
            f"eviction policy {evicting_policy} removes the workers' leases once the memory is full, since nothing "
            "else expires: others then take a live worker for dead. Set maxmemory-policy noeviction"
        )
    return found


def _is_older(version: str) -> bool:
    """Tell whether a version is one that lacks what is used; one that cannot be read is not."""
    parts = version.split(".")[:2]
    return len(parts) == 2 and all(part.isdecimal() for part in parts) and tuple(map(int, parts)) < _OLDEST
