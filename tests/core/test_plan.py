from __future__ import annotations

import hashlib
import json
from datetime import timedelta

import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from canfar_spawner.core.errors import Invalid, LimitReached, SessionError
from canfar_spawner.core.identity import PosixIdentity
from canfar_spawner.core.kinds import KINDS, Entry, SessionKind
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.resources import GIB, Allocation
from canfar_spawner.core.storage import Area
from tests.core.strategies import GOOD_OPTIONS, MIXED_OPTIONS
from tests.core.world import ADA, BEN, EVE, NOW, SITE, STAFF, attempt, outcome, plan, site

PEOPLE = st.sampled_from([ADA, BEN, EVE, STAFF])


def digest(session: SessionPlan) -> str:
    return hashlib.sha256(session.model_dump_json().encode()).hexdigest()


@given(GOOD_OPTIONS)
def test_equal_requests_give_equal_plans(options: dict[str, object]) -> None:
    copy = json.loads(json.dumps(options))
    one = plan(options)
    other = plan(dict(reversed(list(copy.items()))), policy=site())
    assert one == other
    assert digest(one) == digest(other)
    assert one.policy_digest == SITE.digest


@given(MIXED_OPTIONS, PEOPLE)
def test_a_plan_stays_within_what_is_offered(
    options: dict[str, object], identity: PosixIdentity
) -> None:
    result = attempt(lambda: plan(options, identity))
    event(type(result).__name__)
    if isinstance(result, SessionError):
        assert result.status == 400
        assert result.sentence.isprintable()
        assert len(result.sentence) <= 400
    else:
        check(result, identity)


@given(GOOD_OPTIONS)
def test_good_requests_are_granted(options: dict[str, object]) -> None:
    check(plan(options), ADA)


def check(session: SessionPlan, identity: PosixIdentity) -> None:
    assert session.identity == identity
    spec, choices = KINDS[session.kind], SITE.resources.of(session.kind)
    sizes, flexible = session.resources, choices.flexible
    cores = (sizes.cores_request, sizes.cores_limit)
    memory = (sizes.memory_request // GIB, sizes.memory_limit // GIB)
    shared_cores = cores == (flexible.cores_request, flexible.cores_limit)
    shared_memory = memory == (flexible.memory_request, flexible.memory_limit)
    assert shared_cores or (cores[0] == cores[1] and cores[0] in choices.cores)
    assert shared_memory or (memory[0] == memory[1] and memory[0] in choices.memory)
    assert sizes.gpus in choices.gpus
    if sizes.allocation is Allocation.FLEXIBLE:
        assert shared_cores
        assert shared_memory
    else:
        assert len(spec.modes) == 2
    mounted = {mount.name for mount in session.storage.find(Area.PROJECT)}
    assert mounted <= set(session.identity.projects) & SITE.project_names
    assert session.storage.home == f"/arc/home/{session.identity.name}"
    if session.container is None:
        registry = session.image.registry
        assert registry == "registry.example.org:5000" or (
            (registry, session.image.project) == ("images.canfar.net", "skaha")
        )
    else:
        container = SITE.catalogue.find(session.container, session.identity.group_names)
        assert session.kind in container.kinds
        assert session.image == SITE.catalogue.image(container, container.version(session.version))
    assert session.command == () or spec.has_command
    assert session.ends == NOW + SITE.lifetimes.of(session.kind)
    assert SessionPlan.model_validate_json(session.model_dump_json()) == session


def test_a_plan_in_full() -> None:
    session = plan({"container": "astroml", "mode": "fixed", "cores": 2, "memory": 4})
    assert session.name == "astroml"
    assert session.kind is SessionKind.NOTEBOOK
    assert (session.container, session.title, session.version) == ("astroml", "AstroML", "26.11")
    assert str(session.image) == "images.canfar.net/skaha/astroml:26.11"
    assert (session.entry, session.port, session.keeps_prefix) == (Entry.DIRECT, 8888, True)
    assert session.resources.allocation is Allocation.FIXED
    assert session.object_name == "k3vd81qa-ada"
    assert session.owner == "ada"
    assert (session.started, session.ends) == (NOW, NOW + timedelta(days=4))
    assert session.command == ()


def test_an_image_by_reference_runs_behind_the_gateway() -> None:
    session = plan({"image": "images.canfar.net/skaha/own/thing:2", "kind": "notebook"})
    assert session.container is None
    assert (session.name, session.title, session.version) == ("thing", "own/thing", "2")
    assert session.entry is Entry.GATEWAY


def test_an_image_by_reference_must_say_what_it_is() -> None:
    with pytest.raises(Invalid, match="notebook, desktop") as caught:
        plan({"image": "images.canfar.net/skaha/own:2"})
    assert caught.value.field == "kind"
    assert caught.value.allowed == tuple(SessionKind)


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("images.canfar.net/skaha/x", "latest"),
        ("images.canfar.net/skaha/x:1", "1"),
        ("images.canfar.net/skaha/x@sha256:" + "0" * 64, "sha256:" + "0" * 64),
        ("images.canfar.net/skaha/x:1@sha256:" + "0" * 64, "1"),
    ],
)
def test_an_image_is_pulled_as_it_was_written(image: str, version: str) -> None:
    session = plan({"image": image, "kind": "contributed"})
    assert (str(session.image), session.version) == (image, version)


