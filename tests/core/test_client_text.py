"""No text a client sends reaches a template, a shell, a path or a page unchecked."""

from __future__ import annotations

import json
from collections.abc import Iterator

from hypothesis import example, given
from hypothesis import strategies as st

from canfar_spawner.core.backend import Secrets
from canfar_spawner.core.errors import SessionError
from canfar_spawner.core.request import options_from_fields, parse_request
from canfar_spawner.core.status import Evidence, Life
from canfar_spawner.core.view import session_view
from tests.core.strategies import GOOD_OPTIONS, MIXED_OPTIONS, SECRET
from tests.core.world import attempt, plan

FORBIDDEN = ("/../", "\0", "\n", "\r", "{", "}", "\u2028", "\x1b")


def texts(value: object) -> Iterator[str]:
    """Yield every text in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from (key, *texts(item))
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def with_secrets(options: dict[str, object]) -> dict[str, object]:
    env = options.get("env")
    env = dict.fromkeys(env, SECRET) if isinstance(env, dict) else {}
    secretive: dict[str, object] = {**options, "env": {**env, "MY_TOKEN": SECRET}}
    if "image" in options:
        secretive |= {"registry_user": SECRET + "-user", "registry_secret": SECRET}
    return secretive


@given(GOOD_OPTIONS | MIXED_OPTIONS)
@example({"container": "astroml", "open": "/arc/home/ada/{username}"})
@example({"container": "astroml", "open": "/arc/home/ada/a\nb"})
def test_every_text_of_a_plan_is_harmless(options: dict[str, object]) -> None:
    try:
        session = plan(options)
    except SessionError:
        return
    dumped = json.loads(session.model_dump_json(exclude={"command"}))
    view = session_view(session, Evidence(life=Life.RUNNING), answers=True, url="/user/ada/x/")
    for text in (*texts(dumped), *texts(json.loads(view.model_dump_json()))):
        assert not [mark for mark in FORBIDDEN if mark in text]
        assert text.isprintable()
    for path in [mount.path for mount in session.storage.mounts] + [session.open or "/"]:
        assert not {"..", "."} & set(path.split("/"))


@given(GOOD_OPTIONS | MIXED_OPTIONS)
def test_no_secret_is_in_a_plan_or_a_refusal(options: dict[str, object]) -> None:
    secretive = with_secrets(options)
    try:
        request = parse_request(secretive)
        shown = [repr(request), str(request), request.model_dump_json()]
        session = plan(secretive)
        secrets = Secrets(env=request.env, credentials=request.credentials)
        shown += [repr(session), str(session), session.model_dump_json()]
        shown += [repr(secrets), secrets.model_dump_json()]
        assert "MY_TOKEN" in session.env_names
    except SessionError as refusal:
        shown = [str(refusal), repr(refusal), json.dumps(refusal.as_json()), refusal.detail]
    assert not [text for text in shown if SECRET in text]


@given(st.text(min_size=1, max_size=20), st.text(max_size=20))
def test_no_line_of_variables_is_repeated(name: str, rest: str) -> None:
    fields = {"container": ["astroml"], "env": [f"{name}={rest}{SECRET}{rest}"]}
    result = attempt(lambda: plan(options_from_fields(fields)))
    if isinstance(result, SessionError):
        assert SECRET not in json.dumps(result.as_json())
    else:
        assert SECRET not in result.model_dump_json()


def test_the_view_has_names_of_variables_nowhere() -> None:
    session = plan({"container": "astroml", "env": {"MY_TOKEN": SECRET}})
    view = session_view(session, Evidence(life=Life.RUNNING), answers=True, url="")
    assert "MY_TOKEN" not in view.model_dump_json()
