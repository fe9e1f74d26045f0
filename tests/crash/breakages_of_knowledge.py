"""Deliberate breakages of what is known beside the server: the journal, the claim of a directory, keys of events.

They are the rules of traps 37 to 59. Each text is one line, or little more: what stands around it may change.
"""

from tests.crash.breakage import Breakage, Edit

_FORGETTING, _DIRECTORIES = "tests/crash/test_traps_of_forgetting.py", "tests/crash/test_traps_of_directories.py"
_JOINING, _JOURNAL, _LOOP, _FILE = (
    "worker/joining.py",
    "worker/journal.py",
    "worker/loop.py",
    "worker/accounting_file.py",
)
_COMMIT, _REGISTER, _LEASE, _GATE = (
    f"worker/stream/scripts/{name}.lua" for name in ("commit", "register", "lease", "gate")
)
_PUBLISH = "haraka/plugin/lib/publish.lua"

BREAKAGES_OF_KNOWLEDGE = (
    Breakage(
        "37", "a start does not ask the journal",
        (Edit(_JOINING, "mine = self._committed.record or told.record", "mine = self._committed.record"),),
        f"{_FORGETTING}::test_trap_37_a_start_on_a_server_that_forgot_cuts_no_row_that_the_journal_knows",
    ),
    Breakage(
        "38", "a scan does not ask the journals of the dead",
        (Edit("worker/scan.py", "if told.record and told.record.batch and fence.put_back(", "if False and fence.put_back("),),
        f"{_FORGETTING}::test_trap_38_a_scan_cuts_no_row_of_a_dead_worker_that_its_journal_knows",
    ),
    Breakage(
        "38", "a scan does not ask the journals of those that start",
        (Edit("worker/scan.py", "        if locks.is_at_work(directory.path, owner):\n", "        if False:\n"),),
        f"{_FORGETTING}::test_trap_38_a_scan_leaves_the_file_of_a_worker_that_is_about_to_put_its_record_back",
    ),
    Breakage(
        "38", "a scan does not ask the journals of those that died since",
        (Edit("worker/scan.py", "        put_back_forgotten(directory, fence)\n        seized =", "        seized ="),),
        f"{_FORGETTING}::test_trap_38_a_scan_puts_back_the_record_of_a_worker_that_died_since_the_server_forgot",
    ),
    Breakage(
        "39", "the journal says that a commit ran before it is sent",
        (
            Edit(
                _LOOP, "            self._stream.send_commit(record, batch.parts, ahead=entries)\n",
                "            self._journal.acknowledge(record)\n"
                "            self._stream.send_commit(record, batch.parts, ahead=entries)\n",
            ),
        ),
        f"{_FORGETTING}::test_trap_39_a_journal_says_that_a_commit_ran_only_once_the_server_has_said_so",
    ),
    Breakage(
        "40", "a start does not remember what the server's record proves",
        (Edit(_JOINING, "told.proven_by(registration.record).window", "told.window"),),
        f"{_FORGETTING}::test_trap_40_a_commit_that_ran_before_a_death_is_remembered_where_its_events_come_again",
    ),
    Breakage(
        "41", "a record that a start adopts does not stand in the journal",
        (Edit(_JOINING, "self._journal.begin(plan.record, ", "self._journal.begin(told.record or Record(), "),),
        f"{_FORGETTING}::test_trap_41_a_record_that_a_start_adopts_stands_in_the_journal_before_anything_is_done_with_it",
    ),
    Breakage(
        "42", "a commit without entries has no intent, and an adopted record leaves the one before it",
        (
            Edit(_LOOP, "        self._journal.intend(record.batch, int(self._patience.pauses.wall() * 1000), {})\n", ""),
            Edit(_JOURNAL, "                intent = None\n", "                intent = intent if isinstance(line, Adopted) else None\n"),
        ),
        f"{_FORGETTING}::test_trap_42_an_intent_that_was_refused_is_not_proven_by_the_next_commit_of_its_number",
    ),
    Breakage(
        "43", "a commit does not look at what was written",
        (Edit(_COMMIT, "local compares = is_compared(history)\n", "local compares = false\n"),),
        f"{_FORGETTING}::test_trap_43_events_that_come_again_under_other_ids_yield_no_second_row",
    ),
    Breakage(
        "44", "the gate opens for the first who comes",
        (Edit(_GATE, "if not is_over and (not is_due or #missing > 0) then", "if false then"),),
        f"{_FORGETTING}::test_trap_44_nobody_reads_what_comes_again_before_its_writer_has_said_what_it_wrote",
    ),
    Breakage(
        "45", "a commit does not say what it has written",
        (Edit(_COMMIT, "redis.call('HSET', written, name .. ' ' .. key, directory)", "local _ = key"),),
        f"{_FORGETTING}::test_trap_45_of_two_entries_of_one_event_in_two_hands_one_has_its_rows",
    ),
    Breakage(
        "46", "a gap begins no history",
        (Edit(_PUBLISH, "  wrong = begin_history(KEYS[6])\n", "  wrong = nil\n"),),
        f"{_FORGETTING}::test_trap_46_numbers_of_producers_that_were_deleted_yield_no_second_row",
    ),
    Breakage(
        "47", "a lease is renewed in any history",
        (Edit(_LEASE, "if lease_ms > 0 and redis.call('HGET', history, 'id') ~= ARGV[5] then", "if false then"),),
        f"{_FORGETTING}::test_trap_47_a_worker_with_nothing_to_do_hears_of_another_history_and_arrives_in_it",
    ),
    Breakage(
        "49", "a directory is claimed beside a lease that lives",
        (Edit(_REGISTER, "    if lease then\n", "    if false then\n"),),
        f"{_DIRECTORIES}::test_trap_49_a_copy_is_refused_while_the_original_works",
    ),
    Breakage(
        "49", "a lease of the own name does not count",
        (Edit(_REGISTER, "  if home_of(owner) == directory and not held[consumer] then\n", "  if false then\n"),),
        f"{_DIRECTORIES}::test_trap_49_a_copy_is_refused_while_the_original_works[a]",
    ),
    Breakage(
        "50", "no other token is claimed behind one that stood there",
        (Edit(_JOINING, "if registration and not is_pending:", "if registration:"),),
        f"{_DIRECTORIES}::test_trap_50_of_two_directories_that_were_copied_before_a_claim_one_goes_on",
    ),
    Breakage(
        "51", "a start draws another token than the one that may have been claimed",
        (Edit(_JOINING, "is_pending = known.next.number > known.current.number", "is_pending = False"),),
        f"{_DIRECTORIES}::test_trap_51_a_claim_that_arrives_late_keeps_nobody_from_starting_again",
    ),
    Breakage(
        "52", "a token is claimed before it is durable",
        (
            Edit(
                _JOINING, "known = self._write(known, current=known.current, pending=known.current.successor())",
                "known = msgspec.structs.replace(known, next=known.current.successor())",
            ),
        ),
        f"{_DIRECTORIES}::test_trap_52_a_claim_that_was_made_before_a_death_keeps_nobody_from_starting_again",
    ),
    Breakage(
        "53", "a neighbour is refused with the token before the last",
        (Edit(_REGISTER, "if token and token ~= current and token ~= next_one and", "if token and token ~= current and"),),
        f"{_DIRECTORIES}::test_trap_53_a_neighbour_goes_on_where_the_reply_to_a_claim_was_lost",
    ),
    Breakage(
        "54", "a claim leaves the other workers of the original their epochs",
        (Edit(_REGISTER, "    redis.call('HSET', owners, name, next_epoch() .. ' ' .. directory)\n", ""),),
        f"{_DIRECTORIES}::test_trap_54_nobody_of_the_original_commits_once_a_copy_was_started",
    ),
    Breakage(
        "55", "a file with another inode is another file",
        (Edit(_FILE, "        if self.state.sha256 is None or not self.has_committed_content():\n", "        if True:\n"),),
        f"{_DIRECTORIES}::test_trap_55_a_directory_that_was_moved_goes_on_with_every_row_in_its_place",
    ),
    Breakage(
        "56", "a commit does not look at who has its entries",
        (Edit(_COMMIT, "  local mine = pending_of(key)\n", "  if true then return true end\n  local mine = pending_of(key)\n"),),
        f"{_DIRECTORIES}::test_trap_56_entries_that_somebody_claimed_for_another_worker_have_their_rows_once",
    ),
    Breakage(
        "57", "entries are counted and not looked at",
        (Edit(_COMMIT, "if mine == in_hand and age_us > lease_ms * 1000 then", "if mine == in_hand then"),),
        f"{_DIRECTORIES}::test_trap_57_as_many_entries_as_are_in_hand_are_not_those_in_hand",
    ),
    Breakage(
        "58", "a tail is not in doubt where the server forgot",
        (Edit(_JOINING, "in_doubt=plan.restore or registration.compares", "in_doubt=False"),),
        f"{_FORGETTING}::test_trap_58_what_was_acknowledged_unheard_and_forgotten_is_kept_and_said_to_be_in_doubt",
    ),
    Breakage(
        "step 10", "what two workers of a directory wrote of one event is not told",
        (Edit(_JOINING, "*(key for key, times in keys.items() if times > 1), ", ""),),
        f"{_FORGETTING}::test_rows_that_two_workers_of_a_directory_wrote_of_one_event_are_noted",
    ),
    Breakage(
        "step 16", "of a dead worker's file that another one has replaced nothing is noted",
        (Edit("worker/scan.py", "        files.tell_gone(event_type, closing.file, file.path)\n", ""),),
        f"{_DIRECTORIES}::test_a_file_in_the_place_of_one_of_a_dead_worker_stays_and_what_is_gone_is_noted",
    ),
    Breakage(
        "step 14", "two names of a file that a copy made two files stay",
        (Edit("worker/archive.py", "    if _is_copied(file, target):\n", "    if False:\n"),),
        "tests/loop/test_sealed_files.py::test_a_move_that_was_interrupted_before_the_directory_was_copied_is_finished",
    ),
    Breakage(
        "step 12", "a name that stands in another location of the type is given out",
        (Edit("worker/location.py", "(*self.place.directories, *self._others)", "self.place.directories"),),
        "tests/loop/test_book_of_names.py::test_a_name_that_stands_in_another_location_of_the_type_is_not_used",
    ),
    Breakage(
        "59", "a worker that lost its name says nothing of what it wrote",
        (Edit(_JOINING, "            self._hand_in()\n", ""),),
        f"{_FORGETTING}::test_trap_59_a_worker_whose_name_was_taken_hands_in_what_it_wrote_before_it_ends",
    ),
)  # fmt: skip
