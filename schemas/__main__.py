"""Write the files that are made from the contract: `python -m schemas` (make schemas)."""

import json
from pathlib import Path

from schemas.catalogue import markdown
from schemas.events import json_schema

_ROOT = Path(__file__).resolve().parent.parent

GENERATED = {
    _ROOT / "schemas" / "events.schema.json": lambda: json.dumps(json_schema(), indent=2, sort_keys=True) + "\n",
    _ROOT / "docs" / "fields.md": markdown,
}

if __name__ == "__main__":
    for path, content in GENERATED.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(content(), encoding="utf-8")
