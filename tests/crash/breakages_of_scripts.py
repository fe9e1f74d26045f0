"""Deliberate breakages of scripts other than the commit: their first writes, and what they look at before it."""

from collections.abc import Iterator

from tests.crash.breakage import Breakage, Edit

_GUARDS = "tests/server/test_script_guards.py"
_FULL = f"{_GUARDS}::test_trap_23_a_full_server_lets_every_script_finish"
_WRONG = f"{_GUARDS}::test_trap_24_a_key_of_the_wrong_type_stops_a_script_before_its_first_write"
_NO_COUNT = f"{_GUARDS}::test_trap_24_a_counter_that_is_no_count_stops_a_script_before_its_first_write"
_BAD_EPOCH = f"{_GUARDS}::test_trap_14_an_epoch_that_does_not_count_on_stops_a_script_before_its_first_write"

#: The first write of a script, and the test on a full server.
_FIRST_WRITES = {
    "register": ("redis.call('HDEL', owners, '') -- allowed", f"{_FULL}[register]"),
    "arrive": ("redis.call('HDEL', owners, '') -- allowed", f"{_FULL}[arrive]"),
    "put_back": ("redis.call('HDEL', owners, '') -- allowed", f"{_FULL}[put_back]"),
    "take_over": ("redis.call('HDEL', owners, '') -- allowed", f"{_FULL}[take_over]"),
    "seize": ("redis.call('HDEL', owners, '') -- allowed", f"{_FULL}[seize]"),
    "forget": ("redis.call('HDEL', KEYS[1], '') -- allowed", f"{_FULL}[forget]"),
    "set_aside": ("redis.call('HDEL', owners, '') -- allowed", f"{_FULL}[set_aside]"),
    "dead_retry": (
        "redis.call('HDEL', ledger, '') -- allowed",
        "tests/server/test_dead_letters.py::test_on_a_full_server_letters_can_be_retried_and_dropped",
    ),
    "find_losses": (
        "redis.call('HDEL', watch, missing > 0 and '' or field) -- allowed",
        "tests/server/test_losses.py::test_a_full_server_can_be_looked_at",
    ),
    "rewind": (
        "redis.call('HDEL', owners, '') -- allowed",
        "tests/server/test_replay_live.py::test_a_full_server_lets_the_group_be_put_back",
    ),
}

#: The first type that a script looks at, and the test with keys of a wrong one. Others read all that they write.
_FIRST_TYPES = {
    "take_over": ("check_type(epoch_key, 'string')\n", f"{_WRONG}[take_over]"),
    "set_aside": ("check_type(owners, 'hash')\n", f"{_WRONG}[set_aside]"),
    "read_alone": ("check_type(owners, 'hash')\n", f"{_WRONG}[read_alone]"),
    "forgive": ("check_type(owners, 'hash')\n", f"{_WRONG}[forgive]"),
    "trim": (
        "check_type(ledger, 'hash')\n",
        "tests/server/test_retention.py::test_what_cannot_be_written_stops_the_trimming_before_it_begins",
    ),
}


def _script(name: str) -> str:
    return f"worker/stream/scripts/{name}.lua"


def _broken() -> Iterator[Breakage]:
    for name, (write, test) in _FIRST_WRITES.items():
        what = f"{name} begins with a write that a full server refuses"
        yield Breakage("23", what, (Edit(_script(name), write, "-- allowed"),), test)
    for name, (check, test) in _FIRST_TYPES.items():
        what = f"{name} looks at no type before its first write"
        unlooked = f"check_type = function() end\n{check}"
        yield Breakage("24", what, (Edit(_script(name), check, unlooked),), test)


BREAKAGES_OF_SCRIPTS = (
    *_broken(),
    Breakage(
        "24", "what HINCRBY refuses is taken for a count",
        (Edit(_script("checks"), "text == '0' or string.find(text, '^[1-9]%d*$') ~= nil", "tonumber(text) ~= nil"),),
        _NO_COUNT,
    ),
    Breakage(
        "14", "an epoch that a double does not hold is counted on",
        (Edit(_script("checks"), "epoch and epoch < 2 ^ 53 - 1 and epoch or nil", "epoch or nil"),),
        _BAD_EPOCH,
    ),
)  # fmt: skip
