"""A Haraka instance: made in a directory of its own from this folder's plugins and npm packages, started, stopped.

What survives a stop is the directory: its configuration and the outbound queue.
"""

import shutil
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from haraka.demo.process import Process
from haraka.demo.waiting import answers_smtp

HERE: Final = Path(__file__).resolve().parent
NODE_MODULES: Final = HERE / "node_modules"
PLUGIN: Final = "accounting-stream"
#: Haraka's own files that it does not do without (`haraka -i` copies them): the greeting, the text of bounce messages.
DEFAULTS: Final = ("connection.ini", "outbound.bounce_message")
STOP_SECONDS: Final = 5.0
READY: Final = "Plugin is Ready!"
LISTENING: Final = "[server] Listening on"  # once for each process that takes mail


@dataclass(frozen=True)
class Settings:
    """How an instance is set up. `nodes` None leaves smtp.ini without it: a master and one worker process."""

    smtp_port: int
    sink_port: int
    redis_port: int
    nodes: int | None = None
    always_split: bool = False
    retry_seconds: tuple[int, ...] = (5,)  # 5 is Haraka's minimum
    ports: Mapping[str, int] = field(default_factory=dict)  # by recipient's domain, where not the sink's
    binds: Mapping[str, str] = field(default_factory=dict)  # local address of deliveries, by domain
    accounting: Mapping[str, str] = field(default_factory=dict)  # of accounting_stream.ini
    password_file: Path | None = None  # of the server
    shutdown_seconds: int = 30  # Haraka's own patience with a graceful shutdown
    plugins: tuple[str, ...] = (PLUGIN,)  # in their order, behind the two that let mail through
    others: Mapping[str, str] = field(default_factory=dict)  # further configuration files: name → text

    def files(self) -> dict[str, str]:
        """Return the configuration files by name."""
        nodes = {} if self.nodes is None else {"nodes": self.nodes}
        return {
            "me": "haraka.test\n",
            "loglevel": "info\n",
            "plugins": "\n".join(("demo_relay", "demo_route", *self.plugins, "")),
            "smtp.ini": _ini(
                {
                    "listen": f"127.0.0.1:{self.smtp_port}",
                    "graceful_shutdown": "true",
                    "force_shutdown_timeout": self.shutdown_seconds,
                    **nodes,
                }
            ),
            "outbound.ini": _ini(
                {
                    "local_mx_ok": "true",
                    "enable_tls": "false",
                    "always_split": str(self.always_split).lower(),
                    "temp_fail_intervals": ",".join(f"{seconds}s" for seconds in self.retry_seconds),
                }
            ),
            "redis.ini": "[server]\n" + _ini({"host": "127.0.0.1", "port": self.redis_port}),
            "accounting_stream.ini": _ini(self.accounting)
            + (f"[redis]\n{_ini({'password_file': self.password_file})}" if self.password_file else ""),
            "demo_route.ini": _ini({"exchange": "127.0.0.1", "port": self.sink_port})
            + f"[port]\n{_ini(self.ports)}[bind]\n{_ini(self.binds)}",
            **self.others,
        }


class Instance:
    """One Haraka in one directory."""

    def __init__(self, directory: Path, settings: Settings, packages: Path = NODE_MODULES) -> None:
        """Take Haraka and the plugin from the npm packages in a folder."""
        self.directory, self.settings, self._packages = directory, settings, packages
        self.queue = directory / "queue"
        self._config = directory / "config"
        self._process: Process | None = None

    def make(self, plugins: Mapping[str, Path] | None = None) -> None:
        """Write the directory. plugins: further ones, name → file."""
        if not (self._packages / "Haraka").is_dir():
            raise FileNotFoundError(f"no npm packages in {HERE}: run `npm ci` there, and in {HERE.parent / 'plugin'}")
        self._config.mkdir(parents=True)
        for name in DEFAULTS:
            shutil.copy(self._packages / "Haraka" / "config" / name, self._config)
        self.configure(self.settings)
        shutil.copytree(HERE / "plugins", self.directory / "plugins")
        for name, file in (plugins or {}).items():
            shutil.copy(file, self.directory / "plugins" / f"{name}.js")
        (self.directory / "node_modules").symlink_to(self._packages)

    def configure(self, settings: Settings) -> None:
        """Write the files of these settings that are not there or change; a Haraka that runs notices the edit."""
        before, self.settings = self.settings.files(), settings
        for name, text in settings.files().items():
            if text != before[name] or not (self._config / name).exists():
                (self._config / name).write_text(text, encoding="utf-8")

    def start(self) -> None:
        """Start it and return once it takes mail and every one of its processes does."""
        haraka = self._packages / "Haraka" / "bin" / "haraka"
        argv = ("node", haraka, "-c", self.directory)
        self._process = process = Process("Haraka", argv, self.directory / "haraka.log")
        processes = max(1, self.settings.nodes or 1)
        try:
            if PLUGIN in self.settings.plugins:
                process.wait_until(lambda: READY in process.logged(), f"“{READY}”")
            process.wait_until(
                lambda: process.logged().count(LISTENING) >= processes, f"{processes} listening processes"
            )
            process.wait_until(lambda: answers_smtp(self.settings.smtp_port), "the greeting")
        except BaseException:
            self.stop()
            raise

    def stop(self, patience_seconds: float = STOP_SECONDS) -> int | None:
        """Stop it the way that lets plugins shut down, or kill it when that takes too long; the queue stays.

        Return its exit code, or None where it does not run.
        """
        process, self._process = self._process, None
        # Haraka has no handler for SIGTERM; and with mail under way its graceful stop takes up to a minute.
        return process.stop(signal.SIGINT, patience_seconds) if process is not None else None

    @property
    def exit_code(self) -> int | None:
        """The code with which it has ended by itself, None as long as it runs."""
        return self._process.exit_code if self._process is not None else None

    def kill(self) -> None:
        """SIGKILL all of its processes at once; what is on disk stays."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def check(self) -> None:
        """Raise ProcessDiedError where it should run and does not."""
        if self._process is not None:
            self._process.check()

    def log(self) -> str:
        """Return what it logged, over all starts."""
        return (self.directory / "haraka.log").read_text(encoding="utf-8", errors="replace")

    def queued(self) -> list[str]:
        """Return the names of the queue files: mail that Haraka still has to deal with."""
        try:
            return sorted(file.name for file in self.queue.iterdir())
        except FileNotFoundError:
            return []

    def retries_pending(self) -> int:
        """Return how many queue files have failed before; it stands third in their names."""
        return sum(name.split("_")[2] != "0" for name in self.queued() if name.count("_") > 2)


def _ini(values: Mapping[str, object]) -> str:
    return "".join(f"{key}={value}\n" for key, value in values.items())
