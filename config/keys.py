"""The table of keys: parsing, the shipped ini, the reference in docs/ and every message come from it."""

from pathlib import Path

from config import columns, locations, naming, redis_url, secret, store_url, values
from config.ini import MAIN
from config.key import Key
from schemas.catalogue import DEFAULT_COLUMNS
from schemas.events import TYPES
from worker import cron
from worker.settings import Compression, Format


def _file(text: str) -> Path:
    locations.require_short(text)
    if not text.isprintable():
        raise ValueError("expected a path without control characters")
    if text.startswith(("~", '"', "'")):
        raise ValueError("expected a path as it is: ~ is not a home directory here, and quotes belong to the name")
    return Path.cwd() / text


def _secret_file(text: str) -> Path:
    return Path(text) if text.startswith(f"{secret.CREDENTIALS}/") else _file(text)


PATH = Key(
    MAIN,
    "path",
    _file,
    "./accounting_files",
    "Directory of all accounting files; relative to the directory the worker is started in. It holds the files of one "
    "`partition`: workers of another one are refused there.",
    "/var/spool/haraka/accounting_files",
)
FORMAT = Key(
    MAIN,
    "format",
    values.one_of(Format),
    "tsv",
    "Layout of a row: `tsv`, `csv` (RFC 4180), `jsonl` (one JSON object per line), or `original` "
    "(the old plugin's: a separator behind the last column too, CRLF, blanks around the `-` of a missing value).",
    "csv",
)
EXTENSION = Key(
    MAIN,
    "extension",
    values.optional(naming.extension),
    "",
    "Extension of the file names, with or without its dot.",
    "csv",
    "`tsv`, `csv` or `jsonl`, after the format; `tsv` for `original`",
)
SEPARATOR = Key(
    MAIN,
    "separator",
    values.optional(naming.separator),
    "",
    r"The one character between two columns; `\t` is a TAB. `jsonl` has none. Letters, digits, blanks, "
    r"quotes and `- : . _` are refused: they stand in values that are never quoted.",
    ";",
    "a TAB; `,` for `csv`",
)
CSV_GUARD = Key(
    MAIN,
    "csv_guard",
    values.switch,
    "false",
    "Whether values that a spreadsheet would take for formulas get a single quote in front: those that begin with "
    "`= + - @`, in their full width too, behind blanks or not. For people who open files in one: remote servers write "
    "into these cells. In all formats but `jsonl`, since spreadsheets read those with TABs too. Readers take the quote "
    "away again; `find`, `audit` and `replay` do.",
    "true",
)
FILENAME = Key(
    MAIN,
    "filename",
    naming.template,
    "{type}.{time}.{extension}",
    "Template of the file names. `{time}` stands in it once, at the end or before a sign such as a dot; `{type}` is "
    "d, df or b, `{consumer}` the name of the worker.",
    "{consumer}.{type}.{time}.{extension}",
)
TIMEZONE = Key(
    MAIN,
    "timezone",
    values.zone,
    "local",
    "Time zone of file names, timeLogged and timeQueued: `local`, `UTC` or an IANA name.",
    "Europe/Berlin",
)
ARCHIVING = Key(
    MAIN,
    "archiving",
    values.switch,
    "false",
    "Whether files are rotated by `archive_interval` (or `archive_cron`) and `max_size`, and moved to `[archive_to]` "
    "once they are sealed: true or false (also yes, no, on, off, 1, 0).",
    "true",
)
ARCHIVE_INTERVAL = Key(
    MAIN,
    "archive_interval",
    values.whole(1, 315_360_000, "a whole number of seconds"),
    "86400",
    "Seconds after which an open file is rotated and archived. 86400 is one day.",
    "3600",
)
ARCHIVE_CRON = Key(
    MAIN,
    "archive_cron",
    values.optional(cron.parse),
    "",
    "When open files are rotated and archived, in place of `archive_interval`: a cron expression (minute, hour, day of "
    "the month, month, day of the week) in the time zone of `timezone`.",
    "0 0 * * *",
    "none: `archive_interval` counts",
)
MAX_SIZE = Key(
    MAIN,
    "max_size",
    values.megabytes,
    "200",
    "Megabytes (of 10^6 bytes) at which an open file is rotated and archived. Fractions are allowed.",
    "0.5",
)
MIN_FREE_MB = Key(
    MAIN,
    "min_free_mb",
    values.whole(0, 1_000_000, "a whole number of megabytes"),
    "64",
    "Megabytes (of 10^6 bytes) that stay free on the disk: with less, the worker stops reading until there is room.",
    "1000",
)
GROUP_READABLE = Key(
    MAIN,
    "group_readable",
    values.switch,
    "false",
    "Whether the worker's group may read what is written here (modes 0640, and 0750 for directories), for a pipeline "
    "of another user; else the worker's user alone may (0600, 0700), whatever the umask. The group is the worker's, or "
    "the directory's where that has the setgid bit. What stands there already keeps its mode.",
    "true",
)

