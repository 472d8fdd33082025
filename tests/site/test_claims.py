"""Identities from verified claims: there is none where anything is missing or wrong."""

from __future__ import annotations

import logging
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canfar_spawner.core.errors import NotAllowed, SessionError
from canfar_spawner.core.policy import Project
from canfar_spawner.site.claims import ClaimNames, Claims, is_name, read_identity

ISSUER = "https://sign-in.example.org"
GIDS = {"demo": 30001, "survey": 30002}
PROJECTS = tuple(Project(name=name, group=name) for name in ("demo", "survey", "other"))
GOOD: dict[str, Any] = {"uid": 20001, "gid": 20001, "groups": ["survey", "demo"]}


def identity(names: ClaimNames | None = None, name: str = "ada", **changes: Any) -> Any:
    claims = {claim: value for claim, value in {**GOOD, **changes}.items() if value is not ...}
    return read_identity(name, claims, names=names or ClaimNames(), gids=GIDS, projects=PROJECTS)


def refusal(names: ClaimNames | None = None, name: str = "ada", **changes: Any) -> NotAllowed:
    with pytest.raises(NotAllowed) as caught:
        identity(names, name, **changes)
    sentence = caught.value.sentence
    assert sentence.startswith("Your sign-in says who you are, but ")
    assert "Ask the administrators" in sentence
    assert sentence.isprintable()
    return caught.value


def test_claims_make_an_identity() -> None:
    ada = identity()
    assert (ada.name, ada.uid, ada.group.gid) == ("ada", 20001, 20001)
    assert ada.gids == (30001, 30002)
    assert ada.projects == ("demo", "survey")
    assert ada.group_names == {"demo", "survey", "g20001"}


def test_groups_may_bring_their_numbers() -> None:
    ada = identity(groups=[{"name": "other", "gid": 40001}, {"name": "demo", "gid": 30001}])
    assert ada.gids == (30001, 40001)
    assert ada.projects == ("demo", "other")
    assert identity(groups=[]).projects == ()


def test_names_that_the_site_does_not_know_count_for_nothing() -> None:
    ada = identity(groups=["/staff", "demo", "offline access", "ünter"])
    assert ada.gids == (30001,)


def test_a_primary_group_opens_its_project() -> None:
    ada = identity(gid=30002, groups=[])
    assert (ada.group.name, ada.gids, ada.projects) == ("survey", (), ("survey",))
    ada = identity(gid=30002, groups=["survey"])
    assert (ada.group.name, ada.gids) == ("survey", ())


def test_a_user_called_like_a_group_is_not_in_it() -> None:
    found = identity(name="demo", groups=[])
    assert found.projects == ()
    assert "demo" not in found.group_names


def test_claims_may_have_other_names() -> None:
    names = ClaimNames(uid="https://example.org/posix/uid", gid="posix_gid", groups="")
    changes = {"https://example.org/posix/uid": 20005, "posix_gid": 20006, "groups": ...}
    found = identity(names, uid=1, gid=1, **changes)
    assert (found.uid, found.group.gid, found.groups) == (20005, 20006, ())


def test_a_group_of_ones_own_is_nobody_elses() -> None:
    own = ClaimNames(gid="uid")
    assert identity(own, gid=...).group.gid == 20001
    assert "gid of another group" in refusal(own, uid=30001, gid=...).sentence


WRONG_IDS = [
    0, -1, 1, 999, 65534, 2**31 - 1, 2**31, 2**32, 2**64,
    "20001", "", "0", 20001.0, 1e300, True, False, [], [20001], {}, {"uid": 20001},
]  # fmt: skip


@pytest.mark.parametrize("claim", ["uid", "gid"])
@pytest.mark.parametrize("value", WRONG_IDS, ids=repr)
def test_an_id_is_right_or_refused(claim: str, value: object) -> None:
    found = refusal(**{claim: value})
    assert found.code == "wrong_claim"
    assert claim in found.sentence


