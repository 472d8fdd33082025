"""Create requests of the wire contract, turned into the options that every route has.

The public client puts everything into the query string, other programs into a form, ours into a
JSON object; whatever the way, `parse_request` and the plan judge what comes out of here.
"""

from __future__ import annotations

import base64
import binascii
import re
import shlex
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from canfar_spawner.core.errors import Invalid, listing, shown
from canfar_spawner.core.images import ImageRef
from canfar_spawner.core.kinds import SessionKind
from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.core.request import FIELDS, SessionRequest
from canfar_spawner.manager.wire import DESKTOP_APP

PARAMETERS: Final = {
    "name": "name",
    "image": "image",
    "type": "kind",
    "cores": "cores",
    "ram": "memory",
    "gpus": "gpus",
    "cmd": "cmd",
    "args": "args",
    "env": "env",
}
"""The words of the contract and ours for them."""

ALSO: Final = ("container", "version", "kind", "mode", "memory", "projects", "open")
"""Words of ours that the query string and a form may have besides."""

_IN_WORDS: Final = (*PARAMETERS, *ALSO)
_IN_JSON: Final = (*dict.fromkeys([*PARAMETERS, *FIELDS]),)
_NUMBERS: Final = ("cores", "memory", "gpus")
_LISTS: Final = ("env", "projects")
_DECIMAL: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,3})?")
_BLANKS: Final = re.compile(r"[ \t\r\n]+")
_QUOTES: Final = re.compile("[\"']")
_LONGEST_HEADER: Final = 12_000
_MOST_ARGS: Final = 200_000
"""Characters of arguments in one text; the whole is taken apart before it is judged."""

Fields = Mapping[str, Sequence[bytes]]


def split_args(text: str) -> list[str]:
    """Take apart arguments that come as one text.

    Without quotes they are divided at blanks and nothing else is special. With quotes that match
    they are read as a shell reads them; with quotes that do not, quotes are letters like others.
    """
    if _QUOTES.search(text):
        try:
            return shlex.split(text)
        except ValueError:
            pass
    return [part for part in _BLANKS.split(text) if part]


def _texts(given: Fields) -> dict[str, list[str]]:
    found = {}
    for name, values in given.items():
        if name not in _IN_WORDS:
            raise _unknown(name, _IN_WORDS)
        try:
            found[name] = [value.decode() for value in values]
        except UnicodeDecodeError:
            raise Invalid(f"{name} is not UTF-8 text.", field=name) from None
    return found


def _unknown(name: str, known: Sequence[str]) -> Invalid:
    return Invalid(
        f"{shown(name)} is not a parameter of this call; there are"
        f" {listing(known, conjunction='and')}.",
        field=shown(name),
        allowed=known,
        code="unknown_field",
    )


def _env(pairs: Sequence[str]) -> dict[str, str]:
    env: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            # What stands there may be a value, and a value may be a secret.
            raise Invalid("Write each env as NAME=value; one has no name or no =.", field="env")
        if name in env:
            raise Invalid(f"The variable {shown(name)} is given twice.", field="env")
        env[name] = value
    return env


def _number(word: str, text: str) -> int | float:
    if not _DECIMAL.fullmatch(text):
        raise Invalid(f"{word} must be a plain number; you gave {shown(text)}.", field=word)
    value = Decimal(text)
    return int(value) if value == value.to_integral_value() else float(value)


def _put(options: dict[str, Any], field: str, value: object, word: str) -> None:
    if field in options:
        raise Invalid(f"{word} is given twice; once is enough.", field=word)
    options[field] = value


def _kind(word: str, text: object) -> object:
    if text == DESKTOP_APP:
        raise Invalid(
            "Programs of a desktop are started in the desktop itself; choose"
            f" {listing(SessionKind)}.",
            field=word,
            allowed=SessionKind,
        )
    if word == "type" and text not in tuple(SessionKind):
        raise Invalid(
            f"type must be {listing(SessionKind)}; you gave {shown(text)}.",
            field=word,
            allowed=SessionKind,
        )
    return text


