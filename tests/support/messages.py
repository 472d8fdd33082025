"""The messages of the pages: ``python -m tests.support.messages`` brings every catalogue up to date."""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.pofile import read_po, write_po

from canfar_spawner.core.kinds import KINDS
from canfar_spawner.core.status import REASONS
from canfar_spawner.portal.language import LOCALE
from tests.support.hub import ROOT

_KEYWORDS = {**DEFAULT_KEYWORDS, "say": None, "marked": None, "say_many": (1, 2), "sayMany": (1, 2)}
_CORE = (
    (
        "canfar_spawner/core/status.py",
        [text for each in REASONS.values() for text in (each.sentence, each.advice)],
    ),
    ("canfar_spawner/core/kinds.py", [spec.title for spec in KINDS.values()]),
)
"""What is written where nothing can be said, and said by the pages."""


def _ours(directory: str) -> bool:
    path = Path(directory)
    return path == ROOT or "canfar_spawner" in path.relative_to(ROOT).parts[:1]


@functools.cache
def template() -> Catalog:
    """Give every message of the sources."""
    with (LOCALE / "babel.ini").open() as file:
        methods, options = parse_mapping_cfg(file)
    found = Catalog(project="CANFAR Hub", fuzzy=False)
    for path, line, message, comments, _ in extract_from_dir(
        ROOT, methods, options, keywords=_KEYWORDS, strip_comment_tags=True, directory_filter=_ours
    ):
        found.add(message, locations=[(path, line)], auto_comments=comments)
    for path, texts in _CORE:
        for text in filter(None, texts):
            found.add(text, locations=[(path, 1)])
    return found


def catalogues() -> Iterator[Path]:
    """Give the file of each language."""
    yield from sorted(LOCALE.glob("*.po"))


def read(path: Path) -> Catalog:
    """Read a catalogue as its file has it."""
    with path.open("rb") as file:
        return read_po(file, locale=path.stem)


def texts(message: Message) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Give what a message is in English and in the catalogue, each form of it."""
    source = message.id if isinstance(message.id, tuple) else (message.id,)
    said = message.string if isinstance(message.string, tuple) else (message.string,)
    return tuple(source), tuple(said)


def values(text: str) -> set[str]:
    """Give the values and the markup of a text."""
    return set(re.findall(r"%\(\w+\)s|</?\w+[^>]*>", text))


def write(path: Path, catalogue: Catalog) -> None:
    """Write a catalogue, without what changes although nothing was said differently."""
    catalogue.header_comment = f"# The pages in {catalogue.locale.english_name}."
    written = io.BytesIO()
    write_po(
        written, catalogue, width=100, ignore_obsolete=True, include_lineno=False, sort_by_file=True
    )
    kept = ("Language:", "Plural-Forms:", "MIME-Version:", "Content-")
    head, blank, rest = written.getvalue().decode().partition("\n\n")
    lines = [
        line
        for line in head.splitlines()
        if not line.startswith('"') or line.startswith(tuple(f'"{word}' for word in kept))
    ]
    path.write_text("\n".join(lines) + blank + rest)


def main() -> None:
    """Bring every catalogue up to date."""
    wanted = template()
    for path in catalogues():
        catalogue = read(path)
        catalogue.update(wanted, no_fuzzy_matching=True)
        write(path, catalogue)
        left = sum(not any(texts(message)[1]) for message in catalogue if message.id)
        print(f"{path.name}: {len(catalogue)} messages, {left} to be translated")


if __name__ == "__main__":
    main()
