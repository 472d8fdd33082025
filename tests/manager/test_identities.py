"""Who users are, as the hub tells and the manager remembers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from canfar_spawner.core.errors import NotAllowed, Unavailable
from canfar_spawner.core.identity import PosixIdentity
from tests.core.world import ADA, BEN, EVE
from tests.manager.parts import Parts

HOUR = timedelta(hours=1)


def said(identity: PosixIdentity, **changes: Any) -> dict[str, Any]:
    base = {"name": identity.name, "identity": identity.model_dump(mode="json"), "refusal": ""}
    return {**base, **changes}


async def test_they_are_remembered(parts: Parts) -> None:
    later = parts.again()
    await later.open(())
    assert later.identities.identity("ada") == ADA
    assert later.identities.members("survey") == ("ada", "ben")
    assert later.identities.members("demo") == ("ada",)
    assert later.identities.members("nobody") == ()
    await later.close()


async def test_whoever_is_not_known_is_told_what_to_do(parts: Parts) -> None:
    with pytest.raises(Unavailable, match=r"has not said yet who zoe is") as wait:
        parts.identities.identity("zoe")
    assert wait.value.status == 503, "the hub says so in seconds; it is no mistake of hers"
    await parts.say(said(ADA), said(BEN), complete=True)
    with pytest.raises(NotAllowed, match=r"Sign in at the hub once, then try again\.") as found:
        parts.identities.identity("zoe")
    assert found.value.code == "unknown_user"


async def test_a_change_is_the_truth_at_once(parts: Parts) -> None:
    left = ADA.model_copy(update={"groups": (), "projects": ()})
    await parts.say(said(left))
    assert parts.identities.identity("ada") == left
    assert parts.identities.members("survey") == ("ben",)


async def test_a_refusal_is_told_as_the_hub_told_it(parts: Parts) -> None:
    await parts.refuse("ada", "Your account has the same uid as another one.")
    with pytest.raises(NotAllowed, match="the same uid as another one"):
        parts.identities.identity("ada")
    assert parts.identities.revoked("ada") == "Your account has the same uid as another one."
    assert "ada" not in parts.identities.members("survey")
    await parts.say(said(ADA))
    assert parts.identities.identity("ada") == ADA
    assert parts.identities.revoked("ada") == ""


async def test_a_source_that_does_not_answer_changes_nothing(parts: Parts) -> None:
    await parts.say({"name": "ada", "identity": None, "refusal": "", "unknown": True})
    assert parts.identities.identity("ada") == ADA


async def test_a_deleted_account_is_gone(parts: Parts) -> None:
    await parts.say({"name": "ada", "identity": None, "refusal": "Deleted.", "gone": True})
    assert parts.identities.revoked("ada") == "Deleted."
    await parts.identities.forget(["ada", "ben", "zoe"])
    later = parts.again()
    await later.open(())
    with pytest.raises(Unavailable, match="has not said yet who ada is"):
        later.identities.identity("ada")
    assert later.identities.identity("ben") == BEN
    await later.close()


async def test_a_hub_that_has_lost_its_database_ends_nobody_for_a_day(parts: Parts) -> None:
    await parts.say(said(ADA), run="run-2", complete=True)
    with pytest.raises(NotAllowed, match="Sign in at the hub once"):
        parts.identities.identity("ben")
    assert parts.identities.revoked("ben") == ""
    parts.clock.go(25 * HOUR)
    assert "for a day" in parts.identities.revoked("ben")
    assert parts.identities.revoked("ada") == ""
    # She signs in again.
    await parts.say(said(BEN), run="run-2", complete=True)
    assert parts.identities.identity("ben") == BEN
    assert parts.identities.revoked("ben") == ""


async def test_as_long_as_not_all_are_named_nobody_is_missing(parts: Parts) -> None:
    await parts.say(said(ADA), run="run-2", complete=False)
    assert parts.identities.identity("ben") == BEN
    await parts.say(said(BEN), run="run-2", complete=False)
    await parts.say(said(EVE), run="run-2", complete=True)
    for identity in (ADA, BEN, EVE):
        assert parts.identities.identity(identity.name) == identity


async def test_a_manager_that_hears_in_the_middle_asks_for_all(parts: Parts) -> None:
    """Of a hub that has told an earlier manager, whose database may be another."""
    answer = await parts.say(said(ADA), run="run-7", fresh=False, complete=True)
    assert answer["resend"]
    assert parts.identities.identity("ben") == BEN, "what was told before is not known to be all"
    answer = await parts.say(said(ADA), said(BEN), run="run-7", fresh=False, complete=True)
    assert not answer["resend"]
    assert parts.identities.identity("ben") == BEN
    with pytest.raises(NotAllowed):
        parts.identities.identity("eve")


async def test_a_database_that_is_away_keeps_nobody_from_being_known(parts: Parts) -> None:
    run = parts.store.run

    async def away(_: object) -> object:
        raise Unavailable("The session manager cannot write now.", detail="locked")

    parts.store.run = away  # type: ignore[method-assign,assignment]
    left = ADA.model_copy(update={"groups": (), "projects": ()})
    await parts.say(said(left))
    assert parts.identities.identity("ada") == left
    parts.store.run = run  # type: ignore[method-assign]
    await parts.say(said(BEN))
    later = parts.again()
    await later.open(())
    assert later.identities.identity("ada") == left
    await later.close()


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        7,
        [],
        {},
        {"name": "ada"},
        {"name": "ada", "identity": {"name": "ada", "uid": 0}},
        said(ADA, name="eve"),
    ],
    ids=lambda wrong: str(wrong)[:40],
)
async def test_what_is_no_identity_gives_nobody_one(parts: Parts, wrong: Any) -> None:
    await parts.say(wrong, said(BEN))
    assert parts.identities.identity("eve") == EVE
    assert parts.identities.identity("ben") == BEN
    if isinstance(wrong, dict) and wrong.get("identity"):
        assert parts.identities.identity("ada") == ADA
