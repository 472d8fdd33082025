"""The words of pages in the language of whoever reads them.

English is what the sources say. A file ``locale/<language>.po`` beside this module adds a language;
nothing else does. Templates write ``_("…")`` and ``{% trans %}``, Python ``say("…")``, TypeScript
``say("…")`` too; a value stands as ``%(name)s`` in each of them.
"""

from __future__ import annotations

import gettext
import io
import json
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment
from jinja2.ext import InternationalizationExtension

LOCALE: Final = Path(__file__).parent / "locale"
SOURCE: Final = "en"
_BROWSER: Final = ".ts"
"""Where a message is written that the browser's side says by itself."""


@dataclass(frozen=True)
class Language:
    """A language that pages speak.

    Attributes
    ----------
    code : str
        As in ``<html lang>``.
    words : gettext.NullTranslations
        What each message is in it.
    browser : str
        JSON of the messages that TypeScript says: a text each, or one for each form of a plural.
        Empty where it says what the sources say.
    """

    code: str
    words: gettext.NullTranslations = field(default_factory=gettext.NullTranslations)
    browser: str = ""


ENGLISH: Final = Language(SOURCE)
_spoken: ContextVar[Language] = ContextVar("language", default=ENGLISH)


def read_language(path: Path) -> Language:
    """Read a language from a catalogue of gettext.

    Parameters
    ----------
    path : pathlib.Path
        A ``.po`` file, named after the language.
    """
    # What a hub without a second language need not have.
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    with path.open("rb") as file:
        catalogue = read_po(file, locale=path.stem)
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    browser = {
        message.id if isinstance(message.id, str) else message.id[0]: message.string
        for message in catalogue
        if message.id
        and message.string
        and any(place.endswith(_BROWSER) for place, _ in message.locations)
    }
    return Language(
        code=path.stem,
        words=gettext.GNUTranslations(compiled),
        browser=json.dumps(browser, ensure_ascii=False, separators=(",", ":")) if browser else "",
    )


@cache
def languages() -> Mapping[str, Language]:
    """Give the languages that there are, by their codes."""
    return {SOURCE: ENGLISH} | {
        path.stem: read_language(path) for path in sorted(LOCALE.glob("*.po"))
    }


def _wanted(header: str) -> Iterable[str]:
    """Give the codes of an ``Accept-Language`` header, the most wanted first."""
    found: list[tuple[float, str]] = []
    for part in header.split(",")[:20]:
        name, _, weight = part.partition(";q=")
        try:
            found.append((float(weight or 1), name.strip().lower()))
        except ValueError:
            continue
    return [name for weight, name in sorted(found, key=lambda each: -each[0]) if weight > 0]


def preferred(header: str, known: Mapping[str, Language] | None = None) -> Language:
    """Choose a language for a browser.

    Parameters
    ----------
    header : str
        What it sends as ``Accept-Language``.
    known : mapping, optional
        The languages to choose from.
    """
    offered = languages() if known is None else known
    for name in _wanted(header):
        found = offered.get(name) or offered.get(name.partition("-")[0])
        if found is not None:
            return found
    return ENGLISH


def speak(language: Language) -> None:
    """Speak a language from now on in this request."""
    _spoken.set(language)


def language() -> Language:
    """Give the language of this request."""
    return _spoken.get()


def marked(message: str) -> str:
    """Give a message as it is: it is written where it cannot be said yet."""
    return message


def say(message: str, **values: object) -> str:
    """Say a message.

    Parameters
    ----------
    message : str
        In English, each value as ``%(name)s``.
    **values : object
    """
    said = _spoken.get().words.gettext(message)
    return said % values if values else said


def say_many(one: str, many: str, number: int, **values: object) -> str:
    """Say a message of a number of things, ``%(num)s`` of them."""
    return _spoken.get().words.ngettext(one, many, number) % {"num": number, **values}


def _gettext(message: str) -> str:
    return _spoken.get().words.gettext(message)


def _ngettext(one: str, many: str, number: int) -> str:
    return _spoken.get().words.ngettext(one, many, number)


class Spoken(InternationalizationExtension):
    """Gives templates the language of their request: ``_()``, ``{% trans %}``, ``language()``."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        globals_: dict[str, Any] = environment.globals
        globals_["language"] = language
        # Line breaks of a template are no part of a message.
        environment.policies["ext.i18n.trimmed"] = True
        install = environment.install_gettext_callables  # type: ignore[attr-defined]
        install(_gettext, _ngettext, newstyle=True)
