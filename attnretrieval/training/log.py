"""The log of a run, one row an epoch, as log.csv for a spreadsheet and log.json for a program. Both are written whole."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from attnretrieval.inputs.files import atomic_file


def write_log(run: Path, rows: list[dict[str, Any]]) -> None:
    with atomic_file(run / "log.json") as path:
        path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with atomic_file(run / "log.csv") as path, path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
