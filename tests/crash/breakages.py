"""Deliberate breakages: one per rule of the protocol, each with what must turn red (`python -m tests.crash --breakages`).

Each replaces text of the real code. The number is that of the interleaving which the rule prevents; where one rule is
the belt and another the braces, both are taken out. Rules 25, 26 and 28 are the plugin's:
`haraka/plugin/test/breakages.js`. docs/traps.md says which test shows which trap.
"""

from tests.crash.breakage import Breakage, Edit, Search
from tests.crash.breakages_of_knowledge import BREAKAGES_OF_KNOWLEDGE
from tests.crash.breakages_of_scripts import BREAKAGES_OF_SCRIPTS
from tests.crash.breakages_of_time_and_copies import BREAKAGES_OF_TIME_AND_COPIES

_LOOP, _READER, _FILES, _FILE = "worker/loop.py", "worker/reader.py", "worker/files.py", "worker/accounting_file.py"
_COMMIT, _STREAM = "worker/stream/scripts/commit.lua", "worker/stream/stream.py"
_TAKE_OVER, _RETIRE = "worker/stream/scripts/take_over.lua", "worker/stream/scripts/retire.lua"
_REGISTER, _SEIZE = "worker/stream/scripts/register.lua", "worker/stream/scripts/seize.lua"
_SCAN, _JOINING, _JOURNAL, _MENDING = "worker/scan.py", "worker/joining.py", "worker/journal.py", "worker/mending.py"
_SCRIPTS, _GUARDS, _FLEET, _SIMULATED = (
    "tests/server/test_scripts.py",
    "tests/server/test_script_guards.py",
    "tests/server/test_fleet.py",
    "tests/crash/test_simulation.py",
)
_GROUP = "tests/server/test_group_lost.py"
_LOST, _SEALED = "tests/loop/test_crashes_and_lost_replies.py", "tests/loop/test_sealed_files.py"
_SWAPPED = "tests/loop/test_swapped_files.py"
_TRAPS, _ROLLBACK, _REPLICAS = (
    "tests/crash/test_traps.py",
    "tests/server/test_rollback.py",
    "tests/server/test_replicas.py",
)

#: The braces of what keeps two from having one entry: a commit looks at who has its entries.
_TAKES_ANY = Edit(
    _COMMIT, "  local mine = pending_of(key)\n", "  if true then return true end\n  local mine = pending_of(key)\n"
)

