"""Deliberate breakages of what deletes: by copies that are none, and by clocks that were set.

They are no traps of the protocol, so their rules have words in place of numbers.
"""

from typing import NamedTuple

from tests.crash.breakage import Breakage, Edit

_STORES, _ELSEWHERE, _AGES = (f"tests/janitor/test_{name}.py" for name in ("stores", "elsewhere", "ages"))
_SERVER, _TIMERS = "tests/clocks/test_server_clock.py", "tests/clocks/test_timers.py"
_EXPIRE, _COPIES, _GUARD, _STORE = (
    f"worker/janitor/{name}.py" for name in ("expire", "copies", "elsewhere", "store")
)  # fmt: skip


class _Broken(NamedTuple):
    what: str
    file: str
    old: str
    new: str
    test: str


_COPIES_THAT_ARE_NONE = (
    _Broken(
        "the store is not asked while the file is away from its name",
        _EXPIRE, "copies.require_without(stored, aside)", "pass",
        f"{_STORES}::test_a_store_that_serves_the_directory_itself_gives_no_copy",
    ),
    _Broken(
        "the store is not asked before a file goes", _EXPIRE, "stored = copies.prove(stored, place)", "pass",
        f"{_STORES}::test_a_store_that_was_emptied_gets_the_file_again_before_it_goes",
    ),
    _Broken(
        "a file that is not as it was sealed expires",
        "worker/janitor/held.py", "or durable.digest(path) != form.sha256", "",
        f"{_ELSEWHERE}::test_a_file_that_is_not_as_it_was_sealed_never_expires",
    ),
    _Broken(
        "content that a death left away from its name stays there",
        _EXPIRE, "if entry.name.startswith(_ASIDE) and", "if False and",
        f"{_STORES}::test_a_death_while_a_file_is_away_from_its_name_gives_it_back",
    ),
    _Broken(
        "a copy of the same size is one",
        _COPIES, "if (head.bytes, head.etag) == (form.bytes, etag) and etag and", "if head.bytes == form.bytes and",
        f"{_STORES}::test_a_copy_that_was_replaced_since_keeps_the_file_here",
    ),
    _Broken(
        "the file by another name is a copy", _GUARD, "return facts[0] == facts[1]", "return False",
        f"{_ELSEWHERE}::test_an_object_that_is_the_file_by_another_name_is_no_copy",
    ),
    _Broken(
        "a store that is not mounted is written into", _GUARD, "if url in marks and found != marks[url]:", "if False:",
        f"{_ELSEWHERE}::test_a_store_whose_volume_is_not_mounted_is_not_written_into",
    ),
    _Broken(
        "an archive that is the location is another place",
        "worker/janitor/move.py", "if place.archive.samefile(place.open):", "if False:",
        f"{_ELSEWHERE}::test_an_archive_that_is_the_location_itself_takes_no_file_and_nothing_goes",
    ),
    _Broken(
        "an object is put over another one where the store does not say what is there",
        _STORE, "                if not is_free:\n", "                if False:\n",
        f"{_STORES}::test_where_it_cannot_that_is_told_once_and_the_file_stays_until_it_can",
    ),
)  # fmt: skip

_CLOCKS = (
    _Broken(
        "timers wait for a wall clock that was set back", "worker/timers.py", "        self._follow_the_clock()\n", "",
        f"{_TIMERS}::test_jobs_go_on_wherever_the_wall_clock_is_set",
    ),
    _Broken(
        "a job that hangs keeps the process from ending", "worker/timers.py", "daemon=True", "daemon=False",
        f"{_TIMERS}::test_a_job_that_hangs_is_told_once_and_holds_up_neither_the_others_nor_the_end",
    ),
    _Broken(
        "passed time goes by the wall clock over a restart", "worker/passed_time.py",
        "min(max(0, reading.wall_ms - last.wall_ms), _UNSEEN_MS)", "max(0, reading.wall_ms - last.wall_ms)",
        f"{_AGES}::test_days_in_which_the_machine_was_off_do_not_count_and_files_go_after_a_month_of_running",
    ),
    _Broken(
        "a file is as old as its manifest says, always",
        "worker/janitor/sightings.py",
        "            if known is None\n", "            if known is None or stored.path.name not in known\n",
        f"{_AGES}::test_a_clock_that_was_behind_while_a_file_was_sealed_makes_it_no_older_once_it_is_right",
    ),
    _Broken(
        "a lost line of time begins at the wall clock",
        "worker/janitor/line.py", "self._last = begin(reading, at_ms)", "self._last = begin(reading)",
        f"{_AGES}::test_what_the_janitor_remembers_can_be_lost_while_the_clock_is_ahead_and_no_file_goes",
    ),
    _Broken(
        "consumers are silent by a clock that was set", "worker/stream/retirement.py",
        "if not is_steady(link, keys, silent_days * outdated.DAY_MS, clocks):", "if False:",
        f"{_SERVER}::test_producers_and_consumers_are_not_silent_because_the_clock_is_ahead_and_are_after_as_long",
    ),
    _Broken(
        "a stream that was made anew is trimmed by its old ids",
        "worker/stream/id_ages.py", "is_made_anew = ages.notes and", "is_made_anew = False and",
        f"{_SERVER}::test_a_stream_that_was_made_anew_after_the_clock_was_ahead_is_not_trimmed_by_its_old_ids",
    ),
    _Broken(
        "a lost group goes on by a clock that was set", "worker/stream/outdated.py",
        "return server_ms(link) if is_steady(link, keys, _LONG_MS) else None", "return server_ms(link)",
        f"{_SERVER}::test_a_group_that_is_gone_goes_on_where_every_worker_was_while_nobody_can_tell_who_is_gone_for_long",
    ),
)  # fmt: skip

BREAKAGES_OF_TIME_AND_COPIES = tuple(
    Breakage(rule, each.what, (Edit(each.file, each.old, each.new),), each.test)
    for rule, broken in (("copies", _COPIES_THAT_ARE_NONE), ("clocks", _CLOCKS))
    for each in broken
)
