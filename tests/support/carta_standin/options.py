"""The command line of `carta_backend`, by the table in `options.json`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TABLE: dict[str, Any] = json.loads(Path(__file__).with_name("options.json").read_text())
"""The real program's options, and where they were read."""
_NUMBERS = ("integer", "integers")


class BadOptionError(ValueError):
    """The real program would refuse this command line."""


@dataclass
class Options:
    """A command line, as the program understands it."""

    values: dict[str, str] = field(default_factory=dict)
    """By long name; of a flag, empty."""
    positional: list[str] = field(default_factory=list)

    def __contains__(self, name: str) -> bool:
        """Say whether an option was given."""
        return name in self.values

    def text(self, name: str, default: str) -> str:
        """Give what an option was given."""
        return self.values.get(name, default)

    def number(self, name: str, default: int) -> int:
        """Give the number that an option was given."""
        return int(self.values.get(name, default))


def parse(argv: Sequence[str]) -> Options:
    """Read a command line without the program's name.

    Raises
    ------
    BadOptionError
        There is no such option, or a value is missing or of another type.
    """
    known = {f"--{each['name']}": each for each in TABLE["options"]}
    known.update({f"-{each['short']}": each for each in TABLE["options"] if "short" in each})
    found = Options()
    words = iter(argv)
    for word in words:
        if not word.startswith("-"):
            found.positional.append(word)
            continue
        option, equals, value = word.partition("=")
        if option not in known:
            raise BadOptionError(f"Option '{option}' does not exist")
        name, takes = known[option]["name"], known[option]["takes"]
        if takes == "flag":
            value = ""
        elif not equals:
            value = next(words, "")
            if not value or value.startswith("-"):
                raise BadOptionError(f"Option '{name}' is missing an argument")
        if takes in _NUMBERS and not value.removeprefix("-").isdigit():
            raise BadOptionError(f"Argument '{value}' failed to parse")
        found.values[name] = value
    return found
