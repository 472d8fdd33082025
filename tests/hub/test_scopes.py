"""What tokens of sessions and users may do, as the hub has stored it."""

from __future__ import annotations

from jupyterhub import orm, scopes

from canfar_spawner.core.authority import ACCESS_SCOPE, SESSION_SCOPE
from canfar_spawner.hub.service import SERVICE
from tests.hub.conftest import World

PROBE = {"user_options": {"container": "probe"}}


async def test_a_session_gets_what_it_needs_and_no_more(world: World) -> None:
    token = world.token("ada")
    user = world.user("ada")
    tokens = {each.id for each in world.app.db.query(orm.APIToken)}
    answer = await world.api("POST", "/users/ada/servers/scopes01", token, json=PROBE)
    assert answer.status_code in (201, 202), answer.text
    await world.until(lambda: user.spawners["scopes01"].ready, "the session to be ready")
    (made,) = (each for each in world.app.db.query(orm.APIToken) if each.id not in tokens)
    assert set(made.scopes) == {
        "users:activity!user",
        f"{ACCESS_SCOPE}!server=ada/scopes01",
    }
    own = world.rows()["scopes01"].state["canfar"]["token_id"]
    assert own == made.id
    client = (
        world.app.db.query(orm.OAuthClient)
        .filter_by(identifier="jupyterhub-user-ada-scopes01")
        .one()
    )
    # The hub reads the filter without a name as the client's own server.
    assert set(client.allowed_scopes) == {
        f"{ACCESS_SCOPE}!server=ada/scopes01",
        f"{ACCESS_SCOPE}!server",
        f"{SESSION_SCOPE}!server",
    }
    assert client.spawner is world.rows()["scopes01"]
    await world.api("DELETE", "/users/ada/servers/scopes01", token)
    await world.until(lambda: not user.spawners["scopes01"].active, "the session to end")
    assert {each.id for each in world.app.db.query(orm.APIToken)} == tokens
    await world.until(lambda: "scopes01" not in world.rows(), "its row to go")
    identifiers = {each.identifier for each in world.app.db.query(orm.OAuthClient)}
    assert "jupyterhub-user-ada-scopes01" not in identifiers


async def test_a_user_rules_her_own_sessions_alone(world: World) -> None:
    found = {role.name: set(role.scopes) for role in world.app.db.query(orm.Role)}
    assert found["user"] == {"self", f"access:services!service={SERVICE}", f"{SESSION_SCOPE}!user"}
    assert found["server"] == {"users:activity!user", f"{ACCESS_SCOPE}!server"}
    held = scopes.get_scopes_for(world.user("ada").orm_user)
    assert {f"{SESSION_SCOPE}!user=ada", "start:servers!user=ada"} <= held
    others = {scope for scope in held if not scope.endswith("!user=ada")}
    assert others == {f"access:services!service={SERVICE}"}
    (service,) = world.app.db.query(orm.Service)
    assert service.name == SERVICE
    # It starts nothing, gives out no tokens and reads no secrets of users.
    powers = {scope.partition(":")[0] for scope in found[SERVICE]}
    assert powers <= {"list", "read", "admin", "delete", "shares", "access"}
    assert {scope for scope in found[SERVICE] if scope.startswith("admin")} == {
        "admin:server_state"
    }
