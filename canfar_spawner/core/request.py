"""The one gate for what a client sends, whichever route it came by."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Final, TypeVar

from pydantic import SecretStr

from canfar_spawner.core.errors import Invalid, listing, shown
from canfar_spawner.core.frozen import Frozen
from canfar_spawner.core.images import ImageRef
from canfar_spawner.core.kinds import SessionKind
from canfar_spawner.core.names import SessionId, session_id
from canfar_spawner.core.resources import ResourceMode

FIELDS: Final = (
    "container",
    "profile",
    "version",
    "image",
    "kind",
    "name",
    "mode",
    "cores",
    "memory",
    "gpus",
    "projects",
    "open",
    "continues",
    "env",
    "cmd",
    "args",
    "registry_user",
    "registry_secret",
)
"""The words of a request, on every route."""

SECRET_FIELDS: Final = frozenset({"env", "registry_user", "registry_secret"})
"""Fields whose values are never stored or shown."""

_NUMBERS: Final = ("cores", "memory", "gpus")
_LISTS: Final = ("projects", "continues", "args")

_Word = TypeVar("_Word", SessionKind, ResourceMode)

_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_DECIMAL = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,3})?")

_NAME_LENGTH = 80
_NAME_MARKS = frozenset(" -_.+")
_MOST_CONTINUED = 20
_MOST_ENV = 200
_MOST_ARGS = 1000
_LONGEST_TEXT = 32_768
"""In bytes; Linux takes 128 KiB for one string of a command or its environment."""

_WORD_RULE = "use up to 64 letters, digits and _ . -, and begin with none of the last two"

_RESERVED_NAMES = frozenset(
    {
        *("HOME", "USER", "LOGNAME", "PATH", "PWD", "SHELL", "TMPDIR"),
        *("PYTHONHOME", "IFS", "BASH_ENV"),
        # The C library reads these in programs that set a session up before it is the user's.
        *("GCONV_PATH", "GLIBC_TUNABLES", "LOCPATH", "NLSPATH"),
    }
)
_RESERVED_FAMILIES = frozenset({"JUPYTERHUB", "CANFAR", "JPY", "LD", "JUPYTER", "XDG"})


class RegistryCredentials(Frozen):
    """What a private registry asks for; kept in memory only."""

    user: SecretStr
    secret: SecretStr


class SessionRequest(Frozen):
    """A request whose form is right; whether it is granted is for `plan_session`."""

    container: str | None = None
    version: str | None = None
    image: ImageRef | None = None
    kind: SessionKind | None = None
    name: str | None = None
    mode: ResourceMode | None = None
    cores: Decimal | None = None
    memory: Decimal | None = None
    """GB of 2³⁰ bytes."""
    gpus: Decimal | None = None
    projects: tuple[str, ...] | None = None
    open: str | None = None
    continues: tuple[SessionId, ...] = ()
    """The sessions in whose place this one is, the last first: their links lead to it."""
    env: tuple[tuple[str, SecretStr], ...] = ()
    cmd: str | None = None
    args: tuple[str, ...] = ()
    credentials: RegistryCredentials | None = None


def _text(options: Mapping[str, object], field: str) -> str | None:
    value = options.get(field)
    if value is None:
        return None
    if not isinstance(value, str):
        raise Invalid(f"{field} must be text; you gave {shown(value)}.", field=field)
    return value


def _word(options: Mapping[str, object], field: str) -> str | None:
    value = _text(options, field)
    if value is not None and not _WORD.fullmatch(value):
        raise Invalid(f"There is no {field} {shown(value)}: {_WORD_RULE}.", field=field)
    return value


def _choice(options: Mapping[str, object], field: str, words: type[_Word]) -> _Word | None:
    value = options.get(field)
    if value is None:
        return None
    for word in words:
        if value == word.value:
            return word
    raise Invalid(
        f"{field} must be {listing(words)}; you gave {shown(value)}.", field=field, allowed=words
    )


def _number(options: Mapping[str, object], field: str) -> Decimal | None:
    value = options.get(field)
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = Decimal(repr(value))
        except (InvalidOperation, ValueError):
            number = Decimal("NaN")
        if number.is_finite() and _DECIMAL.fullmatch(format(number, "f")):
            return number
    raise Invalid(
        f"{field} must be a plain number, at most 12 digits; you gave {shown(value)}.", field=field
    )


def _name(options: Mapping[str, object]) -> str | None:
    value = _text(options, "name")
    if value is None:
        return None
    # Composing takes the square of the time for a long text; no sign is made of more than four.
    name = unicodedata.normalize("NFC", value) if len(value) <= 4 * _NAME_LENGTH else ""
    plain = all(char.isalnum() or char in _NAME_MARKS for char in name)
    if not (plain and 0 < len(name) <= _NAME_LENGTH and name[0].isalnum() and name[-1] != " "):
        raise Invalid(
            f"{shown(value)} cannot be a name: use 1 to {_NAME_LENGTH} letters, digits, spaces"
            " and - _ . + and begin with a letter or digit.",
            field="name",
        )
    return name


def _strings(options: Mapping[str, object], field: str, *, most: int) -> tuple[str, ...] | None:
    value = options.get(field)
    if value is None:
        return None
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise Invalid(f"{field} must be a list of texts; you gave {shown(value)}.", field=field)
    if len(value) > most:
        raise Invalid(f"{field} has {len(value)} entries; at most {most} are taken.", field=field)
    return tuple(value)


def _projects(options: Mapping[str, object]) -> tuple[str, ...] | None:
    value = _strings(options, "projects", most=1000)
    for project in value or ():
        if not _WORD.fullmatch(project):
            raise Invalid(
                f"{shown(project)} cannot be a project's name: {_WORD_RULE}.", field="projects"
            )
    return value


def _continues(options: Mapping[str, object]) -> tuple[SessionId, ...]:
    value = _strings(options, "continues", most=_MOST_CONTINUED)
    found = (session_id(each, field="continues") for each in value or ())
    return tuple(dict.fromkeys(found))


def _fits_exec(text: str) -> bool:
    try:
        return len(text.encode()) <= _LONGEST_TEXT and "\0" not in text
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can carry
        return False


def _env(options: Mapping[str, object]) -> tuple[tuple[str, SecretStr], ...]:
    value = options.get("env")
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        raise Invalid("env must give a text for each variable's name.", field="env")
    if len(value) > _MOST_ENV:
        raise Invalid(f"env has {len(value)} variables; at most {_MOST_ENV}.", field="env")
    pairs = []
    for key, text in value.items():
        if not isinstance(key, str) or not _ENV_NAME.fullmatch(key):
            raise Invalid(
                f"{shown(key)} cannot be a variable's name: use letters, digits and _, and do"
                " not begin with a digit.",
                field="env",
            )
        if key in _RESERVED_NAMES or key.partition("_")[0] in _RESERVED_FAMILIES:
            raise Invalid(f"The variable {key} is set by the platform; leave it out.", field="env")
        if not isinstance(text, str) or not _fits_exec(text):
            # The value is not repeated: it may be a secret.
            raise Invalid(
                f"The value of {key} must be text of at most {_LONGEST_TEXT} bytes without a NUL.",
                field="env",
            )
        pairs.append((key, SecretStr(text)))
    return tuple(sorted(pairs, key=lambda pair: pair[0]))


def _command(options: Mapping[str, object]) -> tuple[str | None, tuple[str, ...]]:
    cmd = _text(options, "cmd")
    args = _strings(options, "args", most=_MOST_ARGS) or ()
    if cmd is not None and (not cmd or not _fits_exec(cmd)):
        raise Invalid(
            f"cmd must name a program, in at most {_LONGEST_TEXT} bytes without a NUL.",
            field="cmd",
        )
    if not all(map(_fits_exec, args)):
        raise Invalid(
            f"Each of args takes at most {_LONGEST_TEXT} bytes without a NUL.", field="args"
        )
    return cmd, args


def _credentials(options: Mapping[str, object]) -> RegistryCredentials | None:
    user, secret = options.get("registry_user"), options.get("registry_secret")
    if user is None and secret is None:
        return None
    for field, value in (("registry_user", user), ("registry_secret", secret)):
        if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= 4096:
            raise Invalid(
                "A private image needs both registry_user and registry_secret, as text.",
                field=field,
            )
    if options.get("image") is None:
        raise Invalid(
            "Registry credentials go with an image given by reference; leave them out.",
            field="registry_user",
        )
    return RegistryCredentials(user=SecretStr(str(user)), secret=SecretStr(str(secret)))


def parse_request(options: object) -> SessionRequest:
    """Check the form of a request.

    Parameters
    ----------
    options : mapping
        The keys of `FIELDS` with JSON values. A key whose value is None counts as absent.

    Returns
    -------
    SessionRequest

    Raises
    ------
    Invalid
        A key is unknown, a value has the wrong type or form, or two keys contradict each other.
    """
    if not isinstance(options, Mapping):
        raise Invalid("A session request must be an object with a value for each field.")
    for key in options:
        if key not in FIELDS:
            raise Invalid(
                f"{shown(key)} is not a field of a session request; the fields are"
                f" {listing(FIELDS, conjunction='and')}.",
                field=shown(key),
                allowed=FIELDS,
                code="unknown_field",
            )
    container, profile = _word(options, "container"), _word(options, "profile")
    if container is not None and profile is not None:
        raise Invalid("profile is another word for container; give one of them.", field="profile")
    image_text = _text(options, "image")
    chosen = container or profile
    if (chosen is None) == (image_text is None):
        raise Invalid(
            "Choose a container, or give an image by reference, but not both.", field="container"
        )
    if image_text is not None and options.get("version") is not None:
        raise Invalid("The version of an image is its tag; leave version out.", field="version")
    cmd, args = _command(options)
    return SessionRequest(
        container=chosen,
        version=_word(options, "version"),
        image=None if image_text is None else ImageRef.parse(image_text),
        kind=_choice(options, "kind", SessionKind),
        name=_name(options),
        mode=_choice(options, "mode", ResourceMode),
        cores=_number(options, "cores"),
        memory=_number(options, "memory"),
        gpus=_number(options, "gpus"),
        projects=_projects(options),
        open=_text(options, "open"),
        continues=_continues(options),
        env=_env(options),
        cmd=cmd,
        args=args,
        credentials=_credentials(options),
    )


def _plain(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


def options_of(request: SessionRequest) -> dict[str, object]:
    """Write a request as options that give the same request again, values of env included."""
    options: dict[str, object] = {}
    for field in ("container", "version", "name", "open", "cmd"):
        if (text := getattr(request, field)) is not None:
            options[field] = text
    for field in ("kind", "mode"):
        if (word := getattr(request, field)) is not None:
            options[field] = word.value
    for field in _NUMBERS:
        if (value := getattr(request, field)) is not None:
            options[field] = _plain(value)
    if request.image is not None:
        options["image"] = str(request.image)
    if request.projects is not None:
        options["projects"] = list(request.projects)
    for field in ("continues", "args"):
        if texts := getattr(request, field):
            options[field] = list(texts)
    if request.env:
        options["env"] = {name: value.get_secret_value() for name, value in request.env}
    if request.credentials is not None:
        options["registry_user"] = request.credentials.user.get_secret_value()
        options["registry_secret"] = request.credentials.secret.get_secret_value()
    return options


def without_secrets(options: Mapping[str, object]) -> dict[str, object]:
    """Give options as they may be stored and shown: variables by name, no credentials.

    Anything else is left as it is, also where it is wrong, so that a refusal can still name it.
    """
    kept = {key: value for key, value in options.items() if key not in SECRET_FIELDS}
    env = options.get("env")
    if isinstance(env, Mapping):
        kept["env"] = sorted(shown(name) for name in env)
    return kept


def options_from_fields(fields: Mapping[str, Sequence[str]]) -> dict[str, object]:
    """Read a submitted form or a query string into options.

    Empty values count as not given; ``projects`` given only empty means none of them. Numbers
    are read where the text is one and left as text where not, for `parse_request` to refuse.

    Raises
    ------
    Invalid
        A field that takes one value has several, or ``env`` is neither lines with ``=`` nor
        one JSON object, which alone can give values of several lines.
    """
    options: dict[str, object] = {}
    for field, values in fields.items():
        if field in _LISTS:
            options[field] = [value for value in values if value]
            continue
        given = [value for value in values if value]
        if not given:
            continue
        if len(given) > 1:
            raise Invalid(
                f"{shown(field)} is given {len(given)} times; once is enough.", field=field
            )
        text = given[0]
        if field in _NUMBERS and _DECIMAL.fullmatch(text):
            options[field] = _plain(Decimal(text))
        elif field == "env":
            options[field] = _env_lines(text)
        else:
            options[field] = text
    return options


def _env_lines(text: str) -> dict[str, object]:
    refusal = Invalid(
        "Write one variable a line, as NAME=value, or all of them as one JSON object.", field="env"
    )
    if text.lstrip()[:1] == "{":  # no variable's name begins so
        try:
            return dict(json.loads(text))
        except (ValueError, RecursionError):
            raise refusal from None
    pairs: dict[str, object] = {}
    # Browsers end lines so; splitlines would also cut at characters that values may have.
    for line in re.split(r"\r\n|\r|\n", text):
        if not line.strip():
            continue
        name, equals, value = line.partition("=")
        if not equals:
            raise refusal
        pairs[name.strip()] = value
    return pairs
