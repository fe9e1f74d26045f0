"""Conflicts: settings that are fit each for itself, and not together."""

from collections.abc import Iterator

from config import keys, places, tls
from config.answers import Answers
from config.composed import extension_of, separator_of
from config.naming import default_consumer
from config.problem import Problem
from config.redis_url import has_password
from worker.settings import Format

_STAMP = "2026-11-22-210721-99999"
_LONGEST_NAME_BYTES = 180  # the rest of 255 is for manifests, temporary files, and copies in `recovered/`
_BLOCK_MARGIN_MS = 500  # a read that blocks as long as the socket waits looks like a server that is gone


def conflicts(answers: Answers) -> Iterator[Problem]:
    """Yield what cannot be true together, or not with what stands on this machine."""
    yield from _times(answers)
    yield from _rotation(answers)
    yield from _headings(answers)
    yield from _names(answers)
    yield from _copies(answers)
    yield from places.shared(answers)
    yield from places.nested_copies(answers)
    url = answers[keys.REDIS_URL]
    if url is not None and (trouble := tls.trouble(url)):
        yield answers.problem(trouble, keys.REDIS_URL)


def warnings(answers: Answers) -> Iterator[Problem]:
    """Yield settings that are without effect, or unwise."""
    if answers[keys.FORMAT] is Format.JSONL and answers.is_given(keys.SEPARATOR):
        yield answers.problem("has no effect: jsonl has no separator", keys.SEPARATOR)
    if answers[keys.FORMAT] is Format.JSONL and answers[keys.CSV_GUARD]:
        yield answers.problem("has no effect: jsonl has no cells", keys.CSV_GUARD)
    yield from _unsafe(answers)
    keep_bytes = answers[keys.KEEP_MB]
    if keep_bytes is not None and keep_bytes < answers[keys.MAX_SIZE]:
        message = "is less than max_size: a file may be removed as soon as it is sealed"
        yield answers.problem(message, keys.KEEP_MB)
    if not answers[keys.ARCHIVING]:
        for key in (keys.ARCHIVE_INTERVAL, keys.ARCHIVE_CRON, keys.MAX_SIZE):
            if answers.is_given(key) and answers[key] != key.parse(key.default):
                yield answers.problem("has no effect while archiving is off", key)


def _unsafe(answers: Answers) -> Iterator[Problem]:
    """Yield what is unwise about the password and the server's proof of itself."""
    url = answers[keys.REDIS_URL]
    if url is None and answers.is_given(keys.PASSWORD_FILE):
        message = "has no effect without a url: the bundled server has a password of its own"
        yield answers.problem(message, keys.PASSWORD_FILE)
    if url is not None and has_password(url):
        message = "holds a password: better use password_file or ACCOUNTING_REDIS_PASSWORD"
        yield answers.problem(message, keys.REDIS_URL)
    for message in tls.unchecked(url) if url else ():
        yield answers.problem(message, keys.REDIS_URL)


def _times(answers: Answers) -> Iterator[Problem]:
    timeout, block, lease = keys.SOCKET_TIMEOUT, keys.BLOCK, keys.LEASE
    timeout_ms = int(answers[timeout] * 1000)
    if answers.fit(timeout, block) and answers[block] > timeout_ms - _BLOCK_MARGIN_MS:
        expected = f"expected at most {timeout_ms - _BLOCK_MARGIN_MS}, half a second below the socket timeout"
        yield answers.problem(f"block_ms is {answers[block]}: {expected}", timeout, block)
    shortest = -(-2 * (timeout_ms + answers[block]) // 1000)
    if answers.fit(timeout, block, lease) and answers[lease] < shortest:
        expected = f"expected at least {shortest}, twice the socket timeout and block_ms together"
        yield answers.problem(f"lease_seconds is {answers[lease]}: {expected}", timeout, block, lease)


def _names(answers: Answers) -> Iterator[Problem]:
    """Yield a name that would look like a manifest, or like a compressed file, or that no file system takes."""
    if not answers.fit(keys.FILENAME, keys.EXTENSION, keys.NAME):
        return
    consumer = answers[keys.NAME] or default_consumer()
    values = {"type": "df", "time": _STAMP, "consumer": consumer, "extension": extension_of(answers)}
    name = answers[keys.FILENAME].format(**values)
    for ending in (".json", ".zst", ".gz"):
        if name.endswith(ending):
            message = f"names would end with {ending}, as manifests or compressed files do: expected another ending"
            yield answers.problem(message, keys.FILENAME, keys.EXTENSION)
    if len(name.encode()) > _LONGEST_NAME_BYTES:
        message = f"names would have {len(name.encode())} bytes: expected at most {_LONGEST_NAME_BYTES}"
        yield answers.problem(message, keys.FILENAME, keys.EXTENSION, keys.NAME)


def _copies(answers: Answers) -> Iterator[Problem]:
    """Yield a retention that would keep nothing."""
    if answers[keys.KEEP_DAYS] == 0 and answers[keys.ARCHIVE_URL] is None and answers.fit(keys.ARCHIVE_URL):
        message = "0 removes a file as soon as it is uploaded: expected an archive_url, or at least 1 day"
        yield answers.problem(message, keys.KEEP_DAYS)


def _rotation(answers: Answers) -> Iterator[Problem]:
    """Yield two times of rotation; the interval at its default, as in the shipped ini, is none."""
    interval, cron = keys.ARCHIVE_INTERVAL, keys.ARCHIVE_CRON
    if answers.fit(interval, cron) and answers.is_given(cron) and answers[interval] != interval.parse(interval.default):
        yield answers.problem("archive_cron and archive_interval: expected one of them", interval, cron)


def _headings(answers: Answers) -> Iterator[Problem]:
    """Yield the types whose header line could not be split again: a header's name may hold `;` or `|`."""
    separator = separator_of(answers)
    if separator == "\t" or answers[keys.FORMAT] is Format.JSONL:
        return
    for key in keys.FIELDS.values():
        for name in answers[key]:
            if separator in name:
                yield answers.problem(f"{name!r} holds the separator: expected another separator", key)
