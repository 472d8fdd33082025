"""What Secrets keep of launches: their plans, which never change, and their ends, which move."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final

from canfar_spawner.core.backend import Recovered
from canfar_spawner.core.names import LaunchId
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.kubernetes import manifests
from canfar_spawner.kubernetes.client import Budget, KubeClient, NotFound
from canfar_spawner.kubernetes.observations import launch_of

_ASK_WITHIN: Final = 10.0
_AT_ONCE: Final = 16


class KeptPlans:
    """Plans and ends of launches, for whoever has lost them, asked for again and again.

    What a Secret holds is read once: it is immutable. After that only its metadata are listed.

    Parameters
    ----------
    client : KubeClient
    namespace : str
    labels : str
        A selector.
    log : logging.Logger
    """

    def __init__(
        self, client: KubeClient, namespace: str, labels: str, *, log: logging.Logger
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._labels = labels
        self._log = log
        self._plans: dict[str, SessionPlan | None] = {}
        """By the uid of the Secret; None where it keeps no plan that can be read."""

    async def all(self) -> Mapping[LaunchId, Recovered]:
        """Give everything that is kept.

        Raises
        ------
        ApiError
            The cluster does not answer.
        """
        pages = self._client.pages(
            *("secrets", self._namespace),
            lambda: Budget(_ASK_WITHIN),
            labels=self._labels,
            content=False,
        )
        marked = [each async for page in pages for each in page["items"]]
        uids = {each["metadata"]["uid"] for each in marked}
        self._plans = {uid: plan for uid, plan in self._plans.items() if uid in uids}
        slots = asyncio.Semaphore(_AT_ONCE)
        unread = [each for each in marked if each["metadata"]["uid"] not in self._plans]
        await asyncio.gather(*(self._read(each, slots) for each in unread))
        found: dict[LaunchId, Recovered] = {}
        for each in marked:
            plan = self._plans.get(each["metadata"]["uid"])
            if plan is not None and plan.launch == launch_of(each):
                ends = manifests.secret_end(each, plan)
                found[plan.launch] = Recovered(plan=plan, ends=ends)
        return found

    async def _read(self, marked: Mapping[str, Any], slots: asyncio.Semaphore) -> None:
        name = marked["metadata"]["name"]
        try:
            async with slots:
                secret = await self._client.get(
                    "secrets", self._namespace, name, Budget(_ASK_WITHIN)
                )
        except NotFound:
            return
        plan = manifests.secret_plan(secret)
        if plan is None and manifests.PLAN_KEY in (secret.get("data") or {}):
            self._log.warning("The plan in the Secret %s cannot be read", name)
        self._plans[secret["metadata"]["uid"]] = plan
