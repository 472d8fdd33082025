"""Sessions that run and that the hub has lost its record of are taken up again.

A hub whose database was lost, or restored from yesterday, finds pods that it knows nothing of.
They go on; when their owner signs in they become her sessions again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jupyterhub import orm

from canfar_spawner.core.errors import SessionError
from canfar_spawner.core.names import LaunchId, launch_id
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.request import SessionRequest, options_of
from canfar_spawner.hub.platform import Platform


def launches_of(states: Iterable[object]) -> frozenset[LaunchId]:
    """Give the launches that states of spawners, as the database has them, are about."""
    found = set()
    for state in states:
        try:
            found.add(launch_id(state["canfar"]["plan"]["launch"]))  # type: ignore[index]
        except (KeyError, TypeError, ValueError):
            continue
    return frozenset(found)


def known_launches(db: Any) -> frozenset[LaunchId]:
    """Give the launches that the hub's database has a record of."""
    return launches_of(row.state for row in db.query(orm.Spawner))


def _options(plan: SessionPlan) -> dict[str, object]:
    """Write down as options what a session was launched with, as far as its plan tells."""
    return options_of(
        SessionRequest(
            container=plan.container,
            version=plan.version if plan.container else None,
            image=None if plan.container else plan.image,
            kind=plan.kind,
            name=plan.name,
        )
    )


def adopt_later(handler: Any, platform: Platform) -> None:
    """Look for sessions of whoever the page is for, without keeping the page waiting."""
    user = handler.current_user
    if user is None or user.name in platform.adopting:
        return
    platform.adopting.add(user.name)
    task = platform.keep(_adopt(handler, platform, user))
    task.add_done_callback(lambda _: platform.adopting.discard(user.name))


async def _adopt(handler: Any, platform: Platform, user: Any) -> None:
    try:
        known = launches_of(row.state for row in user.orm_spawners.values())
        found = await platform.backend.unclaimed(user.name, known)
    except SessionError as error:
        platform.log.info("Nothing could be looked for that %s has: %s", user.name, error.detail)
        return
    for each in found:
        plan = each.plan
        if plan.launch in platform.ended or plan.session in user.spawners:
            continue
        platform.log.warning("%s of %s runs without a record: taken up", plan.launch, user.name)
        platform.adoptions[plan.owner, plan.session] = each
        if plan.session not in user.orm_spawners:
            user._new_orm_spawner(plan.session, "")  # noqa: SLF001 - as JupyterHub's handlers do
        try:
            await handler.spawn_single_user(user, plan.session, options=_options(plan))
        except Exception as error:  # noqa: BLE001 - it runs on, and the next visit tries again
            platform.log.warning("%s could not be taken up: %r", plan.launch, error)
        finally:
            platform.adoptions.pop((plan.owner, plan.session), None)
