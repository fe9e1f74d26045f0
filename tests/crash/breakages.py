"""Deliberate breakages: one per rule of the protocol, each with what must turn red (`python -m tests.crash --breakages`).

Each replaces text of the real code. The number is that of the interleaving which the rule prevents; where one rule is
the belt and another the braces, both are taken out. Rules 4, 25, 26 and 28 of publishing are the plugin's:
`haraka/plugin/test/breakages.js`. Rule 29, one janitor for a directory, is tested where the janitor is.
"""

from typing import NamedTuple


class Edit(NamedTuple):
    """Text of a file that has to stand there once, and what stands there instead."""

    file: str
    old: str
    new: str


class Search(NamedTuple):
    """Histories of the simulation, of which at least one must fail."""

    seed: int
    histories: int
    forgetful: bool = False


class Breakage(NamedTuple):
    """A rule taken out of the code."""

    rule: str
    what: str
    edits: tuple[Edit, ...]
    noticed_by: Search | str  # or a test by its node id
    is_fast: bool = False  # noticed within few seconds: part of the normal tests


_LOOP, _READER, _FILES, _FILE = "worker/loop.py", "worker/reader.py", "worker/files.py", "worker/accounting_file.py"
_COMMIT, _STREAM = "worker/stream/scripts/commit.lua", "worker/stream/stream.py"
_TAKE_OVER, _RETIRE = "worker/stream/scripts/take_over.lua", "worker/stream/scripts/retire.lua"
_DIRECTORY, _SCAN = "worker/directory.py", "worker/scan.py"
_SCRIPTS, _GUARDS, _FLEET, _SIMULATED = (
    "tests/server/test_scripts.py",
    "tests/server/test_script_guards.py",
    "tests/server/test_fleet.py",
    "tests/crash/test_simulation.py",
)
_GROUP = "tests/server/test_group_lost.py"
_LOST, _SEALED = "tests/loop/test_crashes_and_lost_replies.py", "tests/loop/test_sealed_files.py"
_SWAPPED = "tests/loop/test_swapped_files.py"

