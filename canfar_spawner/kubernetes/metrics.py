"""What pods use now, measured by the cluster and asked for all of them at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Final

from canfar_spawner.core.backend import Use
from canfar_spawner.kubernetes.client import ApiError, Budget, KubeClient
from canfar_spawner.kubernetes.usage import use_of

_KEPT: Final = 5.0
"""Seconds; the cluster itself measures three or four times a minute."""
_ASK_WITHIN: Final = 4.0


class PodMetrics:
    """The use of each pod of a namespace, not older than some seconds.

    Parameters
    ----------
    client : KubeClient
    namespace : str
    labels : str
        A selector.
    """

    def __init__(self, client: KubeClient, namespace: str, labels: str) -> None:
        self._client = client
        self._namespace = namespace
        self._labels = labels
        self._asking = asyncio.Lock()
        self._found: Mapping[str, Use] = {}
        self._due = 0.0

    async def of(self, pod: str) -> Use | None:
        """Say what a pod uses, None where that is not measured."""
        async with self._asking:
            if time.monotonic() >= self._due:
                self._found = await self._all()
                self._due = time.monotonic() + _KEPT
        return self._found.get(pod)

    async def _all(self) -> Mapping[str, Use]:
        try:
            found = await self._client.metrics(
                self._namespace, Budget(_ASK_WITHIN), labels=self._labels
            )
        except ApiError:
            return {}
        uses = {each["metadata"]["name"]: use_of(each) for each in found}
        return {name: use for name, use in uses.items() if use is not None}
