from __future__ import annotations

import pytest

from canfar_spawner.core.authority import Action, Standing, authority
from canfar_spawner.core.names import SessionId

S1, S2 = SessionId("session1"), SessionId("session2")
CUSTOM = "custom:canfar:session"
MANAGE = f"{CUSTOM}!user=ada"
MANAGE_ONE = f"{CUSTOM}!server=ada/session1"
ENTER_ALL = "access:servers!user=ada"
ENTER_ONE = "access:servers!server=ada/session1"
START = "start:servers!user=ada"

OWNER = "see enter extend share stop list"
SESSION = "see extend share stop"
VISITOR = "see enter leave"

# scopes -> what they permit with Ada's session1, with her session2, and with her sessions at all
GOLDEN = {
    (): ("stranger", "", "", ""),
    (MANAGE,): ("owner", OWNER, OWNER, OWNER),
    (MANAGE, START): ("owner", OWNER + " create", OWNER + " create", OWNER + " create"),
    (MANAGE, "start:servers"): ("owner", OWNER + " create", OWNER + " create", OWNER + " create"),
    (MANAGE, "start:servers!user=ben"): ("owner", OWNER, OWNER, OWNER),
    (MANAGE, ENTER_ONE): ("owner", OWNER, OWNER, OWNER),
    (CUSTOM,): ("owner", OWNER, OWNER, OWNER),
    (CUSTOM, "start:servers"): ("owner", OWNER + " create", OWNER + " create", OWNER + " create"),
    (MANAGE_ONE,): ("session", SESSION, "", ""),
    (MANAGE_ONE, ENTER_ONE): ("session", SESSION + " enter", "", ""),
    (MANAGE_ONE, ENTER_ALL): ("session", SESSION + " enter", VISITOR, ""),
    (MANAGE_ONE, START): ("session", SESSION, "", ""),
    (ENTER_ONE,): ("visitor", VISITOR, "", ""),
    (ENTER_ALL,): ("visitor", VISITOR, VISITOR, ""),
    ("access:servers",): ("visitor", VISITOR, VISITOR, ""),
    (ENTER_ONE, START): ("visitor", VISITOR, "", ""),
    (START,): ("stranger", "", "", ""),
    # somebody else's scopes, and look-alikes
    (f"{CUSTOM}!user=ben", "access:servers!user=ben"): ("stranger", "", "", ""),
    (f"{CUSTOM}!user=ada2", "access:servers!user=ada2"): ("stranger", "", "", ""),
    (f"{CUSTOM}!user=Ada",): ("stranger", "", "", ""),
    (f"{CUSTOM}!user=",): ("stranger", "", "", ""),
    (f"{CUSTOM}!user",): ("stranger", "", "", ""),
    (f"{CUSTOM}!group=demo", "access:servers!group=demo"): ("stranger", "", "", ""),
    (f"{CUSTOM}!server=ada/",): ("stranger", "", "", ""),
    (f"{CUSTOM}!server=ada/session",): ("stranger", "", "", ""),
    (f"{CUSTOM}!server=ada/session11",): ("stranger", "", "", ""),
    (f"{CUSTOM}!server=ben/session1",): ("stranger", "", "", ""),
    ("access:servers!server=ada/session1/x",): ("stranger", "", "", ""),
    ("access:services!service=sessions",): ("stranger", "", "", ""),
    ("custom:canfar:sessions!user=ada", "custom:canfar"): ("stranger", "", "", ""),
    ("self", "all", "admin-ui", "read:users", "admin:servers", "servers"): ("stranger", "", "", ""),
    ("read:servers!user=ada", "users:activity!user=ada"): ("stranger", "", "", ""),
}


@pytest.mark.parametrize(("scopes", "row"), GOLDEN.items(), ids=lambda case: " ".join(case) or "no")
def test_the_table(scopes: tuple[str, ...], row: tuple[str, str, str, str]) -> None:
    standing, *columns = row
    assert authority(scopes, owner="ada", session=S1).standing == standing
    for session, permitted in zip((S1, S2, None), columns, strict=True):
        result = authority(scopes, owner="ada", session=session)
        assert result.actions == {Action(word) for word in permitted.split()}
        for action in Action:
            assert result.permits(action) == (action in permitted.split())
        assert (result.standing is Standing.STRANGER) == (not permitted)


def test_nobody_but_the_owner_creates_or_lists() -> None:
    for scopes in GOLDEN:
        for session in (S1, S2, None):
            result = authority(scopes, owner="ada", session=session)
            if result.standing is not Standing.OWNER:
                assert not result.actions & {Action.CREATE, Action.LIST}


@pytest.mark.parametrize("scopes", GOLDEN, ids=lambda scopes: " ".join(scopes) or "no")
def test_ben_gains_nothing_from_scopes_on_ada(scopes: tuple[str, ...]) -> None:
    everyones = [scope for scope in scopes if "!" in scope and "ben" not in scope]
    assert authority(everyones, owner="ben", session=S1).standing is Standing.STRANGER


def test_more_scopes_never_permit_less() -> None:
    order = list(GOLDEN)
    for one in order:
        for other in order:
            together = authority((*one, *other), owner="ada", session=S1)
            alone = authority(one, owner="ada", session=S1)
            assert alone.actions - {Action.LEAVE} <= together.actions
