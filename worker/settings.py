"""What each part of the worker needs to know: small structs that `config` fills and `cli` hands out.

Defaults are those of docs/configuration.md. Paths are absolute by the time they stand here.
"""

from collections.abc import Mapping
from datetime import UTC, tzinfo
from enum import StrEnum
from pathlib import Path

from msgspec import Struct


class Format(StrEnum):
    """Layout of a row."""

    TSV = "tsv"
    CSV = "csv"
    JSONL = "jsonl"
    ORIGINAL = "original"  # the old plugin's: trailing separator, CRLF, " - " for a missing value


class RowSettings(Struct, frozen=True, kw_only=True):
    """How rows look."""

    format: Format
    separator: str  # one character
    timezone: tzinfo
    columns: Mapping[str, tuple[str, ...]]  # by type
    guarded: bool = False  # against formulas of spreadsheets; never for jsonl


class NameSettings(Struct, frozen=True, kw_only=True):
    """How accounting files are called."""

    template: str  # with {type} and {time}; also {consumer}, {extension}
    extension: str  # without the dot
    timezone: tzinfo


class RotationSettings(Struct, frozen=True, kw_only=True):
    """When an open file is rotated. Without archiving, neither size nor time rotate."""

    archiving: bool
    interval_seconds: int
    max_size_bytes: int
    archive_cron: str | None = None  # as `worker.cron.parse` returns it; in place of the interval
    timezone: tzinfo = UTC  # of the expression


class DirectorySettings(Struct, frozen=True, kw_only=True):
    """Where accounting files stand. Locations are relative to `path`, archives to their location."""

    path: Path
    location: Mapping[str, str]  # by type
    archive_to: Mapping[str, str]  # by type
    min_free_bytes: int = 0  # with less room, reading pauses
    group_readable: bool = False  # what is written


class Compression(StrEnum):
    """Form that sealed files get."""

    NONE = "none"
    ZSTD = "zstd"
    GZIP = "gzip"


class JanitorSettings(Struct, frozen=True, kw_only=True):
    """What becomes of sealed files. Nothing expires unless a limit is given."""

    compress: Compression = Compression.NONE
    archive_url: str | None = None  # object storage; with it, only what was uploaded expires
    keep_days: int | None = None  # 0: as soon as it is uploaded
    keep_bytes: int | None = None  # of all sealed files of the directory, as they stand
    keep_recovered_days: int = 30


class StreamSettings(Struct, frozen=True, kw_only=True):
    """The connection to Redis and how it is read."""

    url: str | None  # None: the bundled server
    password: str | None  # from the environment or a file; overrides the URL's
    partition: str  # the hash tag, without braces
    socket_timeout_seconds: float
    block_ms: int  # how long an idle worker waits for entries
    lease_seconds: int  # without progress for so long, a consumer counts as dead
    batch_entries: int  # entries of a stream read at once, at most
    batch_bytes: int  # what a batch should hold at most; decides how many entries are asked for
    wait_replicas: int = 0  # a commit counts once so many replicas have it
    wait_ms: int = 1000  # for replicas; less than the socket timeout
    producer_days: int = 30  # silent for so long, a producer is forgotten
    retention_days: int = 7  # what all groups have acknowledged is trimmed then; 0: never
    max_bytes: int = 1_024_000_000  # of the streams together, before it is trimmed sooner; 0: any


class ServerSettings(Struct, frozen=True, kw_only=True):
    """The bundled Valkey, for when no Redis URL is given."""

    directory: Path
    port: int


class WorkerSettings(Struct, frozen=True, kw_only=True):
    """The worker itself."""

    name: str  # of the consumer


class Settings(Struct, frozen=True, kw_only=True):
    """Everything that `haraka-accounting work` is told."""

    rows: RowSettings
    names: NameSettings
    rotation: RotationSettings
    directory: DirectorySettings
    janitor: JanitorSettings = JanitorSettings()
    stream: StreamSettings
    server: ServerSettings
    worker: WorkerSettings
