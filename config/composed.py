"""Settings composed from answers: each part of the worker gets its own small struct."""

from config import keys
from config.answers import Answers
from config.naming import default_consumer
from config.redis_url import without_password
from schemas.events import TYPES
from worker.settings import (
    DirectorySettings,
    Format,
    JanitorSettings,
    NameSettings,
    RotationSettings,
    RowSettings,
    ServerSettings,
    Settings,
    StreamSettings,
    WorkerSettings,
)

_WAIT_MS = 1000
_EXTENSIONS = {Format.TSV: "tsv", Format.CSV: "csv", Format.JSONL: "jsonl", Format.ORIGINAL: "tsv"}
_SEPARATORS = {Format.TSV: "\t", Format.CSV: ",", Format.JSONL: "\t", Format.ORIGINAL: "\t"}


def settings(answers: Answers, password: str | None) -> Settings:
    """Return the settings of answers that nothing is wrong with."""
    return Settings(
        rows=_rows(answers),
        names=NameSettings(
            template=answers[keys.FILENAME], extension=extension_of(answers), timezone=answers[keys.TIMEZONE]
        ),
        rotation=RotationSettings(
            archiving=answers[keys.ARCHIVING],
            interval_seconds=answers[keys.ARCHIVE_INTERVAL],
            max_size_bytes=answers[keys.MAX_SIZE],
            archive_cron=answers[keys.ARCHIVE_CRON],
            timezone=answers[keys.TIMEZONE],
        ),
        directory=DirectorySettings(
            path=answers[keys.PATH],
            location={name: answers[keys.LOCATION[name]] for name in TYPES},
            archive_to={name: answers[keys.ARCHIVE_TO[name]] for name in TYPES},
            min_free_bytes=answers[keys.MIN_FREE_MB] * 1_000_000,
            group_readable=answers[keys.GROUP_READABLE],
        ),
        janitor=JanitorSettings(
            compress=answers[keys.COMPRESS],
            archive_url=answers[keys.ARCHIVE_URL],
            keep_days=answers[keys.KEEP_DAYS],
            keep_bytes=answers[keys.KEEP_MB],
            keep_recovered_days=answers[keys.KEEP_RECOVERED],
        ),
        stream=_stream(answers, password),
        server=ServerSettings(directory=answers[keys.SERVER_DIRECTORY], port=answers[keys.SERVER_PORT]),
        worker=WorkerSettings(name=answers[keys.NAME] or default_consumer()),
    )


def extension_of(answers: Answers) -> str:
    """Return the extension: the configured one, else that of the format."""
    return answers[keys.EXTENSION] or _EXTENSIONS[answers[keys.FORMAT]]


def separator_of(answers: Answers) -> str:
    """Return the separator: the configured one, else that of the format."""
    return answers[keys.SEPARATOR] or _SEPARATORS[answers[keys.FORMAT]]


def _rows(answers: Answers) -> RowSettings:
    return RowSettings(
        format=answers[keys.FORMAT],
        separator=separator_of(answers),
        timezone=answers[keys.TIMEZONE],
        columns={name: answers[keys.FIELDS[name]] for name in TYPES},
        guarded=answers[keys.CSV_GUARD] and answers[keys.FORMAT] is not Format.JSONL,
    )


def _stream(answers: Answers, password: str | None) -> StreamSettings:
    url = answers[keys.REDIS_URL]
    return StreamSettings(
        url=without_password(url) if url and password else url,
        password=password,
        partition=answers[keys.PARTITION],
        socket_timeout_seconds=answers[keys.SOCKET_TIMEOUT],
        block_ms=answers[keys.BLOCK],
        lease_seconds=answers[keys.LEASE],
        batch_entries=answers[keys.BATCH_ENTRIES],
        batch_bytes=answers[keys.BATCH_BYTES],
        wait_replicas=answers[keys.WAIT_REPLICAS],
        # Well within the socket timeout: a server that tells how many replicas it reached is no server that is gone.
        wait_ms=min(_WAIT_MS, int(answers[keys.SOCKET_TIMEOUT] * 500)),
        producer_days=answers[keys.PRODUCER_DAYS],
        retention_days=answers[keys.STREAM_RETENTION],
        max_bytes=answers[keys.STREAM_MAX_MB] * 1_000_000,
    )
