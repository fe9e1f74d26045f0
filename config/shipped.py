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
the URL. A URL that holds one is accepted with a warning.

## Refused at start

- unknown sections, keys and fields (the nearest known name is given), and keys that stand twice
- intervals and sizes that are not above 0; a separator that is a control character other than TAB
- two types whose locations are one directory, or one inside the other; `..` in a location; `archive_to` that is the
  location itself
- directories that can neither be made nor written
- `keep_days=0` without an `archive_url`; an `archive_url` with credentials in it
- a cron expression that is none, never comes true, or restricts both the day of the month and the day of the week;
  `archive_cron` beside an `archive_interval` that is not the default
- a `block_ms` that is not well below the socket timeout; a lease not well above both

## Accepted with a warning

- `archive_interval` and `max_size` below `[archive_to]`, where the old plugin's sample has them
- settings without effect: `separator` with `jsonl`, intervals and sizes while `archiving` is off, a password file
  without a URL
"""