COMPRESS = Key(
    MAIN,
    "compress",
    values.one_of(Compression),
    "none",
    "Form that files get once they are sealed: `none`, `zstd` (`<name>.zst`) or `gzip` (`<name>.gz`).",
    "zstd",
)
ARCHIVE_URL = Key(
    MAIN,
    "archive_url",
    values.optional(store_url.store_url),
    "",
    "Object storage that sealed files and their manifests are copied to: `s3://bucket/prefix`, `gs://`, `az://`, "
    "`file:///directory`. `{directory}` in it becomes the id of the directory: directories that share a prefix need "
    "it. Credentials come from the environment, such as `AWS_ACCESS_KEY_ID`; never from here.",
    "s3://mail-archive/accounting/{directory}",
    "none",
)
KEEP_DAYS = Key(
    MAIN,
    "keep_days",
    values.optional(values.whole(0, 36_500, "a whole number of days")),
    "",
    "Days after which a sealed file is removed; with `archive_url`, only once it is uploaded. 0, as soon as it is "
    "uploaded, needs an `archive_url`.",
    "90",
    "kept for ever",
)
KEEP_MB = Key(
    MAIN,
    "keep_mb",
    values.optional(values.megabytes),
    "",
    "Megabytes (of 10^6 bytes) that the sealed files of the directory may have together, as they stand: above it, the "
    "oldest are removed; with `archive_url`, only once they are uploaded.",
    "100000",
    "no limit",
)
KEEP_RECOVERED = Key(
    MAIN,
    "keep_recovered_days",
    values.whole(1, 36_500, "a whole number of days"),
    "30",
    "Days after which tails in `recovered/` are removed, once each of their rows is found in a sealed file: rows that "
    "were cut off a file because they were never acknowledged. Others stay.",
    "90",
)

LOCATION = {
    name: Key(
        "location",
        name,
        locations.location,
        name,
        f"Directory of the {name} files inside `path`; a leading `/` is inside `path` too.",
        f"mail/{name}",
    )
    for name in TYPES
}
ARCHIVE_TO = {
    name: Key(
        "archive_to",
        name,
        locations.inside,
        "archive",
        f"Directory of the archived {name} files, inside their location.",
        "archive/2025",
    )
    for name in TYPES
}
FIELDS = {
    name: Key(
        "fields",
        name,
        columns.columns,
        ",".join(DEFAULT_COLUMNS[name]),
        f"Columns of the {name} files, separated by commas: the fields of fields.md, and `custom_<header>` for a "
        "header of the message.",
        "timeLogged,rcpt,dsnMsg,custom_Subject",
    )
    for name in TYPES
}

