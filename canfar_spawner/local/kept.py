"""What a launch's directory keeps of its plan, for whoever has lost every other record of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import SecretStr, ValidationError

from canfar_spawner.core.backend import Recovered
from canfar_spawner.core.gateway import TOKEN
from canfar_spawner.core.kinds import KINDS
from canfar_spawner.core.names import LaunchId, launch_id
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.local.order import ORDER
from canfar_spawner.local.state import ENDS, QUEUED, call_off, read_ends
from canfar_spawner.replacing import replace_file

_PLAN: Final = "plan.json"


class KeptPlans:
    """The plans of all launches that left a directory; each is read once.

    Parameters
    ----------
    runs : Path
    """

    def __init__(self, runs: Path) -> None:
        self._runs = runs
        self._known: dict[LaunchId, SessionPlan] = {}

    def keep(self, plan: SessionPlan) -> None:
        """Write a plan down beside what is made of it; raises OSError."""
        path = self._runs / plan.launch / _PLAN
        is_job = not KINDS[plan.kind].interactive
        replace_file(path, plan.model_dump_json(), lasting=is_job)
        self._known[plan.launch] = plan

    def remember(self, plan: SessionPlan) -> None:
        """Know a plan without reading it; earlier versions kept none."""
        self._known[plan.launch] = plan

    def of(self, launch: LaunchId) -> SessionPlan | None:
        """Give the plan of a launch, None where none is kept or it cannot be read now."""
        found = self._known.get(launch)
        if found is None:
            try:
                found = SessionPlan.model_validate_json((self._runs / launch / _PLAN).read_bytes())
            except (OSError, ValidationError):
                return None
            self._known[launch] = found
        return found

    def forget_all_but(self, launches: set[LaunchId]) -> None:
        """Forget the plans of launches that are gone."""
        for launch in self._known.keys() - launches:
            del self._known[launch]

    def recovered(self, launch: LaunchId) -> Recovered | None:
        """Give plan and promised end of a launch, None where they are not known."""
        plan = self.of(launch)
        if plan is None:
            return None
        try:
            later = read_ends(self._runs / launch)
        except (OSError, ValueError):
            later = None
        ends = plan.ends if later is None else datetime.fromtimestamp(later, UTC)
        return Recovered(plan=plan, ends=max(ends, plan.ends))

    def extend(self, launch: LaunchId, until: datetime) -> None:
        """Write down a later end for the launch's supervisor to find; raises OSError."""
        replace_file(self._runs / launch / ENDS, f"{until.timestamp()!r}\n")

    def token(self, launch: LaunchId) -> SecretStr | None:
        """Give the token with which a running session speaks to the hub, from its order."""
        try:
            order = json.loads((self._runs / launch / ORDER).read_text())
            # Where there is a gateway, it alone knows the hub.
            return SecretStr((order.get("gateway") or order)["env"][TOKEN])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None


def call_off_waiting(data: Path) -> int:
    """Take the orders of all batch jobs back that wait for their turn, and count them.

    Parameters
    ----------
    data : Path
        The hub's data directory; nobody may start jobs there meanwhile.
    """
    plans = KeptPlans(data / "run")
    called_off = 0
    for mark in (data / "run").glob(f"*/{QUEUED}"):
        path = mark.parent
        try:
            plan = plans.of(launch_id(path.name))
            called_off += call_off(
                path,
                owner=plan.owner if plan else "",
                session=plan.session if plan else "",
                paths=[str(data / "scratch" / path.name), str(path / "session")],
            )
        except (OSError, ValueError):
            continue
    return called_off
