"""The directory of the bundled server: nobody else enters it, so whoever answers on the socket in it is ours.

`password` is for Haraka, which comes by the port on 127.0.0.1: made once, and kept over restarts. The configuration is
written anew at each start.
"""

import os
import secrets
import socket
import stat
from functools import cache
from pathlib import Path
from urllib.parse import quote

from worker import modes
from worker.durable import sync_directory, write_durably
from worker.errors import ServerNotStarted

_DIRECTORY = 0o700
_OWN = (".server.lock", "appendonly", "dump.rdb", "password", "temp-", "valkey.")  # how names here begin
_LONGEST_SOCKET_BYTES = 107
_LONGEST_FILE_BYTES = 4096

_CONFIGURATION = """\
# Written by haraka-accounting at each start of its bundled server.
bind 127.0.0.1
port {port}
requirepass {password}
dir {directory}
unixsocket valkey.sock
unixsocketperm 700
appendonly yes
appendfsync always
save ""
maxmemory-policy noeviction
logfile {log}
"""


class ServerHome:
    """The server's directory and what stands in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.lock = directory / ".server.lock"
        self.socket = directory / "valkey.sock"
        self.configuration = directory / "valkey.conf"
        self.password_file = directory / "password"
        self.log = directory / "valkey.log"

    @property
    def url(self) -> str:
        """Return the URL of the socket, for processes of this user."""
        password = self._password()
        secret = f":{password}@" if password else ""
        return f"unix://{secret}{quote(self._address())}?db=0"

    @property
    def port(self) -> int | None:
        """Return the port of the server that was started last."""
        for line in _content(self.configuration).splitlines():
            name, _, value = line.partition(" ")
            if name == "port" and value.isascii() and value.isdecimal():
                return int(value)
        return None

    def answers(self) -> bool:
        """Tell whether a server of ours accepts connections."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(1)
                connection.connect(self._address())
                return True
        except OSError:
            return False

    def make(self) -> None:
        """Make the directory, or let nobody else into the one that an earlier version made.

        Raises ServerNotStarted where it is not for the server alone, OSError.
        """
        self.directory.mkdir(_DIRECTORY, parents=True, exist_ok=True)
        found = self.directory.stat()
        if found.st_uid != os.geteuid():
            message = f"belongs to user {found.st_uid}: expected one of user {os.geteuid()}, who starts the server"
            raise ServerNotStarted(f"{self.directory}: {message}")
        if stat.S_IMODE(found.st_mode) & ~_DIRECTORY:
            self._require_no_other_use()
            self.directory.chmod(_DIRECTORY)

    def _require_no_other_use(self) -> None:
        """Raise ServerNotStarted where others can enter, and perhaps have to: their way in is not closed here."""
        for name in sorted(each.name for each in self.directory.iterdir()):
            if not name.startswith(_OWN):
                message = f"others can enter it, and {name} is there: expected a directory for the bundled server alone"
                raise ServerNotStarted(f"{self.directory}: {message}, or one with mode 0700")

    def configure(self, port: int) -> None:
        """Write what the server is started with, and the password where there is none yet. Raises OSError."""
        password = self._password()
        if not password:
            password = secrets.token_hex(24)
            write_durably(self.password_file, f"{password}\n".encode(), modes.SECRET)
        text = _CONFIGURATION.format(
            port=port, password=password, directory=_quoted(self.directory), log=_quoted(self.log)
        )
        write_durably(self.configuration, text.encode("ascii"), modes.SECRET)
        sync_directory(self.directory)

    def last_words(self) -> str:
        """Return the end of the server's log."""
        lines = _content(self.log, at_end=True).strip().splitlines()
        return lines[-1] if lines else "its log is empty"

    def _password(self) -> str:
        """Return the password, as far as it is one of ours: it stands in a URL and in the server's configuration."""
        found = _content(self.password_file).strip()
        return found if found.isascii() and found.isalnum() else ""

    def _address(self) -> str:
        """Return a path of the socket that is short enough for one."""
        if len(os.fsencode(self.socket)) <= _LONGEST_SOCKET_BYTES:
            return str(self.socket)
        try:
            return f"/proc/self/fd/{_opened(self.directory)}/{self.socket.name}"
        except OSError:
            return str(self.socket)  # not there: whoever connects is told so


@cache
def _opened(directory: Path) -> int:
    """Open a directory, for as long as the process lives."""
    return os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _quoted(path: Path) -> str:
    r"""Return a path for the server's configuration, where `\x20` is a blank."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in os.fsencode(path)) + '"'


def _content(file: Path, *, at_end: bool = False) -> str:
    """Return the beginning of a file, or its end; nothing where it cannot be read."""
    try:
        with file.open("rb") as content:
            if at_end:
                content.seek(max(0, content.seek(0, os.SEEK_END) - _LONGEST_FILE_BYTES))
            return content.read(_LONGEST_FILE_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