BREAKAGES = (
    Breakage(
        "1", "own pending entries are read while a batch is in hand",
        (
            Edit(
                _LOOP, "        batch = self._in_hand or self._reader.next_batch(wait=not wakes)\n",
                "        kept = self._in_hand\n        batch = self._reader.next_batch(wait=not wakes and not kept)\n"
                "        batch, kept = (batch, kept) if batch else (kept, None)\n",
            ),
            Edit(_LOOP, "        self._in_hand = following\n", "        self._in_hand = following or kept\n"),
        ),
        Search(1, 60),
    ),
    Breakage(
        "2", "entries are taken over without a new epoch for their owner",
        (Edit(_TAKE_OVER, "redis.call('HSET', owners, owner,", "local _ = ("),),
        Search(1, 60),
    ),
    Breakage(
        "2", "commits are not fenced",
        (Edit(_COMMIT, "~= epoch .. ' ' .. directory then", "== '' then"),),
        Search(1, 60),
    ),
    Breakage(
        "3", "entries are acknowledged before their rows are durable",
        (Edit(_FILES, "            self.open[event_type].sync()\n", ""),),
        Search(1, 60),
        is_fast=True,
    ),
    Breakage(
        "4", "the record is written apart from the acknowledgement",
        (
            Edit(_COMMIT, "redis.call('HSET', records, field, record)\n", ""),
            Edit(
                _STREAM, "        keys = self.keys\n        arguments: list[object] = []\n",
                "        keys = self.keys\n        arguments: list[object] = []\n"
                "        self._apart = (keys.records, f'{self._consumer} {directory}', records.encode(record))\n",
            ),
            Edit(
                _STREAM, '            case b"OK":\n                return\n',
                '            case b"OK":\n                self._link.call("HSET", *self._apart)\n                return\n',
            ),
        ),
        Search(1, 60),
    ),
    Breakage(
        "5, 13", "rows are appended before a record names their file",
        (
            Edit(
                _LOOP, "        self._commit_and_seal(record.next(files={**record.files, **new}, closing=old))\n",
                "        named = record.next(files={**record.files, **new}, closing=old)\n"
                "        if not old:\n            named = msgspec.structs.replace(named, batch=record.batch)\n"
                "            self._acknowledged(named)\n        else:\n            self._commit_and_seal(named)\n",
            ),
        ),
        Search(1, 60),
    ),
    Breakage(
        "6", "a copy of a commit that ran is done again",
        (Edit(_COMMIT, "stored_batch >= batch then", "false then"),),
        f"{_SCRIPTS}::test_a_commit_that_ran_before_changes_nothing",
    ),
    Breakage(
        "7, 8", "a commit whose reply was lost is sent again after the registration",
        (
            Edit(
                _LOOP, "        self._stream.send_commit(record, batch.parts)\n",
                "        self._sent = (record, batch.parts)\n        self._stream.send_commit(record, batch.parts)\n",
            ),
            Edit(
                _LOOP, "        plan = recovery.plan(self._record, registration.record)\n",
                "        if sent := self.__dict__.pop('_sent', None):\n            try:\n"
                "                self._stream.send_commit(*sent)\n                self._stream.receive_commit()\n"
                "                registration = registration._replace(record=sent[0])\n"
                "            except (Fenced, Behind):\n                pass\n"
                "        plan = recovery.plan(self._record, registration.record)\n",
            ),
        ),
        Search(1, 200),
    ),
    Breakage(
        "8", "files are cut to a length from memory",
        (
            Edit(
                "worker/recovery.py", "return Plan(theirs or _NONE, restore=False, lost_commits=0)\n    return",
                "return Plan(mine, restore=False, lost_commits=0)\n    return",
            ),
        ),
        Search(1, 60),
    ),
    Breakage(
        "9", "files are cut to an older record of a server that lost its tail",
        (Edit("worker/recovery.py", "    if (theirs or _NONE).batch >= mine.batch:", "    if theirs is not None:"),),
        f"{_LOST}::test_trap_9_a_server_that_lost_its_tail_gets_the_record_back_and_no_row_is_cut",
    ),
    Breakage(
        "10", "the scan reads the record of a file before it has the lock",
        (
            Edit(
                _SCAN, "            file = None if files.holds(name) else AccountingFile.adopt_orphan(path)\n",
                "            scan.early = None if files.holds(name) else fence.seize(event_type, name)\n"
                "            file = None if files.holds(name) else AccountingFile.adopt_orphan(path)\n",
            ),
            Edit(_SCAN, "    seized = fence.seize(event_type, file.path.name)\n", "    seized = scan.early\n"),
        ),
        Search(1, 400),
    ),
    Breakage(
        "10", "a new file has a name before it is locked",
        (
            Edit(_FILE, "            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)\n            write_all", "            write_all"),
            Edit(_FILE, "            os.link(temporary, path)\n", "            os.link(temporary, path)\n            fcntl.flock(descriptor, fcntl.LOCK_EX)\n"),
        ),
        f"{_SIMULATED}::test_trap_10_a_file_that_has_just_got_its_name_is_not_taken_for_an_orphan",
    ),
    Breakage(
        "10", "a new file is not locked",
        (Edit(_FILE, "            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)\n            write_all", "            write_all"),),
        Search(1, 60),
    ),
    Breakage(
        "11", "a recorded file is not compared with its name after it was locked",
        (
            Edit(
                _FILE, "        if file is not None and not file.is_still_there():", "        if False:",
            ),
        ),
        f"{_SIMULATED}::test_trap_11_a_file_that_was_sealed_between_its_opening_and_its_lock_is_not_taken_up_again",
    ),
    Breakage(
        "11", "an orphan is not compared with its name after it was locked",
        (
            Edit(
                _FILE, "        if orphan is not None and not orphan.is_still_there():", "        if False:",
            ),
        ),
        Search(1, 400),
    ),
    Breakage(
        "12", "two processes can have one name in one directory",
        (
            Edit(
                _DIRECTORY, "                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
                "                fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)\n",
            ),
        ),
        Search(1, 60),
    ),
    Breakage(
        "13", "a consumer whose record names a file is retired",
        (Edit(_RETIRE, "      return 'FILE ' .. file['name']\n", ""),),
        f"{_FLEET}::test_trap_13_a_consumer_with_files_or_pending_entries_is_not_retired",
    ),
    Breakage(
        "13", "a consumer with pending entries is retired",
        (Edit(_RETIRE, "    return 'PENDING ' .. KEYS[index]\n", ""),),
        f"{_FLEET}::test_trap_13_a_consumer_with_files_or_pending_entries_is_not_retired",
    ),
    Breakage(
        "14, 33", "an epoch that the server forgot is given out again",
        (Edit("worker/stream/scripts/register.lua", "math.max(last + 1, clock)", "last + 1"),),
        f"{_SCRIPTS}::test_trap_14_an_epoch_is_never_given_out_again_even_when_the_server_forgot_it",
    ),
    Breakage(
        "15", "a consumer's records in two directories are one",
        (
            Edit(_COMMIT, "local field = consumer .. ' ' .. directory", "local field = consumer"),
            Edit("worker/stream/scripts/register.lua", "KEYS[3], consumer .. ' ' .. directory)", "KEYS[3], consumer)"),
        ),
        f"{_SCRIPTS}::test_trap_15_records_are_kept_by_directory",
    ),
    Breakage(
        "16, 36", "a name is given out again once its file was unlinked",
        (Edit(_DIRECTORY, "Stamp.parse(known.last) or book.latest_in_use(", "book.latest_in_use("),),
        f"{_SEALED}::test_trap_16_the_name_of_an_unlinked_file_is_never_given_out_again",
    ),
    Breakage(
        "16", "a book of names that cannot be read is taken for an empty one",
        (Edit("worker/book.py", '        raise Unreadable(f"{path}: {error}") from error\n', "        return Book()\n"),),
        "tests/loop/test_book_of_names.py::test_a_book_that_cannot_be_read_is_told_kept_and_begun_anew",
    ),
    Breakage(
        "16", "a lost book of names is begun anew without a look at expired files",
        (Edit("worker/book.py", "(*standing, *(manifest.name for manifest in expired(place)))", "standing"),),
        "tests/loop/test_book_of_names.py::test_trap_16_no_name_is_used_twice_whatever_was_lost_and_wherever_the_clock_is_set",
    ),
    Breakage(
        "16", "an archived file of the same name is replaced",
        (Edit("worker/archive.py", "        os.link(path, target)\n    except FileExistsError:", "        target.unlink(missing_ok=True)\n        os.link(path, target)\n    except FileExistsError:"),),
        f"{_SEALED}::test_trap_16_a_file_of_the_same_name_in_the_archive_is_never_replaced",
    ),
    Breakage(
        "17", "a cut is not durable, nor made so before the seal",
        (
            Edit(_FILE, "            os.ftruncate(self._descriptor, self.state.length)\n            os.fsync(self._descriptor)\n", "            os.ftruncate(self._descriptor, self.state.length)\n"),
            Edit("worker/archive.py", "    file.sync()\n", ""),
            Edit("worker/archive.py", "    os.fsync(file.descriptor)\n", ""),
        ),
        Search(1, 400),
    ),
    Breakage(
        "18", "a rotated file is in no record until it is sealed",
        (Edit(_LOOP, "        self._commit(record)\n        self._acknowledged(record)\n        for closing", "        self._commit(msgspec.structs.replace(record, closing=[]))\n        self._acknowledged(record)\n        for closing"),),
        Search(1, 60),
        is_fast=True,
    ),
    Breakage(
        "19", "own pending entries are looked at only where there is nobody to take over from",
        (
            Edit(_READER, "        batch = self._own_pending()\n        if batch is None and", "        batch = self._own_pending() if not self._look_at else None\n        if batch is None and"),
            Edit(_READER, "            self._take_from_the_dead()\n            batch = self._own_pending()\n", "            self._take_from_the_dead()\n"),
        ),
        Search(1, 60),
    ),
    Breakage(
        "20", "a worker whose name was taken takes it back",
        (Edit("worker/stream/scripts/register.lua", "holder ~= directory then", "false then"),),
        f"{_LOST}::test_trap_20_a_worker_whose_name_was_taken_in_another_directory_ends_and_touches_no_file",
    ),
    Breakage(
        "20", "a lease is renewed without a look at who has the name",
        (Edit("worker/stream/scripts/lease.lua", "~= epoch .. ' ' .. directory then", "== '' then"),),
        f"{_LOST}::test_trap_20_an_idle_worker_whose_name_was_taken_ends_without_keeping_the_lease_alive_or_making_a_file",
    ),
    Breakage(
        "20", "a live holder of the name is not waited for",
        (Edit(_STREAM, 'if holder in {"", directory} or', "if True or"),),
        f"{_FLEET}::test_trap_20_a_live_holder_of_the_name_in_another_directory_is_waited_for",
    ),
    Breakage(
        "21", "the batch ahead is read from the own pending entries",
        (Edit(_READER, "        self._stream.request_new(self._size.entries, block=False)\n", "        self._stream._request(self._size.entries, (), ['0'] * 3)\n"),),
        Search(1, 60),
        is_fast=True,
    ),
    Breakage(
        "22", "the read ahead of a commit blocks",
        (Edit(_READER, "request_new(self._size.entries, block=False)", "request_new(self._size.entries, block=True)"),),
        "tests/loop/test_rows_reach_files.py::test_trap_22_no_commit_waits_behind_a_read_that_blocks",
    ),
    Breakage(
        "23", "a commit without entries begins with a write that a full server refuses",
        (Edit(_COMMIT, "redis.call('HDEL', owners, '') -- allowed", "-- allowed"),),
        f"{_SCRIPTS}::test_trap_23_a_worker_starts_on_a_full_server_drains_it_and_stops",
    ),
    Breakage(
        "24", "the type of the dead letters is not looked at before the first write",
        (Edit(_COMMIT, "check_type(dead, 'stream')\n", ""),),
        f"{_GUARDS}::test_trap_24_a_key_of_the_wrong_type_stops_a_script_before_its_first_write",
    ),
    Breakage(
        "24", "a counter that HINCRBY refuses is taken for one",
        (Edit(_COMMIT, "not is_count(counters[each])", "not tonumber(counters[each])"),),
        f"{_GUARDS}::test_trap_24_a_counter_that_is_no_count_stops_a_script_before_its_first_write",
    ),
    Breakage(
        "24", "entries are acknowledged before their dead letters are there",
        (
            Edit("worker/stream/scripts/set_aside.lua", "redis.call('XADD', dead,", "redis.call('XACK', stream, group, id)\nredis.call('XADD', dead,"),
        ),
        f"{_GUARDS}::test_trap_24_a_dead_letter_that_cannot_be_added_leaves_its_entry_unacknowledged",
    ),
    Breakage(
        "27", "a second bundled server is started on the same directory",
        (Edit("worker/server.py", "                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)\n", "                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)\n"),),
        "tests/server/test_command_line.py::test_trap_27_a_second_worker_attaches_to_the_running_server_of_the_directory",
    ),
    Breakage(
        "30", "a timer that fires late is skipped",
        (Edit("worker/schedule.py", '"misfire_grace_time": None', '"misfire_grace_time": 1'),),
        "tests/loop/test_timers.py::test_trap_30_a_job_that_is_late_by_an_hour_is_done_all_the_same",
    ),
    Breakage(
        "31", "a group that is gone is made again at the beginning",
        (Edit("worker/stream/setup.py", "        start = _acknowledged_through(link, keys, event_type)\n", ""),),
        f"{_LOST}::test_trap_31_a_group_that_is_gone_is_made_again_where_the_record_ends_not_at_the_beginning",
    ),
    Breakage(
        "31", "a worker that is gone for long holds back where the group goes on",
        (Edit("worker/stream/outdated.py", "for one in lately or current]", "for one in current]"),),
        f"{_GROUP}::test_the_record_of_a_worker_that_is_gone_for_long_does_not_hold_the_group_back",
    ),
    Breakage(
        "31", "a directory that its worker has left holds back where the group goes on",
        (Edit("worker/stream/outdated.py", " and not is_superseded(one, known)]", "]"),),
        f"{_GROUP}::test_the_record_of_a_directory_that_its_worker_has_left_does_not_hold_the_group_back",
    ),
    Breakage(
        "31", "a worker says nothing of what it is given before it has acknowledged some",
        (Edit(_LOOP, "msgspec.structs.replace(self._files.adopt(record), through=through)", "self._files.adopt(record)"),),
        f"{_GROUP}::test_entries_in_the_hand_of_a_worker_that_has_never_acknowledged_any_come_again_with_the_group",
    ),
    Breakage(
        "32", "a key that scripts name does not exist from the start",
        (Edit("worker/stream/setup.py", "keys.owners, keys.records, keys.watch)", "keys.owners, keys.watch)"),),
        f"{_SCRIPTS}::test_setting_up_twice_changes_nothing",
    ),
    Breakage(
        "34", "what a forgetful server delivers again is written again",
        (Edit(_READER, "        self._known = self._written.recall()\n", "        pass\n"),),
        f"{_FLEET}::test_trap_34_entries_that_a_forgetful_server_delivers_again_yield_no_second_row",
    ),
    Breakage(
        "34", "less than a batch is remembered",
        (Edit(_READER, "_REMEMBERED_BATCHES = 4 ", "_REMEMBERED_BATCHES = 0.05 "),),
        f"{_LOST}::test_trap_34_batches_of_any_size_that_a_forgetful_server_delivers_again_yield_no_second_row",
    ),
    Breakage(
        "34", "what was written is recalled only after the reply to the restoring commit",
        (
            Edit(_LOOP, "            self._reader.recall()  # before", "            # before"),
            Edit(
                _LOOP, "            self._commit(record, restore=True)\n",
                "            self._commit(record, restore=True)\n            self._reader.recall()\n",
            ),
        ),
        f"{_LOST}::test_trap_34_a_restoring_commit_whose_reply_is_lost_lets_nothing_be_written_twice",
    ),
    Breakage(
        "35", "an unnamed file with rows is unlinked",
        (Edit(_SCAN, "    if size > file.state.length:\n", "    if False:\n"),),
        f"{_FLEET}::test_trap_35_an_unnamed_file_with_rows_goes_to_recovered_and_not_to_the_archive",
    ),
    Breakage(
        "36", "a file is cleared from a record that has changed",
        (Edit("worker/stream/scripts/forget.lua", "~= ARGV[3] then", "== '' then"),),
        f"{_FLEET}::test_trap_36_forgetting_a_file_spares_the_record_of_a_consumer_that_is_back",
    ),
    Breakage(
        "step 16", "what is over is not cleared from the records of the dead",
        (Edit(_SCAN, " + _scan_records(directory, files, fence)\n", "\n"),),
        Search(1, 60),
    ),
    Breakage(
        "step 10", "a sealed file is cut where the server forgot its rows",
        (Edit(_FILES, "        if size > committed and is_sealed:\n", "        if False:\n"),),
        f"{_SEALED}::test_a_sealed_file_stays_whole_where_the_server_forgot_its_rows",
    ),
    Breakage(
        "step 5", "a file is not cut to its committed length",
        (Edit(_FILE, "            os.ftruncate(self._descriptor, self.state.length)\n", ""),),
        Search(1, 60),
    ),
    Breakage(
        "step 12", "the name of a new file is not durable before a record has it",
        (Edit(_FILE, "            temporary.unlink()\n            sync_directory(path.parent)\n", "            temporary.unlink()\n"),),
        Search(1, 60),
    ),
    Breakage(
        "step 16", "an orphan whose end is interrupted stays locked",
        (Edit(_SCAN, "                with file:  # whatever", "                if True:  # whatever"),),
        f"{_SEALED}::test_an_orphan_that_could_not_be_sealed_at_first_is_sealed_with_the_next_look",
    ),
    Breakage(
        "step 13", "a file is written on after an fsync of it failed",
        (Edit(_LOOP, "dict.fromkeys(doubted, Reason.DISK) | ", ""),),
        "tests/loop/test_disk.py::test_a_file_whose_fsync_failed_is_cut_sealed_and_never_written_on",
    ),
    Breakage(
        "17", "an fsync that failed is done again, as if the kernel knew what it did not write",
        (
            Edit(_FILE, "            if self.is_doubted:\n                os.ftruncate(self._descriptor, self.state.length + 1)\n", ""),
        ),
        "tests/crash/test_bad_disks.py::test_trap_17_a_cut_whose_fsync_failed_is_durable_before_the_file_is_sealed",
    ),
    Breakage(
        "17", "a cut that an earlier process made is taken for durable",
        (Edit(_FILES, "        if size > committed or (file.is_doubted and not is_sealed):", "        if size > committed:"),),
        "tests/crash/test_bad_disks.py::test_trap_17_a_cut_whose_fsync_failed_is_durable_before_the_file_is_sealed",
    ),
    Breakage(
        "step 14", "what has replaced an open file is sealed in its place",
        (
            Edit(_FILES, "        file.require_still_there()\n        file.cut()\n", "        file.cut()\n"),
            Edit("worker/archive.py", "            file.require_still_there()\n", ""),
            Edit("worker/archive.py", "    if not file.stands_at(place):\n", "    if False:\n"),
        ),
        f"{_SWAPPED}::test_a_quiet_file_that_was_replaced_is_kept_aside_when_it_ends_and_the_other_one_stays",
    ),
)  # fmt: skip