def test_a_reference_to_the_catalogue_is_the_container() -> None:
    by_image = plan({"image": "images.canfar.net/cirada/astroml:26.05"})
    assert by_image == plan({"container": "astroml", "version": "26.05"})


def test_a_refused_tag_is_refused_at_the_image() -> None:
    with pytest.raises(Invalid, match=r"26\.11") as caught:
        plan({"image": "images.canfar.net/skaha/astroml:9"})
    assert caught.value.field == "image"


@pytest.mark.parametrize("version", ["26.11", "26.05", "_dev"])
def test_every_version_can_be_asked_for(version: str) -> None:
    assert plan({"container": "astroml", "version": version}).version == version


def test_a_job_has_its_command_word_for_word() -> None:
    args = ["-c", "", "a b", "{user}", "$(id)", "/../", "two\nlines", '"', "'"]
    options = {"container": "astroml", "kind": "headless", "cmd": "python", "args": args}
    session = plan(options)
    assert session.command == ("python", *args)
    assert session.ends == NOW + timedelta(days=14)
    assert plan({"container": "astroml", "kind": "headless"}).command == ()


@pytest.mark.parametrize("kind", ["desktop", "firefly"])
def test_kinds_that_only_share(kind: str) -> None:
    assert plan({"container": kind}).resources.allocation is Allocation.FLEXIBLE
    for sizes in ({"cores": 2}, {"memory": 4}, {"mode": "fixed", "cores": 2, "memory": 4}):
        with pytest.raises(Invalid, match="always flexible"):
            plan({"container": kind, **sizes})


def test_the_limit_of_sessions() -> None:
    plan({"container": "astroml"}, usage=2)
    with pytest.raises(LimitReached):
        plan({"container": "astroml"}, usage=3)
    plan({"container": "astroml", "kind": "headless"}, usage=3)
    plan({"container": "astroml"}, STAFF, usage=9)


def test_the_limit_comes_last() -> None:
    # A wrong request is told what is wrong, also by somebody who is at the limit.
    with pytest.raises(Invalid):
        plan({"container": "astroml", "cores": 3}, usage=3)


@pytest.mark.parametrize(
    ("options", "identity"),
    [({"container": "vault"}, STAFF), ({"image": "images.canfar.net/skaha/vault"}, STAFF)],
)
def test_containers_for_groups(options: dict[str, object], identity: PosixIdentity) -> None:
    assert plan(options, identity).container == "vault"
    with pytest.raises(SessionError) as caught:
        plan(options, ADA)
    assert caught.value.status == 400


@given(MIXED_OPTIONS, st.sampled_from(["uid", "gid", "user", "volumes", "securityContext"]))
@example({"container": "astroml"}, "node_selector")
def test_identity_and_pod_are_not_for_the_client_to_say(
    options: dict[str, object], key: str
) -> None:
    refused = outcome({key: 0, **options})
    assert isinstance(refused, tuple)
    assert refused[1:3] == ("unknown_field", key)


def test_plans_do_not_change() -> None:
    session = plan({"container": "astroml"})
    with pytest.raises(ValidationError):
        session.kind = SessionKind.HEADLESS  # type: ignore[misc]
