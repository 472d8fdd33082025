"""The public ``canfar`` client, unmodified and in an environment of its own, as a person runs it."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from canfar_spawner.local import environments

NAME = "client"
_WIDE = "300"
"""Columns: a table that is cut could hide what is looked for."""
_COLUMN = re.compile(r"\s{2,}")
_RULE = re.compile(r"[─━═╶╴\s-]+")


def environment() -> Path:
    """Give where the client is installed."""
    return environments.location(NAME)


@dataclass(frozen=True)
class Said:
    """What one command wrote, and how it ended."""

    out: str
    err: str
    status: int

    def table(self) -> list[dict[str, str]]:
        """Read the one table with a heading that it printed, a mapping for each row.

        Raises
        ------
        AssertionError
            There is none, or a row lacks a value.
        """
        lines = self.out.splitlines()
        rules = [
            at
            for at, line in enumerate(lines)
            if len(line) > 8 and line.strip() and _RULE.fullmatch(line)
        ]
        assert rules, f"no table in:\n{self.out}\n{self.err}"
        heading = lines[rules[0] - 1]
        head = _cells(heading)
        starts = [heading.index(word) for word in head]
        found = []
        for line in lines[rules[0] + 1 :]:
            if not line.strip():
                continue
            cells = [
                line[start:end].strip()
                for start, end in zip(starts, [*starts[1:], None], strict=True)
            ]
            assert all(cells), f"something is missing: {dict(zip(head, cells, strict=True))}"
            found.append(dict(zip(head, cells, strict=True)))
        return found

    def pairs(self) -> dict[str, str]:
        """Read a table of two columns without a heading, as ``canfar info`` prints it."""
        cells = [_cells(line) for line in self.out.splitlines() if line.strip()]
        return {row[0]: row[1] for row in cells if len(row) == 2}

    def json(self) -> Any:
        """Read what ``-o json`` printed."""
        return json.loads(self.out)


def _cells(line: str) -> list[str]:
    return _COLUMN.split(line.strip())


@dataclass
class Client:
    """Somebody's client: a home of its own, an address and a token.

    Parameters
    ----------
    home : Path
    url : str
        The service, without ``/v1``.
    token : str
    config : bool
        Use the client's own file in place of the two variables.
    """

    home: Path
    url: str
    token: str = field(repr=False)
    config: bool = False

    @classmethod
    def of(cls, visitor: Any, home: Path, *, config: bool = False) -> Client:
        """Set a client up for somebody who is signed in to a hub."""
        found = cls(home, f"{visitor.hub.url}/services/sessions", visitor.token, config)
        found.home.mkdir(parents=True, exist_ok=True)
        if config:
            found.write_config()
        return found

    @property
    def config_file(self) -> Path:
        """Its file of settings."""
        return self.home / ".canfar" / "config.yaml"

    def write_config(self) -> None:
        """Write a file that has this hub, and storage beside it, as the client's own form wants."""
        content = {
            "version": 2,
            "active": {"authentication": "srcnet", "server": "hub", "servers": {"srcnet": "hub"}},
            "authentication": {
                "srcnet": {
                    "idp": "srcnet",
                    "mode": "oidc",
                    "endpoints": {},
                    "client": {},
                    "token": {"access": self.token},
                    "expiry": {"access": 4102444800.0},
                }
            },
            "servers": {
                "hub": {
                    "name": "hub",
                    "idp": "srcnet",
                    "uri": "ivo://hub.example.org/skaha",
                    "url": self.url,
                    "version": "v1",
                    "auths": ["oidc"],
                    # Without storage of the server's name the client asks a public registry.
                    "storage": {
                        "hub": {"uri": "ivo://hub.example.org/cavern", "url": f"{self.url}/vos"}
                    },
                }
            },
            "console": {"width": int(_WIDE)},
        }
        self.config_file.parent.mkdir(parents=True, exist_ok=True)
        # YAML holds JSON, and the client writes the file again as it likes.
        self.config_file.write_text(json.dumps(content))
        self.config_file.chmod(0o600)

    def environ(self, **changes: str) -> dict[str, str]:
        """Give what its process is given, and nothing of ours."""
        variables = {
            "HOME": str(self.home),
            "PATH": f"{environment() / 'bin'}:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "COLUMNS": _WIDE,
            "CANFAR_CONSOLE__WIDTH": _WIDE,
            "CANFAR_CONSOLE__BANNER": "false",
            "NO_COLOR": "1",
            # Opens a browser by writing down what it would have shown.
            "BROWSER": f"{self.home / 'browser'} %s",
        }
        if not self.config:
            variables |= {"CANFAR_URL": f"{self.url}/v1", "CANFAR_TOKEN": self.token}
        return variables | changes

    def run(self, *words: str, status: int = 0, **changes: str) -> Said:
        """Run ``canfar`` with some words; another status than the expected one fails the test."""
        return self._run([str(environment() / "bin" / "canfar"), *words], status, changes)

    def python(self, source: str, *words: str, status: int = 0, **changes: str) -> Said:
        """Run a few lines of Python that import the client."""
        command = [str(environment() / "bin" / "python"), "-c", source, *words]
        return self._run(command, status, changes)

    def _run(self, command: list[str], status: int, changes: dict[str, str]) -> Said:
        done = subprocess.run(
            command,
            env=self.environ(**changes),
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        said = Said(done.stdout, done.stderr, done.returncode)
        assert done.returncode == status, f"{command[1:]} ended with {done.returncode}\n{said}"
        return said

    # What nearly every test does.

    def create(self, *words: str) -> list[str]:
        """Create sessions and give their ids."""
        if "--" in words:
            at = words.index("--")
            words = (*words[:at], "--output", "json", *words[at:])
        else:
            words = (*words, "--output", "json")
        found: list[str] = self.run("create", *words).json()
        return found

    def sessions(self, *words: str) -> dict[str, dict[str, Any]]:
        """List sessions as ``canfar ps -o json`` does, by id; nothing may be dropped or odd."""
        said = self.run("ps", "--output", "json", *words)
        assert not said.err.strip(), f"the client did not take a row:\n{said.err}"
        return {each["id"]: each for each in said.json()}

    def browser(self) -> Path:
        """Install the program that stands for her browser; gives the file of what it was shown."""
        shown = self.home / "shown"
        shown.unlink(missing_ok=True)
        program = self.home / "browser"
        program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$1" >> {shown}\n')
        program.chmod(0o755)
        return shown


def client_home() -> Path:
    """Make a home that no file of ours is in."""
    return Path(tempfile.mkdtemp(prefix="canfar-client-"))


def when(text: str) -> datetime:
    """Read a time as the client writes it; one without a zone would be a mistake of ours."""
    found = datetime.fromisoformat(text)
    assert found.tzinfo is not None, text
    return found
