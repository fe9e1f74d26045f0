"""Locations: directories given relative to another one, a leading `/` included, as the old plugin had it."""

from pathlib import PurePosixPath

_RESERVED = (
    "accepted",
    "copied",
    "forgotten",
    "journal",
    "lost",
    "recovered",
    "series",
)  # the worker's own, at the top of `path`
_MAX_NAME_BYTES = 255
_MAX_PATH_BYTES = 4095  # as the kernel has it; what is longer takes minutes to be looked for, name by name


def location(text: str) -> str:
    """Return a type's location relative to `path`, without a leading slash."""
    inner = inside(text)
    if PurePosixPath(inner).parts[0] in _RESERVED:
        raise ValueError(f"expected another name: the worker keeps {', '.join(_RESERVED)} for itself")
    return inner


def inside(text: str) -> str:
    """Return the directory relative to the one it belongs in; it never leads out of it, nor is it that one."""
    require_short(text)
    parts = [part for part in text.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise ValueError("expected a directory inside its parent: .. is refused")
    if not parts:
        raise ValueError("expected the name of a directory")
    if not text.isprintable() or any(len(part.encode()) > _MAX_NAME_BYTES for part in parts):
        raise ValueError("expected names of at most 255 bytes without control characters")
    return "/".join(parts)


def require_short(text: str) -> None:
    """Raise ValueError for a path that no system call takes."""
    if len(text.encode("utf-8", "surrogateescape")) > _MAX_PATH_BYTES:
        raise ValueError(f"expected a path of at most {_MAX_PATH_BYTES} bytes")


def holds(outer: str, inner: str) -> bool:
    """Tell whether the two locations are one, or the inner one lies in the outer one."""
    return PurePosixPath(inner).is_relative_to(PurePosixPath(outer))