@pytest.mark.parametrize("claim", ["uid", "gid", "groups"])
@pytest.mark.parametrize("value", [..., None], ids=["missing", "null"])
def test_a_missing_claim_is_refused(claim: str, value: object) -> None:
    found = refusal(**{claim: value})
    assert found.code == "missing_claim"
    assert f"(claim {claim})" in found.sentence


@pytest.mark.parametrize(
    "groups",
    [
        "demo",
        "demo,survey",
        {"demo": 30001},
        30001,
        [30001],
        [None],
        [["demo"]],
        [{"name": "demo"}],
        [{"gid": 30001}],
        [{"name": "demo", "gid": 30001, "role": "owner"}],
        [{"name": "Other", "gid": 40001}],
        [{"name": "a:b", "gid": 40001}],
        [{"name": "../x", "gid": 40001}],
        [{"name": "", "gid": 40001}],
        [{"name": "other\n", "gid": 40001}],
        [{"name": 5, "gid": 40001}],
        *([{"name": "other", "gid": gid}] for gid in (0, 4, 999, -5, 65534, "40001", None, True)),
        # One of this site's groups with another number, or another group with its number.
        [{"name": "demo", "gid": 40001}],
        [{"name": "other", "gid": 30001}],
        [{"name": "other", "gid": 40001}, {"name": "other", "gid": 40002}],
        [{"name": "one", "gid": 40001}, {"name": "two", "gid": 40001}],
        [{"name": f"g{gid}", "gid": gid} for gid in range(40001, 40001 + 1025)],
        # What the primary group would be called.
        [{"name": "g20001", "gid": 40001}],
    ],
    ids=lambda groups: repr(groups)[:50],
)
def test_groups_are_right_or_refused(groups: object) -> None:
    refusal(groups=groups)


@pytest.mark.parametrize("name", ["", "Ada", "root", "nobody", "a/b", "..", ".a", "ada\n", "ä"])
def test_a_name_is_taken_as_it_is_or_refused(name: str) -> None:
    assert not is_name(name)
    refusal(name=name)


@given(
    st.dictionaries(
        st.sampled_from(["uid", "gid", "groups"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=8,
        ),
    )
)
def test_whatever_is_claimed_gives_a_usable_identity_or_a_sentence(claims: dict[str, Any]) -> None:
    try:
        found = read_identity("ada", claims, names=ClaimNames(), gids=GIDS, projects=PROJECTS)
    except NotAllowed as error:
        found, sentence = None, error.sentence
    if found is None:
        assert sentence.isprintable()
    else:
        assert type(claims["uid"]) is int
        assert found.uid == claims["uid"]
        assert min(found.uid, found.group.gid, *found.gids, 1000) == 1000


# The source: what is kept of whom.


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Claims]:
    def made(**changes: Any) -> Claims:
        settings: dict[str, Any] = {
            "issuer": ISSUER,
            "names": ClaimNames(),
            "gids": lambda: GIDS,
            "projects": lambda: PROJECTS,
            "log": logging.getLogger("tests.site"),
            **changes,
        }
        return Claims(tmp_path / "claims", **settings)

    return made


def refused(source: Claims, name: str) -> SessionError:
    with pytest.raises(SessionError) as caught:
        source.identity(name)
    return caught.value


def test_claims_are_kept_over_a_restart_and_nothing_else(
    make: Callable[..., Claims], tmp_path: Path
) -> None:
    source = make()
    assert refused(source, "ada").code == "unknown_user"
    secret = {"access_token": "hunter2", "email": "ada@example.org", "iss": ISSUER}
    source.keep("ada", subject="1", claims={**GOOD, **secret})
    [path] = (tmp_path / "claims").iterdir()
    assert path.name == "ada.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    text = path.read_text()
    assert "hunter2" not in text
    assert "example.org" not in text.replace(ISSUER, "")
    assert make().identity("ada") == source.identity("ada")


