"""npm packages as an operator installs them: Haraka in a folder of its own, then the plugin from a bare clone."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PLUGIN: Final = ROOT / "haraka" / "plugin"
#: That which the demo and all other tests run.
USUAL: Final[str] = json.loads((ROOT / "haraka/demo/package.json").read_text())["dependencies"]["Haraka"]
QUIET: Final = ("--no-audit", "--no-fund", "--loglevel=error", "--update-notifier=false")


def haraka_in(folder: Path, version: str) -> None:
    """Install that version of Haraka, without what it does not need here and would have to compile."""
    folder.mkdir()
    (folder / "package.json").write_text('{"name": "an-operators-haraka", "private": true}\n')
    npm("install", "--omit=optional", "--ignore-scripts", f"Haraka@{version}", cwd=folder)


def bare_clone(folder: Path) -> Path:
    """Copy the files of this checkout that git knows, without any set-up; return the plugin's folder in it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "haraka/plugin"],
        cwd=ROOT, capture_output=True, check=True,
    )  # fmt: skip
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)
    return folder / "haraka" / "plugin"


def documented_commands() -> list[str]:
    """Return the commands of the plugin's README that install it, as they stand there."""
    text = (PLUGIN / "README.md").read_text(encoding="utf-8")
    found = re.search(r"## Install\n.*?```sh\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1].splitlines()


def npm(*args: str, cwd: Path) -> None:
    """Run npm; fail with what it says."""
    done = subprocess.run(["npm", *args, *QUIET], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
