"""What a site permits of sharing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from canfar_spawner.core.errors import Invalid, NotAllowed
from canfar_spawner.core.sharing import SharingPolicy, demand_sharing, end_of_share, refusal

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
ENDS = NOW + timedelta(days=4)


@pytest.mark.parametrize(
    ("settings", "own_origins", "word"),
    [
        ({}, True, ""),
        ({}, False, "web address of its own"),
        ({"allow_on_one_domain": True}, False, ""),
        ({"allowed": False}, True, "cannot be shared at this site."),
        ({"allowed": False, "allow_on_one_domain": True}, False, "cannot be shared at this site."),
    ],
)
def test_sharing_needs_an_origin_for_every_user_or_a_site_that_says_otherwise(
    settings: dict[str, bool],
    own_origins: bool,  # noqa: FBT001 - a case
    word: str,
) -> None:
    policy = SharingPolicy(**settings)
    told = refusal(policy, own_origins=own_origins)
    assert word in told
    assert bool(told) == bool(word)
    if word:
        with pytest.raises(NotAllowed, match=r"cannot be shared") as raised:
            demand_sharing(policy, own_origins=own_origins)
        assert raised.value.code == "sharing_off"
    else:
        demand_sharing(policy, own_origins=own_origins)


def test_a_share_ends_with_the_session_at_most() -> None:
    policy = SharingPolicy(longest=timedelta(days=2))
    tomorrow = NOW + timedelta(days=1)
    assert end_of_share(tomorrow, now=NOW, ends=ENDS, policy=policy) == tomorrow
    assert end_of_share(None, now=NOW, ends=ENDS, policy=policy) == NOW + timedelta(days=2)
    assert end_of_share(None, now=NOW, ends=tomorrow, policy=policy) == tomorrow
    soon = NOW + timedelta(hours=1)
    assert end_of_share(tomorrow, now=NOW, ends=soon, policy=policy) == soon
    with pytest.raises(Invalid, match=r"at most 2 days") as raised:
        end_of_share(NOW + timedelta(days=3), now=NOW, ends=ENDS, policy=policy)
    assert raised.value.field == "until"
    with pytest.raises(Invalid, match=r"has passed"):
        end_of_share(NOW, now=NOW, ends=ENDS, policy=policy)


def test_a_link_is_taken_up_within_a_day() -> None:
    assert SharingPolicy().link_lifetime == timedelta(hours=24)
    with pytest.raises(ValidationError):
        SharingPolicy(link_lifetime=timedelta(hours=25))
