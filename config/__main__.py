"""Write the files that are made from the table of keys: `python -m config` (make schemas)."""

from pathlib import Path

from config.shipped import default_ini, reference

_ROOT = Path(__file__).resolve().parent.parent

GENERATED = {_ROOT / "config" / "accounting_files.ini": default_ini, _ROOT / "docs" / "configuration.md": reference}

if __name__ == "__main__":
    for path, content in GENERATED.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(content(), encoding="utf-8")
