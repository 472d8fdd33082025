"""What the launch form shows: what is filled in, what a link may say, what is never shown again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from canfar_spawner.core.errors import Invalid
from canfar_spawner.hub.platform import Platform
from canfar_spawner.portal.form import launch_form, spawner_form
from canfar_spawner.portal.views import LaunchForm
from tests.core.world import ADA, NOW, SITE
from tests.support.memory_backend import MemoryBackend


class Fake:
    """A platform of the site that the core's tests use."""

    policy = SITE
    backend = MemoryBackend(lambda: NOW)
    identities = SimpleNamespace(identity=lambda _: ADA)
    news = SimpleNamespace(name=lambda plan: plan.name)

    @staticmethod
    def fresh_session() -> str:
        return "abcd1234"


PLATFORM = cast("Platform", Fake())


def linked(query: dict[str, list[str]], *names: str) -> LaunchForm:
    arguments = {name: [value.encode() for value in values] for name, values in query.items()}
    user: Any = SimpleNamespace(name="ada", spawners={})
    for name in names:
        plan = SimpleNamespace(name=name)
        user.spawners[name] = SimpleNamespace(active=True, plan=plan)
    request = SimpleNamespace(query_arguments=arguments)
    handler = SimpleNamespace(request=request)
    return spawner_form(SimpleNamespace(platform=PLATFORM, user=user, handler=handler))


def test_what_a_registry_asks_for_is_never_shown_again() -> None:
    fields = {
        "image": ["images.canfar.net/skaha/x:1"],
        "registry_user": ["ada@example.org"],
        "registry_secret": ["hush"],
        "env": ["A=1"],
    }
    form = launch_form(
        PLATFORM,
        owner="ada",
        active=frozenset(),
        fields=fields,
        refusal=Invalid("No.", field="registry_secret"),
    )
    assert "hush" not in repr(form)
    assert "ada@example.org" not in repr(form)
    assert form.values == {"image": fields["image"][0], "env": "A=1"}
    assert form.errors == {"registry_secret": "No."}


@pytest.mark.parametrize("field", ["registry_user", "registry_secret", "uid", "<script>"])
def test_a_link_sets_nothing_secret_and_nothing_unknown(field: str) -> None:
    form = linked({f"opt-{field}": ["hush"], "opt-name": ["M31"]})
    assert "hush" not in repr(form)
    assert any("A link cannot set" in notice for notice in form.notices)
    assert form.values == {"name": "M31"}


def test_values_of_variables_that_are_not_kept_are_asked_for() -> None:
    form = linked({"opt-env": ["TOKEN=\nRUNS=3\nKEY="]})
    assert form.values["env"] == "TOKEN=\nRUNS=3\nKEY="
    assert any("fill in TOKEN and KEY below" in notice for notice in form.notices)
    assert linked({"opt-env": ["RUNS=3"]}).notices == ()


def test_an_empty_form_is_for_what_was_chosen_last_time() -> None:
    assert not linked({}).filled
    assert linked({"opt-container": ["astroml"]}).filled
    assert linked({"opt-projects": [""]}).filled
    assert linked({}, "M31", "M33").taken == ("M31", "M33")


def test_the_form_says_what_a_flexible_session_surely_has() -> None:
    flexible = SITE.resources.default.flexible
    least = linked({}).sizes["notebook"].least
    assert least == (str(flexible.cores_request), str(flexible.memory_request))
    assert linked({}).lifetime_seconds == SITE.lifetimes.interactive.total_seconds()
