"""What is said of a server by its settings."""

import pytest

from worker.stream.fitness import Fitness, judge

GOOD = {
    "redis_version": "7.2.4", "maxmemory": "0", "maxmemory_policy": "noeviction", "aof_enabled": "1",
    "aof_last_write_status": "ok", "role": "master", "evicted_keys": "0",
}  # fmt: skip


@pytest.mark.parametrize("facts", [{}, GOOD, GOOD | {"maxmemory": "100"}, GOOD | {"redis_version": "unstable"}])
def test_nothing_is_said_of_a_good_server_nor_of_what_it_does_not_tell(facts: dict[str, str]) -> None:
    assert judge(facts) == Fitness()


@pytest.mark.parametrize(
    ("facts", "refusal"),
    [
        ({"maxmemory_policy": "allkeys-lru"}, "allkeys-lru deletes whole streams: expected"),
        ({"redis_version": "6.0.16"}, "Redis 6.0.16: expected 6.2 or later"),
        ({"redis_version": "5.0.7"}, "Redis 5.0.7: expected 6.2 or later"),
        ({"redis_version": "6.2.0"}, None),
        ({"redis_version": "10.0"}, None),
    ],
)
def test_a_server_that_loses_streams_or_is_too_old_is_refused(facts: dict[str, str], refusal: str | None) -> None:
    found = judge(GOOD | facts).refusal
    assert found is None if refusal is None else refusal in str(found)


def test_a_replica_is_named_with_its_primary_unless_it_takes_writes() -> None:
    facts = GOOD | {"role": "slave", "master_host": "db1", "master_port": "6379", "slave_read_only": "1"}
    assert judge(facts).trouble == "the server is a replica of db1:6379 and takes no writes: expected its primary"
    assert judge(facts | {"slave_read_only": "0"}).trouble is None


@pytest.mark.parametrize(
    ("facts", "warning"),
    [
        ({"aof_enabled": "0"}, "appendonly is off"),
        ({"aof_last_write_status": "err"}, "cannot write its append-only file"),
        ({"maxmemory": "9", "maxmemory_policy": "volatile-lru"}, "volatile-lru removes the workers' leases"),
        ({"maxmemory": "9", "maxmemory_policy": "volatile-ttl"}, "Set maxmemory-policy noeviction"),
    ],
)
def test_what_can_hurt_is_warned_of(facts: dict[str, str], warning: str) -> None:
    [found] = judge(GOOD | facts).warnings
    assert warning in found


def test_leases_are_evicted_only_where_the_policy_can_and_did() -> None:
    volatile = GOOD | {"maxmemory": "9", "maxmemory_policy": "volatile-random", "evicted_keys": "3"}
    assert judge(volatile).evicts_leases
    for change in ({"maxmemory": "0"}, {"maxmemory_policy": "noeviction"}, {"evicted_keys": "0"}):
        assert not judge(volatile | change).evicts_leases
    assert judge(volatile | {"maxmemory": "0"}).warnings == ()