REDIS_URL = Key(
    "redis",
    "url",
    values.optional(redis_url.redis_url),
    "",
    "Server that the Haraka nodes publish to. Also `--redis` and `ACCOUNTING_REDIS_URL`, which win.",
    "redis://worker@redis.example.com:6379/0",
    "the bundled server, started by the worker",
)
PASSWORD_FILE = Key(
    "redis",
    "password_file",
    values.optional(_secret_file),
    "",
    "File that holds the password for Redis, such as `$CREDENTIALS_DIRECTORY/NAME` for a credential of systemd. "
    "`ACCOUNTING_REDIS_PASSWORD` wins; both win over a password in the URL.",
    "/run/secrets/accounting_redis",
    "no password but the URL's",
)
PARTITION = Key(
    "redis",
    "partition",
    naming.partition,
    "haraka:accounting",
    "Hash tag of the keys, without its braces; the plugin's must be the same. Where its `partitions` is above 1, "
    "these are its key with `:0`, `:1` …, and each needs workers of its own, with a `path` of their own.",
    "haraka:accounting:1",
)
SOCKET_TIMEOUT = Key(
    "redis",
    "socket_timeout_seconds",
    values.seconds(1, 300),
    "5",
    "Seconds after which a server that does not answer counts as gone.",
    "10",
)
BLOCK = Key(
    "redis",
    "block_ms",
    values.whole(1, 60_000, "a whole number of milliseconds"),
    "1000",
    "Milliseconds that an idle worker waits for entries in one read; at least 500 below the socket timeout.",
    "500",
)
LEASE = Key(
    "redis",
    "lease_seconds",
    values.whole(5, 86_400, "a whole number of seconds"),
    "30",
    "Seconds without progress after which other workers take over what a consumer has pending; at least twice "
    "the socket timeout and `block_ms` together.",
    "60",
)
BATCH_ENTRIES = Key(
    "redis", "batch_entries", values.whole(1, 20_000), "2000", "Most entries of a stream that are read at once.", "500"
)
BATCH_BYTES = Key(
    "redis",
    "batch_bytes",
    values.whole(10_000, 256_000_000, "a whole number of bytes"),
    "4000000",
    "Bytes that a batch should hold at most; large entries are asked for in smaller numbers.",
    "1000000",
)
WAIT_REPLICAS = Key(
    "redis",
    "wait_replicas",
    values.whole(0, 100, "a whole number of replicas"),
    "0",
    "Replicas that must have a commit before it counts (WAIT); for a server whose failover must not lose one.",
    "1",
)
PRODUCER_DAYS = Key(
    "redis",
    "producer_days",
    values.whole(1, 3650, "a whole number of days"),
    "30",
    "Days of silence, by the server's clock, after which a process of Haraka is forgotten: longer than a node can be "
    "away. Of one that publishes again later, from its spool for instance, nothing is lost; what it had sent before "
    "without an answer may stand twice, and its log names those events.",
    "90",
)
STREAM_RETENTION = Key(
    "redis",
    "stream_retention_days",
    values.whole(0, 3650, "a whole number of days"),
    "7",
    "Days for which entries stay in the streams once every consumer group has acknowledged them: for replays and the "
    "deep audit. 0 keeps them for ever.",
    "14",
)
STREAM_MAX_MB = Key(
    "redis",
    "stream_max_mb",
    values.whole(0, 1_000_000_000, "a whole number of megabytes"),
    "1024",
    "Megabytes (of 10^6 bytes) of the server's memory that the streams of the partition may have together: above it, "
    "acknowledged entries go sooner, the oldest first. 0 sets no limit.",
    "4096",
)

NAME = Key(
    "worker",
    "name",
    values.optional(naming.consumer),
    "",
    "Name of this worker in the consumer group, different for every worker and the same after a restart. Also "
    "`--name` and `ACCOUNTING_NAME`, which win.",
    "mail1-1",
    "`<host name>-1`",
)

SERVER_DIRECTORY = Key(
    "server",
    "directory",
    _file,
    "./haraka-accounting-valkey",
    "Directory of the bundled server's data, used where no URL is given; for the worker's user alone, and for nothing "
    "else. The password for Haraka is in `password` there.",
    "/var/lib/haraka-accounting/valkey",
)
SERVER_PORT = Key(
    "server",
    "port",
    values.whole(1, 65_535, "a port"),
    "16379",
    "Port of the bundled server on 127.0.0.1, for Haraka. Workers and commands use a socket in its directory.",
    "16380",
)

#: Keys that the old plugin's sample has below [archive_to], where they are accepted with a warning.
MISPLACED = {("archive_to", key.name): key.id for key in (ARCHIVE_INTERVAL, MAX_SIZE)}

#: Names that the old plugin's README uses, and the names that its code reads.
OLD_NAMES = {"move_to": "archive_to", "move_interval": "archive_interval"}

SECTIONS = {
    MAIN: "Accounting files and their rotation. These keys stand before any section.",
    "location": "Where the files of each type stand, inside `path`; a leading `/` is inside `path` too.",
    "archive_to": "Where sealed files are moved when `archiving` is on, inside each type's location.",
    "fields": "The columns of each type, separated by commas: those of docs/fields.md, and `custom_<header>` for a "
    "message header.",
    "redis": "The connection to Redis or Valkey.",
    "worker": "The worker itself.",
    "server": "The bundled server, which runs where no URL is given.",
}

_ALL: tuple[Key[object], ...] = (
    *(PATH, FORMAT, EXTENSION, SEPARATOR, CSV_GUARD, FILENAME, TIMEZONE, ARCHIVING),
    *(ARCHIVE_INTERVAL, ARCHIVE_CRON, MAX_SIZE, MIN_FREE_MB, GROUP_READABLE),
    *(COMPRESS, ARCHIVE_URL, KEEP_DAYS, KEEP_MB, KEEP_RECOVERED),
    *(*LOCATION.values(), *ARCHIVE_TO.values(), *FIELDS.values()),
    *(REDIS_URL, PASSWORD_FILE, PARTITION, SOCKET_TIMEOUT, BLOCK, LEASE, BATCH_ENTRIES, BATCH_BYTES),
    *(WAIT_REPLICAS, PRODUCER_DAYS, STREAM_RETENTION, STREAM_MAX_MB),
    *(NAME, SERVER_DIRECTORY, SERVER_PORT),
)
KEYS = {key.id: key for key in _ALL}
