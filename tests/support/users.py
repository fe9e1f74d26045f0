"""The shipped users, made on a server that runs, in the form that its version knows."""

import re
import subprocess
from pathlib import Path
from typing import Any

_CONFIG = Path(__file__).resolve().parents[2] / "config"


def add_worker(client: Any, url: str) -> str:
    """Make the user of workers and commands; returns the server's URL for it."""
    text = (_CONFIG / "valkey.acl").read_text()
    if client.info("server")["redis_version"].startswith("6."):
        [rule] = re.findall(r"sed '(s/%.*)'\)", (_CONFIG / "valkey-start.sh").read_text())
        text = subprocess.run(["sed", rule], input=text, capture_output=True, text=True, check=True).stdout
    [line] = [line for line in text.splitlines() if line.startswith("user worker ")]
    client.execute_command("ACL", "SETUSER", *line.replace("#@worker_password@", ">secret").split()[1:])
    return url.replace("redis://", "redis://worker:secret@")
