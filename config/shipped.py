"""What is made from the table of keys: the shipped accounting_files.ini and the reference docs/configuration.md."""

import textwrap
from collections.abc import Iterator

from config import keys
from config.ini import MAIN
from config.key import Key
from schemas.events import TYPES

_WIDTH = 118
_INI_HEAD = """\
; accounting_files.ini: every key at its default; an empty file means the same. Made from config/keys.py.
; Comments stand on lines of their own. `haraka-accounting config check FILE` names every mistake."""

_PREFACE = """\
# Configuration

<!-- Made from config/keys.py by `make schemas`. -->

The worker reads one ini file: the one named by `--config` or `ACCOUNTING_CONFIG`, else `./accounting_files.ini` if it
exists. No key is required, and a blank value means the default. What is given on the command line wins over the
environment, which wins over the file.

The file of haraka-plugin-accounting-files works as it is. `config/accounting_files.ini` states every key at its
default. `haraka-accounting config check FILE` names every mistake at once, by file, line and key; a worker refuses to
start with any of them.

- A line that begins with `;` or `#` is a comment. There are none behind a value, so `separator=;` means the semicolon.
- Keys before any `[section]` are those of the first table.
- A backslash at the end of a line joins it with the next one.
- Each key stands once.
"""


def default_ini() -> str:
    """Return the shipped ini: every key at its default, or commented out where the default depends on others."""
    return "\n\n".join([_INI_HEAD, *(block for section in keys.SECTIONS for block in _blocks(section))]) + "\n"


def reference() -> str:
    """Return the configuration reference."""
    return _PREFACE + "\n".join(line for section in keys.SECTIONS for line in _table(section)) + "\n" + _EPILOGUE


def _keys_of(section: str) -> list[Key[object]]:
    return [key for key in keys.KEYS.values() if key.section == section]


def _blocks(section: str) -> Iterator[str]:
    """Yield the section's comment and keys; keys that differ by type alone stand together below one comment."""
    heading = "" if section == MAIN else f"\n[{section}]"
    yield _comment(keys.SECTIONS[section]) + heading
    by_type = "\n".join(_setting(key) for key in _keys_of(section) if key.name in TYPES)
    if by_type:
        yield by_type
    for key in _keys_of(section):
        if key.name not in TYPES:
            default = f" Default: {key.otherwise}." if key.otherwise else ""
            yield f"{_comment(key.meaning + default)}\n{_setting(key)}"


def _comment(text: str) -> str:
    plain = text.replace("`", "")
    return textwrap.fill(plain, _WIDTH, initial_indent="; ", subsequent_indent="; ", break_on_hyphens=False)


def _setting(key: Key[object]) -> str:
    return f"{key.name}={key.default}" if key.default else f";{key.name}={key.example}"


def _table(section: str) -> Iterator[str]:
    yield f"\n## {'Before any section' if section == MAIN else f'`[{section}]`'}"
    yield f"\n{keys.SECTIONS[section]}\n"
    yield "| key | default | example | meaning |"
    yield "| --- | --- | --- | --- |"
    for key in _keys_of(section):
        default = f"`{key.default}`" if key.default else key.otherwise
        yield f"| `{key.name}` | {default} | `{key.example}` | {key.meaning} |"


_EPILOGUE = """
## Secrets

The password for Redis comes from `ACCOUNTING_REDIS_PASSWORD`, else from the first line of `password_file`, else from
the URL. A URL that holds one is accepted with a warning, and so is a file that everybody can read, or others than its
owner can change. Who may not read the file can give the password by the environment. A credential of systemd
(`LoadCredential=redis:/etc/…`) is `password_file=$CREDENTIALS_DIRECTORY/redis`. The file is one of at most 4 096 bytes:
pipes, devices and directories are refused.

## URLs of Redis

| form | |
| --- | --- |
| `redis://host:6379/0` | the path, or the option `?db=`, is the database: 0 without it. The port is 6379 without one |
| `redis://[::1]:6379` | an IPv6 address stands in brackets |
| `rediss://host:6379/0?ssl_ca_certs=/etc/ca.pem` | with TLS, and these options |
| `unix:///run/valkey.sock?db=0` | a Unix socket: three slashes, and a path of at most 107 bytes |

The options of TLS are `ssl_ca_certs` and `ssl_ca_path` (who may sign the server's certificate), `ssl_certfile` and
`ssl_keyfile` (the client's own, without a passphrase), `ssl_cert_reqs` and `ssl_check_hostname`.

Each form takes `user:password@` behind `//`. Signs that mean something in a URL are escaped, such as `%40` for `@`,
`%2F` for `/`, `%3A` for `:`, `%23` for `#`, `%20` for a blank. There are no other options: timeouts and retries are the
worker's own.

## Refused at start

- unknown sections, keys and fields (the nearest known name is given), and keys that stand twice
- intervals and sizes that are not above 0; a separator that is a control character other than TAB
- two types whose locations are one directory, or one inside the other; `..` in a location; `archive_to` that is the
  location itself
- directories that can neither be made nor written, an archive at `file://…` too. Commands that only read, such as
  `find`, `tail`, `audit` and `status`, need no right to write
- links that make one archive of two types; a bundled server's `directory` among the accounting files; a path in
  quotes, or with `~`
- `keep_days=0` without an `archive_url`; an `archive_url` with credentials in it, or one that leads into `path` or
  into the directories of the types, by whatever links: what expires would be the only copy
- a name of files that would have more than 180 bytes; a path of more than 4095
- certificates of a `rediss://` URL that cannot be read, or do not fit together
- a cron expression that is none, never comes true, or restricts both the day of the month and the day of the week;
  `archive_cron` beside an `archive_interval` that is not the default
- a `block_ms` that is not well below the socket timeout; a lease not well above both
- an ini of more than a million bytes

`config check` refuses two things more, which depend on the moment: a `path` that holds the files of another
partition, and a `port` of the bundled server that another program has.

## Accepted with a warning

- `archive_interval` and `max_size` below `[archive_to]`, where the old plugin's sample has them
- settings without effect: `separator` and `csv_guard` with `jsonl`, intervals and sizes while `archiving` is off, a
  password file without a URL
- `keep_mb` below `max_size`: a file may be removed as soon as it is sealed
- a `password_file` that everybody can read, or others can change
- `ssl_cert_reqs=none` and `ssl_check_hostname=false`: somebody in between can be the server
"""