def options_from_words(query: Fields, form: Fields) -> dict[str, Any]:
    """Read the query string and a form, which share their names; one without a type is a job.

    Values left empty count as not given.

    Parameters
    ----------
    query, form : mapping
        Each name with all its values, as they came.

    Raises
    ------
    Invalid
        A parameter is unknown, given twice, or cannot be read.
    """
    given: dict[str, list[str]] = {}
    for source in (query, form):
        for name, values in _texts(source).items():
            given.setdefault(name, []).extend(value for value in values if value)
    options: dict[str, Any] = {}
    for word, values in given.items():
        field = PARAMETERS.get(word, word)
        if not values:
            continue
        if field == "env":
            _put(options, field, _env(values), word)
            continue
        if field in _LISTS:
            _put(options, field, values, word)
            continue
        if len(values) > 1:
            raise Invalid(f"{word} is given {len(values)} times; once is enough.", field=word)
        text = values[0]
        if field in _NUMBERS:
            _put(options, field, _number(word, text), word)
        elif field == "args":
            _put(options, field, _split(text), word)
        elif field == "kind":
            _put(options, field, _kind(word, text), word)
        else:
            _put(options, field, text, word)
    if "container" not in options:
        options.setdefault("kind", SessionKind.HEADLESS.value)
    return options


def _split(text: str) -> list[str]:
    if len(text) > _MOST_ARGS:
        raise Invalid(f"args has more than {_MOST_ARGS} characters.", field="args")
    return split_args(text)


def options_from_json(body: object) -> dict[str, Any]:
    """Read a JSON object: the fields of every route, and the contract's words for them.

    `env` is an object, or a list of texts with ``=``; `args` a list, which is kept exactly, or one
    text, which is taken apart.

    Raises
    ------
    Invalid
    """
    if not isinstance(body, Mapping):
        raise Invalid("The body must be a JSON object with a value for each field.")
    options: dict[str, Any] = {}
    for word, value in body.items():
        if not isinstance(word, str) or word not in _IN_JSON:
            raise _unknown(str(word), _IN_JSON)
        if value is not None:
            field: str = PARAMETERS.get(word, word)
            _put(options, field, _from_json(field, word, value), word)
    return options


def _from_json(field: str, word: str, value: object) -> object:
    if field == "args" and isinstance(value, str):
        return _split(value)
    if field == "env" and isinstance(value, list):
        if not all(isinstance(each, str) for each in value):
            raise Invalid("env must be an object, or a list of NAME=value.", field="env")
        return _env(value)
    return _kind(word, value) if field == "kind" else value


def with_registry(
    options: Mapping[str, Any], header: str | None, policy: SitePolicy
) -> dict[str, Any]:
    """Add the registry's user and secret, which the client sends with every call.

    They are for images given by reference alone: the site's own images need none, and may be
    kept at another registry than the one whose secret this is.

    Parameters
    ----------
    options : mapping
    header : str or None
        Of ``X-Skaha-Registry-Auth``: the base64 of ``user:secret``.
    policy : SitePolicy

    Raises
    ------
    Invalid
        The header cannot be read. It is not repeated.
    """
    found = dict(options)
    if not header:
        return found
    refusal = Invalid(
        "X-Skaha-Registry-Auth must be the base64 of user:secret.", field="registry_user"
    )
    if len(header) > _LONGEST_HEADER:
        raise refusal
    try:
        text = base64.b64decode(header.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        raise refusal from None
    user, colon, secret = text.partition(":")
    if not (colon and user and secret):
        raise refusal
    image = options.get("image")
    if not isinstance(image, str) or _container(ImageRef.parse(image), policy) is not None:
        return found
    for field, value in (("registry_user", user), ("registry_secret", secret)):
        _put(found, field, value, field)
    return found


def _container(image: ImageRef, policy: SitePolicy) -> Any:
    """Find the container that a reference stands for, whoever may start it."""
    everybody = frozenset(
        group for container in policy.catalogue.containers for group in container.groups
    )
    found = policy.catalogue.alias(image, everybody)
    return found[0] if found else None


def kind_of(request: SessionRequest, policy: SitePolicy) -> SessionKind | None:
    """Say what a request runs as; None where the hub's own judgement will refuse it."""
    if request.kind is not None:
        return request.kind
    if request.image is not None:
        container = _container(request.image, policy)
        return container.kinds[0] if container else None
    for container in policy.catalogue.containers:
        if container.name == request.container:
            return container.kinds[0]
    return None


def what_was_asked(options: Mapping[str, Any]) -> tuple[str, str]:
    """Give a request's name and its container or image, for a list of refusals."""

    def text(field: str) -> str:
        value = options.get(field)
        return shown(value, limit=200) if isinstance(value, str) else ""

    return text("name"), text("container") or text("profile") or text("image")
