"""Names and characters that end up in file names and rows: template, extension, separator, consumer, partition."""

import re
import socket
import string
import unicodedata

_CONSUMER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_EXTENSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
_PARTITION = re.compile(r"[^\s{}]{1,200}")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_PLACEHOLDERS = ("type", "time", "consumer", "extension")
_TIME = re.compile(r"\{time\}(?=$|[._:@=+,~ ])")  # what follows must not read as part of the time or its suffix
_TEMPLATE_TEXT = re.compile(r"[A-Za-z0-9._:@=+,~ -]*")
_MAX_TEMPLATE = 100  # the rest of a file name's 255 bytes is for consumer, extension, suffix and manifest
_NEVER_QUOTED = frozenset(string.ascii_letters + string.digits + "-:._ ")  # they stand in times, numbers and names


def template(text: str) -> str:
    """Return the template of file names, its placeholders known and the time among them."""
    unknown = [name for name in _PLACEHOLDER.findall(text) if name not in _PLACEHOLDERS]
    expected = "expected a name such as {type}.{time}.{extension}"
    if unknown:
        raise ValueError(f"unknown placeholder {{{unknown[0]}}}: {expected}; {{consumer}} is known too")
    if len(_TIME.findall(text)) != 1 or text.count("{time}") != 1:
        raise ValueError(f"{{time}} must stand once, at the end or before a sign such as a dot: {expected}")
    if text.startswith((".", "{extension}")) or len(text) > _MAX_TEMPLATE:
        raise ValueError(f"{expected}, not beginning with a dot, of at most {_MAX_TEMPLATE} characters")
    if not _TEMPLATE_TEXT.fullmatch(_PLACEHOLDER.sub("", text)):
        raise ValueError(f"{expected}: around the placeholders letters, digits, blanks and . _ : @ = + , ~ - only")
    return text


def extension(text: str) -> str:
    """Return the extension without its dot."""
    bare = text.removeprefix(".")
    if not _EXTENSION.fullmatch(bare):
        raise ValueError("expected an extension such as tsv: letters, digits and . _ - only, at most 32")
    return bare


def separator(text: str) -> str:
    r"""Return the separator of columns: `\t` is a TAB, anything else stands for itself."""
    char = "\t" if text == r"\t" else text
    if len(char) != 1 or (char != "\t" and unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"}):
        raise ValueError(r"expected one character such as ; or , or \t for a TAB; no other control character")
    if char == '"' or char in _NEVER_QUOTED:
        raise ValueError(rf"{char!r} stands in values that are never quoted, or quotes them: expected \t , ; or |")
    return char


def consumer(text: str) -> str:
    """Return the name of the consumer."""
    if not _CONSUMER.fullmatch(text):
        raise ValueError(
            "expected a name such as mail1-1: letters, digits and . _ : - only, beginning with a letter or digit, "
            "at most 128"
        )
    return text


def default_consumer() -> str:
    """Return `<host name>-1`: the same at every start of the same host, never random."""
    host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:100].strip("._-")
    return f"{host or 'worker'}-1"


def partition(text: str) -> str:
    """Return the partition: the hash tag of its keys, without the braces."""
    if not _PARTITION.fullmatch(text) or not text.isprintable():
        raise ValueError("expected the keys' hash tag such as haraka:accounting: no braces, no blanks, at most 200")
    return text