BREAKAGES = (
    Breakage(
        "1", "what the dead left is claimed while own entries are uncommitted",
        (
            Edit(
                _READER, "        if batch.pending or self._is_time_to_look():\n            return False\n",
                "        if self._is_time_to_look():\n"
                "            self._look_at = self._monotonic() + self._look_every_seconds\n"
                "            self._take_from_the_dead()\n"
                "            self._stream._request(self._size.entries, (), ['0'] * 3)\n            return True\n",
            ),
            _TAKES_ANY,
        ),
        (f"{_TRAPS}::test_trap_1_what_the_dead_left_is_claimed_only_after_the_own_entries_are_committed", Search(1, 200)),
    ),
    Breakage(
        "21", "own pending entries are read while a batch is in hand",
        (
            Edit(
                _LOOP, "        batch = self._in_hand or self._reader.next_batch(wait=not wakes)\n",
                "        kept = self._in_hand\n        batch = self._reader.next_batch(wait=not wakes and not kept)\n"
                "        batch, kept = (batch, kept) if batch else (kept, None)\n",
            ),
            _TAKES_ANY,
            Edit(
                _LOOP, "        self._in_hand = self._commit_batch(batch, states, entries)\n",
                "        self._in_hand = self._commit_batch(batch, states, entries) or kept\n",
            ),
        ),
        Search(1, 60),
    ),
    Breakage(
        "2", "entries are taken over without a new epoch for their owner",
        (Edit(_TAKE_OVER, "redis.call('HSET', owners, owner,", "local _ = ("), _TAKES_ANY),
        f"{_TRAPS}::test_trap_2_a_commit_of_entries_that_were_taken_over_is_refused",
    ),
    Breakage(
        "2", "the entries of a consumer whose lease lives are taken over",
        (Edit(_TAKE_OVER, "if redis.call('EXISTS', lease) == 1 then", "if false then"),),
        f"{_TRAPS}::test_trap_2_a_consumer_that_renews_its_lease_before_the_take_over_is_not_fenced",
    ),
    Breakage(
        "2", "a file is seized without a new epoch for its consumer",
        (Edit(_SEIZE, "    redis.call('HSET', owners, consumer,", "    local _ = ("),),
        f"{_TRAPS}::test_trap_2_a_commit_that_was_on_its_way_when_its_file_was_seized_is_refused",
    ),
    Breakage(
        "2", "commits are not fenced",
        (Edit(_COMMIT, "~= epoch .. ' ' .. directory or", "== '' or"), _TAKES_ANY),
        Search(61, 60),
    ),
    Breakage(
        "3", "entries are acknowledged before their rows are durable",
        (Edit(_FILES, "            file.sync()\n", ""),),
        (f"{_TRAPS}::test_trap_3_rows_are_durable_before_their_entries_are_acknowledged", Search(1, 60)),
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
                _STREAM, '            case [b"OK", history]:\n',
                '            case [b"OK", history]:\n                self._link.call("HSET", *self._apart)\n',
            ),
        ),
        (f"{_TRAPS}::test_trap_4_the_record_counts_a_row_as_soon_as_its_entry_is_acknowledged", Search(1, 60)),
    ),
    Breakage(
        "5", "rows are appended before a record names their file",
        (
            Edit(
                _LOOP, "        self._commit_and_seal(record.next(files={**record.files, **new}, closing=old))\n",
                "        named = record.next(files={**record.files, **new}, closing=old)\n"
                "        if not old:\n            named = msgspec.structs.replace(named, batch=record.batch)\n"
                "            self._acknowledged(named)\n        else:\n            self._commit_and_seal(named)\n",
            ),
        ),
        (
            f"{_TRAPS}::test_trap_5_a_record_names_a_file_before_its_first_row_and_a_scan_finds_no_other_with_rows",
            Search(1, 60),
        ),
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
                _LOOP, "            self._stream.send_commit(record, batch.parts, ahead=entries)\n",
                "            self._stream.sent = (record, batch.parts)\n"
                "            self._stream.send_commit(record, batch.parts)\n",
            ),
            Edit(
                _JOINING, "        plan = recovery.plan(mine, registration.record)\n",
                "        if sent := self._stream.__dict__.pop('sent', None):\n            try:\n"
                "                self._stream.send_commit(*sent)\n                self._stream.receive_commit()\n"
                "                registration = registration._replace(record=sent[0])\n"
                "            except Exception:\n                pass\n"
                "        plan = recovery.plan(mine, registration.record)\n",
            ),
            _TAKES_ANY,
        ),
        (f"{_TRAPS}::test_trap_7_a_commit_is_not_sent_again_under_the_epoch_of_a_new_registration", Search(1, 200)),
    ),
    Breakage(
        "8", "files are cut to a length from memory",
        (
            Edit(
                "worker/recovery.py", "return Plan(theirs or _NONE, restore=False, lost_commits=0)\n    return",
                "return Plan(mine, restore=False, lost_commits=0)\n    return",
            ),
        ),
        (
            f"{_TRAPS}::test_trap_8_a_row_whose_commit_ran_unheard_stays_when_another_took_over_what_was_read_ahead",
            Search(1, 60),
        ),
    ),
    Breakage(
        "8", "the record is read before the registration",
        (
            Edit(
                _JOINING, "            return self._stream.register(self._directory.id, self._shown(self._directory.identity()), renew=True)\n",
                "            from worker import records\n            link, keys = self._stream._link, self._stream.keys\n"
                "            early = link.call('HGET', keys.records, f'{self._directory.consumer} {self._directory.id}')\n"
                "            found = self._stream.register(self._directory.id, self._shown(self._directory.identity()), renew=True)\n"
                "            return found._replace(record=records.decode(early))\n",
            ),
        ),
        f"{_TRAPS}::test_trap_8_a_commit_that_runs_late_just_before_the_registration_counts",
    ),
    Breakage(
        "9", "a commit is accepted though the server has forgotten the one before it",
        (Edit(_COMMIT, "if restore ~= '1' and stored_batch < batch - 1 then", "if false then"),),
        f"{_SCRIPTS}::test_a_server_that_lost_commits_answers_behind_until_the_record_is_put_back",
    ),
    Breakage(
        "9", "a commit that was refused because the server is behind counts as done",
        (Edit(_STREAM, '            case [b"BEHIND"]:\n                raise Behind\n', '            case [b"BEHIND"]:\n                return\n'),),
        f"{_LOST}::test_trap_9_a_server_that_lost_its_tail_gets_the_record_back_and_no_row_is_cut",
    ),
    Breakage(
        "9", "what is cut off is not kept aside",
        (Edit(_MENDING, "        kept = salvage.keep_tail(directory.path, file, in_doubt=in_doubt)\n        level", "        kept = None\n        level"),),
        "tests/crash/test_traps_of_forgetting.py::test_trap_58_what_was_acknowledged_unheard_and_forgotten_is_kept_and_said_to_be_in_doubt",
    ),
    Breakage(
        "9", "files are cut to an older record of a server that lost its tail",
        (Edit("worker/recovery.py", "    if (theirs or _NONE).batch >= mine.batch:", "    if theirs is not None:"),),
        (
            f"{_ROLLBACK}::test_trap_9_rows_that_were_acknowledged_stay_where_the_server_forgot_them_and_lost_the_reply_to_the_last_commit",
            Search(50, 300, "forgetful"),
        ),
    ),
    Breakage(
        "10", "the scan reads the record of a file before it has the lock",
        (
            Edit(
                _SCAN, "            file = None if files.holds(name) else AccountingFile.adopt_orphan(path)\n",
                "            scan.early = None if files.holds(name) else fence.seize(event_type, name)\n"
                "            file = None if files.holds(name) else AccountingFile.adopt_orphan(path)\n",
            ),
            Edit(_SCAN, "    seized = fence.seize(event_type, name)\n    if seized is None and (", "    seized = scan.early\n    if seized is None and ("),
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
                _FILE, "        if not file.stands_at(file.path) or not file.is_the_recorded_one():", "        if False:",
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
        f"{_TRAPS}::test_trap_11_an_orphan_that_its_owner_sealed_before_it_was_locked_is_left_alone",
    ),
    Breakage(
        "12", "two processes can have one name in one directory",
        (
            Edit(
                "worker/locks.py", "                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
                "                fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)\n",
            ),
        ),
        f"{_TRAPS}::test_trap_12_a_second_process_of_the_name_in_the_directory_ends_before_it_registers",
    ),
    Breakage(
        "13", "a consumer whose record names a file is retired",
        (Edit(_RETIRE, "      return 'FILE ' .. name_in(file)\n", ""),),
        f"{_FLEET}::test_trap_13_a_consumer_with_files_or_pending_entries_is_not_retired",
    ),
    Breakage(
        "13", "a consumer with pending entries is retired",
        (Edit(_RETIRE, "    return 'PENDING ' .. KEYS[index]\n", ""),),
        f"{_FLEET}::test_trap_13_a_consumer_with_files_or_pending_entries_is_not_retired",
    ),
    Breakage(
        "13", "a consumer whose rotated file is not sealed is retired",
        (Edit(_RETIRE, "      return 'FILE ' .. name_in(type(closing) == 'table' and closing['file'])\n", ""),),
        f"{_FLEET}::test_trap_13_a_consumer_whose_rotated_file_is_not_sealed_is_not_retired",
    ),
    Breakage(
        "14", "the last epoch is forgotten with a retired consumer, and its clock is not looked at",
        (
            Edit(_RETIRE, "redis.call('HDEL', owners, consumer)\n", "redis.call('HDEL', owners, consumer)\nredis.call('SET', (string.gsub(owners, 'owners$', 'epoch')), 0)\n"),
            Edit(_REGISTER, "math.max(last + 1, tonumber(time[1]) * 1000000 + tonumber(time[2]))", "last + 1"),
        ),
        f"{_ROLLBACK}::test_trap_14_a_commit_from_before_the_consumer_was_retired_is_refused",
    ),
    Breakage(
        "14, 33", "an epoch that the server forgot is given out again",
        (Edit(_REGISTER, "math.max(last + 1, tonumber(time[1]) * 1000000 + tonumber(time[2]))", "last + 1"),),
        (
            f"{_SCRIPTS}::test_trap_14_an_epoch_is_never_given_out_again_even_when_the_server_forgot_it",
            f"{_ROLLBACK}::test_trap_33_a_server_that_forgot_an_epoch_gives_out_another_one_and_refuses_a_late_commit_of_the_old_one",
        ),
    ),
    Breakage(
        "33", "an epoch that the server forgot is given out again by a take-over",
        (Edit(_TAKE_OVER, "math.max(last + 1, tonumber(now[1]) * 1000000 + tonumber(now[2]))", "last + 1"),),
        f"{_ROLLBACK}::test_trap_33_whoever_fences_another_gives_out_no_epoch_again_that_the_server_forgot[take_over]",
    ),
    Breakage(
        "33", "an epoch that the server forgot is given out again by a seizure",
        (Edit(_SEIZE, "math.max(last + 1, tonumber(now[1]) * 1000000 + tonumber(now[2]))", "last + 1"),),
        f"{_ROLLBACK}::test_trap_33_whoever_fences_another_gives_out_no_epoch_again_that_the_server_forgot[seize]",
    ),
    Breakage(
        "15", "a consumer's records in two directories are one",
        (
            Edit(_COMMIT, "local field = consumer .. ' ' .. directory", "local field = consumer"),
            Edit(_REGISTER, "redis.call('HGET', records, consumer .. ' ' .. directory)", "redis.call('HGET', records, consumer)"),
        ),
        f"{_SCRIPTS}::test_trap_15_records_are_kept_by_directory",
    ),
    Breakage(
        "16, 36", "a name is given out again once its file was unlinked",
        (Edit("worker/location.py", "Stamp.parse(known.last) or book.latest_in_use(", "book.latest_in_use("),),
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
        f"{_TRAPS}::test_trap_17_a_tail_that_was_cut_by_one_who_died_does_not_come_back_in_a_sealed_file",
    ),
    Breakage(
        "17", "a file is sealed without making its cut durable first",
        (
            Edit("worker/archive.py", "    file.sync()\n", ""),
            Edit(_FILE, "        file.is_doubted = bool(os.fstat(descriptor).st_mode & stat.S_IWUSR)\n", ""),
        ),
        f"{_TRAPS}::test_trap_17_a_tail_that_was_cut_by_one_who_died_does_not_come_back_in_a_sealed_file",
    ),
    Breakage(
        "18", "a rotated file is in no record until it is sealed",
        (Edit(_LOOP, "        self._commit(record)\n        self._journal.sync()  # which", "        self._commit(msgspec.structs.replace(record, closing=[]))\n        self._journal.sync()  # which"),),
        Search(1, 60),
        is_fast=True,
    ),
    Breakage(
        "19", "own pending entries are looked at only where there is nobody to take over from",
        (
            Edit(_READER, "        batch = self._own_pending()\n        if batch is None and", "        batch = self._own_pending() if not self._look_at else None\n        if batch is None and"),
            Edit(_READER, "            self._take_from_the_dead()\n            batch = self._own_pending()\n", "            self._take_from_the_dead()\n"),
        ),
        (f"{_TRAPS}::test_trap_19_entries_that_a_late_request_brings_are_found_by_the_one_that_goes_on", Search(1, 60)),
    ),
    Breakage(
        "20", "a worker whose name was taken takes it back",
        (Edit(_REGISTER, "if renew and home_of(owner) and home_of(owner) ~= directory then", "if false then"),),
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
        (
            Edit(_READER, "        self._stream.request_new(self._size.entries, block=False)\n", "        self._stream._request(self._size.entries, (), ['0'] * 3)\n"),
            _TAKES_ANY,
        ),
        (f"{_TRAPS}::test_trap_21_own_entries_are_not_read_while_a_batch_is_uncommitted", Search(1, 60)),
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
        (Edit(_COMMIT, "not is_count(value)", "not tonumber(value)"),),
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
        (Edit("worker/server.py", "        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)\n", "        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)\n"),),
        "tests/server/test_command_line.py::test_trap_27_a_second_worker_attaches_to_the_running_server_of_the_directory",
    ),
    Breakage(
        "29", "a directory has several janitors at a time",
        (Edit("worker/janitor/lock.py", "fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)", "fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)"),),
        "tests/janitor/test_steps.py::test_trap_29_a_second_janitor_keeps_off_while_the_first_one_uploads_what_it_compressed",
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
        (Edit(_JOINING, "        adopted = msgspec.structs.replace(adopted, through=self._stream.acknowledged_through())\n", ""),),
        f"{_GROUP}::test_entries_in_the_hand_of_a_worker_that_has_never_acknowledged_any_come_again_with_the_group",
    ),
    Breakage(
        "32", "a key that scripts name does not exist from the start",
        (Edit("worker/stream/setup.py", "keys.owners, keys.records, keys.watch, keys.directories", "keys.owners, keys.watch, keys.directories"),),
        f"{_SCRIPTS}::test_trap_32_every_key_that_scripts_name_exists_from_the_start",
    ),
    Breakage(
        "32", "an error that the server answers ends the worker",
        (Edit("worker/stream/link.py", "class Refused(StreamUnavailable):", "class Refused(AccountingError):"), Edit("worker/stream/link.py", "from worker.errors import StreamUnavailable\n", "from worker.errors import AccountingError, StreamUnavailable\n")),
        "tests/server/test_cluster.py::test_trap_32_a_node_without_slots_is_waited_for",
    ),
    Breakage(
        "34", "what a forgetful server delivers again is written again",
        (Edit(_JOINING, "self._written_here() if self._stream.compares else", "Counter[str]() if self._stream.compares else"),),
        (
            f"{_FLEET}::test_trap_34_entries_that_a_forgetful_server_delivers_again_yield_no_second_row",
            Search(50, 300, "forgetful"),
        ),
    ),
    Breakage(
        "34", "a batch whose commit ran unheard is not remembered",
        (
            Edit(
                _JOURNAL, "                if intent and record.batch >= intent.commit:\n",
                "                if isinstance(line, Acknowledged) and intent and record.batch >= intent.commit:\n",
            ),
        ),
        f"{_LOST}::test_trap_34_a_batch_whose_commit_ran_unheard_yields_no_second_row_where_the_server_forgets_it_later",
    ),
    Breakage(
        "34", "a batch whose commit did not run is remembered",
        (Edit(_JOURNAL, "                if intent and record.batch >= intent.commit:\n", "                if intent:\n"),),
        f"{_LOST}::test_trap_34_a_batch_whose_commit_did_not_run_is_written_again_where_the_server_forgets_more_later",
    ),
    Breakage(
        "34", "less than a batch is remembered",
        (Edit(_JOURNAL, "_WINDOW_MS = 600_000 ", "_WINDOW_MS = -1 "),),
        f"{_LOST}::test_trap_34_batches_of_any_size_that_a_forgetful_server_delivers_again_yield_no_second_row",
    ),
    Breakage(
        "34, 48", "a record that is put back does not say that the server forgot",
        (Edit(_COMMIT, "  begin_history(history)\n  compare(history, written)\n", ""),),
        (
            f"{_LOST}::test_trap_34_a_restoring_commit_whose_reply_is_lost_lets_nothing_be_written_twice",
            "tests/crash/test_traps_of_forgetting.py::test_trap_48_a_batch_that_is_sent_again_without_a_gap_yields_no_second_row",
        ),
    ),
    Breakage(
        "35", "an unnamed file with rows is unlinked",
        (Edit(_SCAN, "        files.seal_in_doubt(event_type, file)\n", "        discard(file)\n"),),
        f"{_FLEET}::test_an_unnamed_file_without_a_journal_is_sealed_as_it_stands_and_told_to_be_in_doubt",
    ),
    Breakage(
        "35", "what the journal of a dead worker knows is not put back before its files are ended",
        (Edit(_JOINING, "            put_back_forgotten()\n", ""),),
        f"{_FLEET}::test_trap_35_what_the_journal_of_a_dead_worker_does_not_prove_of_an_unnamed_file_is_kept_aside_and_not_sealed",
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
        (Edit(_MENDING, "    if size != committed and is_sealed:\n", "    if False:\n"),),
        f"{_SEALED}::test_a_sealed_file_stays_whole_where_the_server_forgot_its_rows",
    ),
    Breakage(
        "step 10", "a commit counts that too few replicas have",
        (Edit(_STREAM, "            self._require_replicas(self._link.receive())\n", "            self._link.receive()\n"),),
        f"{_REPLICAS}::test_a_commit_that_too_few_replicas_have_does_not_count_as_acknowledged",
    ),
    Breakage(
        "step 10", "a record is adopted that too few replicas have",
        (Edit(_STREAM, '            self._require_replicas(self._link.call("WAIT", wanted, self._settings.wait_ms))\n', "            pass\n"),),
        f"{_REPLICAS}::test_a_record_that_too_few_replicas_have_is_not_adopted",
    ),
    Breakage(
        "step 14", "the lock of a sealed file is given up while the record still names the file",
        (Edit(_FILES, "            self._sealed[closing.file.name] = file\n", "            file.close()\n"),),
        f"{_SEALED}::test_a_file_that_was_just_sealed_is_not_seized_while_the_record_names_it",
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
        (Edit(_LOOP, "self._renew(doubted | dict.fromkeys", "self._renew(dict.fromkeys"),),
        "tests/loop/test_disk.py::test_a_file_whose_fsync_failed_is_cut_sealed_and_never_written_on",
    ),
    Breakage(
        "disk", "after trouble with the disk an idle worker is taken for well",
        (Edit(_LOOP, "            self._directory.prove_writable(self._batch_bytes)\n", "            pass\n"),),
        "tests/loop/test_bad_disk.py::test_a_worker_that_cannot_write_takes_nothing_is_not_healthy_and_goes_on_once_it_can",
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
        (Edit(_MENDING, "    if size > committed or (file.is_doubted and not is_sealed):", "    if size > committed:"),),
        "tests/crash/test_bad_disks.py::test_trap_17_a_cut_whose_fsync_failed_is_durable_before_the_file_is_sealed",
    ),
    Breakage(
        "step 14", "what has replaced an open file is sealed in its place",
        (
            Edit(_FILES, "        file.require_still_there()\n        file.require_size(file.state.length)\n        file.cut()\n", "        file.cut()\n"),
            Edit(_FILES, "            file.require_still_there()\n            file.require_size(file.state.length)\n", "            pass\n"),
            Edit("worker/archive.py", "            file.require_still_there()\n", ""),
            Edit("worker/archive.py", "    if not file.stands_at(place) and not _is_copied(file, place):\n", "    if False:\n"),
        ),
        f"{_SWAPPED}::test_a_quiet_file_that_was_replaced_is_kept_aside_when_it_ends_and_the_other_one_stays",
    ),
    *BREAKAGES_OF_SCRIPTS,
    *BREAKAGES_OF_KNOWLEDGE,
    *BREAKAGES_OF_TIME_AND_COPIES,
)  # fmt: skip
