"""Pages in the reader's language: which it is, and that a catalogue says everything."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import DictLoader, Environment

from canfar_spawner.portal import language
from canfar_spawner.portal.language import (
    ENGLISH,
    Language,
    Spoken,
    preferred,
    read_language,
    say,
    say_many,
    speak,
)
from tests.portal.samples import Drawer
from tests.support import messages

KNOWN = {"en": ENGLISH, "fr": Language("fr"), "pt-br": Language("pt-br")}

CATALOGUE = r"""
msgid ""
msgstr ""
"Content-Type: text/plain; charset=utf-8\n"
"Plural-Forms: nplurals=2; plural=(n > 1);\n"

#: canfar_spawner/portal/words.py:1
msgid "Stop %(name)s"
msgstr "Arrêter %(name)s"

#: canfar_spawner/portal/src/launch.ts:7
msgid "Copied"
msgstr "Copié"

#: canfar_spawner/portal/src/launch.ts:8
msgid "%(num)s core"
msgid_plural "%(num)s cores"
msgstr[0] "%(num)s cœur"
msgstr[1] "%(num)s cœurs"
"""


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", "en"),
        ("fr", "fr"),
        ("fr-CA,fr;q=0.9,en;q=0.8", "fr"),
        ("en-GB,fr;q=0.9", "en"),
        ("de,fr;q=0.5", "fr"),
        ("de", "en"),
        ("en;q=0.3,FR;q=0.7", "fr"),
        ("fr;q=0", "en"),
        ("pt-BR", "pt-br"),
        ("pt", "en"),
        ("fr;q=x,en", "en"),
        ("*", "en"),
    ],
)
def test_the_browser_is_given_what_it_wants_most(header: str, code: str) -> None:
    assert preferred(header, KNOWN).code == code


@given(st.text(max_size=200))
def test_any_header_is_answered(header: str) -> None:
    assert preferred(header, KNOWN).code in KNOWN


@pytest.fixture
def french(tmp_path: Path) -> Language:
    path = tmp_path / "fr.po"
    path.write_text(CATALOGUE)
    return read_language(path)


def test_python_speaks_it(french: Language) -> None:
    assert say("Stop %(name)s", name="<b>") == "Stop <b>"
    speak(french)
    try:
        assert say("Stop %(name)s", name="<b>") == "Arrêter <b>"
        assert say("Not there") == "Not there"
        assert [say_many("%(num)s core", "%(num)s cores", n) for n in (0, 1, 2)] == [
            "0 cœur",
            "1 cœur",
            "2 cœurs",
        ]
    finally:
        speak(ENGLISH)


def test_templates_speak_it_and_escape_what_they_are_given(french: Language) -> None:
    template = "{{ language().code }} {{ _('Stop %(name)s', name=name) }} {% trans name=name %}Stop {{ name }}{% endtrans %}"
    drawn = Environment(
        loader=DictLoader({"x": template}), autoescape=True, extensions=[Spoken]
    ).get_template("x")
    assert drawn.render(name="<b>") == "en Stop &lt;b&gt; Stop &lt;b&gt;"
    speak(french)
    try:
        assert drawn.render(name="<b>") == "fr Arrêter &lt;b&gt; Arrêter &lt;b&gt;"
    finally:
        speak(ENGLISH)


def test_the_browser_gets_what_scripts_say_and_no_more(french: Language) -> None:
    assert json.loads(french.browser) == {
        "Copied": "Copié",
        "%(num)s core": ["%(num)s cœur", "%(num)s cœurs"],
    }
    assert language.ENGLISH.browser == ""


def test_a_page_carries_what_its_scripts_say() -> None:
    draw = Drawer()
    english = next(draw.page("login.html").all("body"))
    assert "data-words" not in english.attributes
    speak(language.languages()["fr"])
    try:
        page = draw.page("login.html")
    finally:
        speak(ENGLISH)
    assert next(page.all("html")).attributes["lang"] == "fr"
    words = json.loads(next(page.all("body")).attributes["data-words"])
    assert words["Copied"] == "Copié"


@pytest.mark.parametrize("path", sorted(language.LOCALE.glob("*.po")), ids=lambda path: path.stem)
def test_a_language_says_nearly_everything_and_loses_nothing(path: Path) -> None:
    wanted, catalogue = messages.template(), messages.read(path)
    ids = [message.id for message in wanted if message.id]
    said = [each for each in ids if each in catalogue and any(messages.texts(catalogue[each])[1])]
    assert len(said) >= 0.95 * len(ids), "make messages, then translate what is new"
    for each in said:
        source, texts = messages.texts(catalogue[each])
        known = set().union(*map(messages.values, source))
        if len(source) == 1:
            assert messages.values(texts[0]) == known, each
        else:
            assert len(texts) == catalogue.num_plurals
            assert all(text and messages.values(text) <= known for text in texts), each


def test_every_message_of_a_script_is_found() -> None:
    """What the extractor cannot read would stay in English without anybody noticing."""
    found = {message.id for message in messages.template()}
    scripts = language.LOCALE.parent / "src"
    for path in scripts.glob("*.ts"):
        for said in re.findall(r'\bsay\(\s*"((?:[^"\\]|\\.)*)"', path.read_text()):
            assert said in found, f"{path.name}: {said}"