def test_what_is_said_last_counts(make: Callable[..., Claims]) -> None:
    source = make()
    source.keep("ada", subject="1", claims=GOOD)
    source.keep("ada", subject="1", claims={**GOOD, "groups": ["survey"]})
    assert source.identity("ada").projects == make().identity("ada").projects == ("survey",)
    source.keep("ada", subject="1", claims={})
    assert refused(source, "ada").code == refused(make(), "ada").code == "missing_claim"


def test_a_name_belongs_to_one_account(make: Callable[..., Claims]) -> None:
    source = make()
    source.keep("ada", subject="1", claims=GOOD)
    other = make(issuer="https://other.example.org")
    for thief, subject in ((source, "2"), (other, "1"), (other, "2")):
        with pytest.raises(NotAllowed) as caught:
            thief.keep("ada", subject=subject, claims={**GOOD, "uid": 20009})
        assert caught.value.code == "other_account"
    assert refused(other, "ada").code == "other_issuer"
    assert source.identity("ada").uid == 20001
    source.forget("ada")
    assert refused(make(), "ada").code == "unknown_user"
    source.keep("ada", subject="2", claims={**GOOD, "uid": 20009})
    assert make().identity("ada").uid == 20009


def test_two_with_one_uid_are_both_refused(make: Callable[..., Claims]) -> None:
    source = make()
    source.keep("ada", subject="1", claims=GOOD)
    source.keep("ben", subject="2", claims=GOOD)
    for name, other in (("ada", "ben"), ("ben", "ada")):
        found = refused(source, name)
        assert found.code == "duplicate_uid"
        assert other not in found.sentence
        assert other in found.detail
    source.keep("ben", subject="2", claims={**GOOD, "uid": 20002})
    assert (source.identity("ada").uid, source.identity("ben").uid) == (20001, 20002)


def test_a_broken_file_gives_its_name_to_nobody(
    make: Callable[..., Claims], tmp_path: Path
) -> None:
    source = make()
    source.keep("ada", subject="1", claims=GOOD)
    source.keep("ben", subject="2", claims={**GOOD, "uid": 20002})
    path = tmp_path / "claims" / "ada.json"
    # Somebody else's claims under her name count as little as half a file.
    for content in (path.read_text()[:40], (tmp_path / "claims" / "ben.json").read_text()):
        path.write_text(content)
        again = make()
        assert refused(again, "ada").code == "unknown_user"
        assert again.identity("ben").uid == 20002
        with pytest.raises(NotAllowed) as caught:
            again.keep("ada", subject="3", claims=GOOD)
        assert caught.value.code == "other_account"


@pytest.mark.parametrize("name", ["../ada", "a/b", "", "Ada", "."])
def test_no_name_leads_out_of_the_directory(
    make: Callable[..., Claims], name: str, tmp_path: Path
) -> None:
    source = make()
    with pytest.raises(NotAllowed):
        source.keep(name, subject="1", claims=GOOD)
    source.forget(name)
    assert refused(source, name).code == "unknown_user"
    assert [path.name for path in tmp_path.rglob("*")] == ["claims"]


def test_what_is_not_confirmed_is_refused(make: Callable[..., Claims]) -> None:
    time = [100.0]
    source = make(now=lambda: time[0])
    source.keep("ada", subject="1", claims=GOOD)
    source.keep("ben", subject="2", claims={**GOOD, "uid": 20002})
    source.doubt_unavailable("ada")
    found = refused(source, "ada")
    assert (found.code, found.status) == ("sign_in_unavailable", 503)
    assert source.identity("ben").uid == 20002
    time[0] += 16
    assert source.identity("ada").uid == 20001, "the next launch asks again"
    source.doubt_ended("ada")
    time[0] += 1e6
    assert refused(source, "ada").code == "sign_in_ended"
    source.keep("ada", subject="1", claims=GOOD)
    assert source.identity("ada").uid == 20001
