"""Write the table of who may do what again: ``python -m tests.system.authority_golden``.

Read the difference before it is committed: every change of a number is a change of somebody's
rights.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from tests.support.callers import Crowd, crowded_hub, matrix

GOLDEN = Path(__file__).with_name("authority.json")


def text(table: dict[str, dict[str, list[int | str]]]) -> str:
    """Write a table so that a difference is a line."""
    lines = ["{"]
    for title, cells in table.items():
        lines.append(f"  {json.dumps(title)}: {{")
        lines += [f"    {json.dumps(who)}: {json.dumps(cell)}," for who, cell in cells.items()]
        lines[-1] = lines[-1].rstrip(",")
        lines.append("  },")
    lines[-1] = lines[-1].rstrip(",")
    return "\n".join([*lines, "}", ""])


def main() -> None:
    """Run a hub and write the table."""
    from tests.conftest import write_probe_catalogue

    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        catalogue = write_probe_catalogue(place / "catalogue.yaml")
        with crowded_hub(place / "data", catalogue, place) as hub:
            GOLDEN.write_text(text(matrix(Crowd.gather(hub))))


if __name__ == "__main__":
    main()
