"""What is asked of the Kubernetes API; no other file talks to it. Plain objects go in and come out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import aiohttp
from kubernetes_asyncio.client import ApiClient, Configuration
from kubernetes_asyncio.config import ConfigException, load_kube_config

from canfar_spawner.kubernetes.answers import (
    AlreadyExists,
    ApiError,
    Budget,
    Conflict,
    Forbidden,
    Gone,
    Invalid422,
    NotFound,
    Unreachable,
    api_error,
    object_of,
    text_of,
)
from canfar_spawner.kubernetes.calls import (
    WITHOUT_CONTENT,
    Call,
    many,
    one,
    query_of,
    worth_another,
)
from canfar_spawner.kubernetes.streams import lines_of

__all__ = [
    "AlreadyExists",
    "ApiError",
    "Budget",
    "Conflict",
    "Forbidden",
    "Gone",
    "Invalid422",
    "KubeClient",
    "NotFound",
    "Unreachable",
]

Object = dict[str, Any]
Objects = list[Object]
Answer = TypeVar("Answer")

_SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_METRICS: Final = "/apis/metrics.k8s.io/v1beta1"
_REVIEWS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
MERGE: Final = "application/merge-patch+json"

_PAGE: Final = 500
_LONG_LOG, _WHOLE_LOG = 1_000_000, 64_000_000
"""Bytes: of some lines, and several times what a kubelet keeps of one container."""
_AT_ONCE: Final = 64
"""Requests under way at the same time, watches not counted."""
_CONNECT: Final = 5.0
_ATTEMPT: Final = 10.0
"""Seconds for one try, so that a request that hangs leaves time for another."""
_FIRST_WAIT: Final = 0.2
_LONGEST_WAIT: Final = 5.0
_RELOAD_EVERY: Final = 5.0


def _as_service_account(made: Configuration) -> None:
    """Set what a pod finds in itself; the token is read for each request, because it rotates."""

    def read_token(configuration: Configuration) -> None:
        token = (_SERVICE_ACCOUNT / "token").read_text().strip()
        configuration.api_key["BearerToken"] = f"Bearer {token}"

    host, port = (os.environ.get(f"KUBERNETES_SERVICE_{part}") for part in ("HOST", "PORT"))
    if not host or not port:
        raise ConfigException("There is no KUBECONFIG, and this is not a pod of a cluster.")
    made.host = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    made.ssl_ca_cert = str(_SERVICE_ACCOUNT / "ca.crt")
    made.refresh_api_key_hook = read_token
    read_token(made)


async def _retire(api: ApiClient) -> None:
    """Close a connection when what is under way on it has had its time."""
    try:
        await asyncio.sleep(2 * _ATTEMPT)
    finally:
        await api.close()


class KubeClient:
    """A connection to one cluster.

    It shares nothing with KubeSpawner's, whose settings are the process's defaults.

    Parameters
    ----------
    kubeconfig : Path, optional
        Left out: what ``KUBECONFIG`` names, else the service account of the pod that this is.
    log : logging.Logger, optional
    """

    def __init__(
        self, kubeconfig: Path | str | None = None, *, log: logging.Logger | None = None
    ) -> None:
        self._kubeconfig = str(kubeconfig or os.environ.get("KUBECONFIG", ""))
        self._log = log or logging.getLogger(__name__)
        self._api: ApiClient | None = None
        self._opening = asyncio.Lock()
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._opened = 0.0
        self._closing: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection; the next request opens them again."""
        api, self._api = self._api, None
        if api is not None:
            await api.close()
        for task in list(self._closing):
            task.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def get(self, kind: str, namespace: str, name: str, budget: Budget) -> Object:
        """Give one object; raises ``NotFound`` only where the API server says so itself.

        Parameters
        ----------
        kind : str
            Its resource, such as ``pods``.
        namespace : str
            Empty for what belongs to none.
        name : str
        budget : Budget
        """
        return await self._answer(Call("GET", **one(kind, namespace, name)), budget)

    async def list(
        self, kind: str, namespace: str, budget: Budget, *, labels: str = "", fields: str = ""
    ) -> Objects:
        """Give all objects of a kind, in pages.

        Parameters
        ----------
        kind : str
        namespace : str
            Empty for all.
        budget : Budget
            For all pages together.
        labels, fields : str, optional
            Selectors.
        """
        pages = self.pages(kind, namespace, lambda: budget, labels=labels, fields=fields)
        return [each async for page in pages for each in page["items"]]

    async def pages(
        self,
        kind: str,
        namespace: str,
        budget: Callable[[], Budget],
        *,
        labels: str = "",
        fields: str = "",
        content: bool = True,
    ) -> AsyncIterator[Object]:
        """Go through a list page by page, each as the server gave it.

        Parameters
        ----------
        kind : str
        namespace : str
        budget : callable
            Gives the budget of each page.
        labels, fields : str, optional
        content : bool, optional
            Whether more than the metadata of each object is wanted.

        Raises
        ------
        Gone
            The server has forgotten the list meanwhile; begin again.
        """
        after = ""
        while True:
            query = query_of(
                labelSelector=labels, fieldSelector=fields, limit=_PAGE, **{"continue": after}
            )
            call = Call("GET", query=query, **many(kind, namespace))
            if not content:
                call = replace(call, accept=WITHOUT_CONTENT)
            page = await self._answer(call, budget())
            items, meta = page.get("items"), page.get("metadata")
            page = {**page, "items": items if isinstance(items, list) else []}
            yield page
            after = str(meta.get("continue") or "") if isinstance(meta, Mapping) else ""
            if not after:
                return

    async def create(self, kind: str, namespace: str, body: Object, budget: Budget) -> Object:
        """Create an object.

        Where the answer to an earlier try was lost, the object may be one's own already:
        ``AlreadyExists`` says nothing of whose it is.

        Parameters
        ----------
        kind : str
        namespace : str
        body : dict
        budget : Budget
        """
        return await self._answer(Call("POST", body=body, **many(kind, namespace)), budget)

    async def delete(
        self,
        kind: str,
        namespace: str,
        name: str,
        budget: Budget,
        *,
        uid: str = "",
        grace: int | None = None,
        propagation: str = "Background",
    ) -> Object:
        """Delete an object.

        Parameters
        ----------
        kind : str
        namespace : str
        name : str
        budget : Budget
        uid : str, optional
            Delete this one only; raises ``Conflict`` where another has its name.
        grace : int, optional
            Seconds for its programs to end.
        propagation : str, optional
        """
        body: Object = {"propagationPolicy": propagation}
        if uid:
            body["preconditions"] = {"uid": uid}
        if grace is not None:
            body["gracePeriodSeconds"] = grace
        call = Call("DELETE", body=body, **one(kind, namespace, name))
        return await self._answer(call, budget)

    async def patch(
        self,
        kind: str,
        namespace: str,
        name: str,
        body: Object,
        budget: Budget,
        *,
        content: str = MERGE,
    ) -> Object:
        """Change an object.

        Parameters
        ----------
        kind : str
        namespace : str
        name : str
        body : dict
            What is to be different.
        budget : Budget
        content : str, optional
            How it is merged.
        """
        call = Call("PATCH", body=body, content=content, **one(kind, namespace, name))
        return await self._answer(call, budget)

    async def logs(
        self, namespace: str, pod: str, budget: Budget, *, container: str = "", tail: int | None
    ) -> str:
        """Give the last lines that a container has written.

        Parameters
        ----------
        namespace : str
        pod : str
        budget : Budget
        container : str, optional
        tail : int or None
            None for all that its node still has.
        """
        log, most = one("pods", namespace, pod, "/log"), _WHOLE_LOG if tail is None else _LONG_LOG
        query = query_of(container=container, tailLines=tail, limitBytes=most)
        return await self._send(Call("GET", query=query, **log), budget, text_of)

    async def metrics(self, namespace: str, budget: Budget, *, labels: str = "") -> Objects:
        """Give what pods use now; raises where the cluster does not measure it."""
        where = f"{_METRICS}/namespaces/{{namespace}}/pods"
        query, names = query_of(labelSelector=labels), {"namespace": namespace}
        found = await self._answer(Call("GET", where, query=query, names=names), budget)
        return list(found.get("items") or ())

    async def allowed(
        self, verb: str, resource: str, namespace: str, budget: Budget, *, group: str = ""
    ) -> bool:
        """Say whether the rights that this connection has reach for something.

        Parameters
        ----------
        verb : str
        resource : str
            With the subresource after a slash, such as ``pods/log``.
        namespace : str
        budget : Budget
        group : str, optional
        """
        kind, _, part = resource.partition("/")
        asked = {"verb": verb, "group": group, "resource": kind, "namespace": namespace}
        if part:
            asked["subresource"] = part
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": asked},
        }
        answer = await self._answer(Call("POST", _REVIEWS, body=body), budget)
        return answer.get("status", {}).get("allowed") is True

    async def watch(
        self,
        kind: str,
        namespace: str,
        version: str,
        *,
        labels: str = "",
        fields: str = "",
        seconds: int = 10,
        silence: float = 13.0,
    ) -> AsyncGenerator[Object | None, None]:
        """Follow the changes of a list, one try only, until the server has had enough.

        Yields None once when the server has accepted, then its events just as they are.

        Parameters
        ----------
        kind : str
        namespace : str
        version : str
            The resource version after which to begin.
        labels, fields : str, optional
        seconds : int, optional
            When the server ends it.
        silence : float, optional
            When it counts as stalled, because the server has not.
        """
        query = query_of(
            labelSelector=labels,
            fieldSelector=fields,
            watch="true",
            allowWatchBookmarks="true",
            resourceVersion=version,
            timeoutSeconds=seconds,
        )
        call = Call("GET", query=query, **many(kind, namespace))
        try:
            async with asyncio.timeout(silence):
                response = await self._request(call, silence)
            with contextlib.closing(response):
                if response.status != 200:
                    raise api_error(
                        response.status,
                        await response.read(),
                        response.headers.get("Retry-After"),
                    )
                yield None
                async for line in lines_of(response, time.monotonic() + silence):
                    yield object_of(line)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise ApiError(0, type(error).__name__) from error

    async def _answer(self, call: Call, budget: Budget) -> Object:
        return await self._send(call, budget, object_of)

    async def _send(self, call: Call, budget: Budget, read: Callable[[bytes], Answer]) -> Answer:
        """Send a request until there is an answer that means something."""
        wait, tries = _FIRST_WAIT, 0
        last = ApiError(0, "NoTime")
        while budget.left() > 0:
            tries += 1
            try:
                return await self._try(call, budget, read)
            except ApiError as error:
                last = error
            if last.status == 401 and await self._renew():
                continue
            if not worth_another(call.verb, last):
                raise last
            # Chance spreads the requests; it hides nothing.
            pause = random.uniform(wait / 2, wait) + (last.retry_after or 0.0)  # noqa: S311
            wait = min(wait * 2, _LONGEST_WAIT)
            if pause >= budget.left():
                break
            self._log.debug("%s: %s; asked again in %.1f s", call, last.reason, pause)
            await asyncio.sleep(pause)
        raise Unreachable(
            last.status, last.reason, f"{call}, {tries} tries", retry_after=last.retry_after
        ) from last

    async def _try(self, call: Call, budget: Budget, read: Callable[[bytes], Answer]) -> Answer:
        """Send a request once; what became of it is an answer or an ``ApiError``."""
        try:
            async with asyncio.timeout(budget.left()):
                await self._slots.acquire()
        except TimeoutError as error:
            raise ApiError(0, "Busy") from error
        try:
            limit = min(_ATTEMPT, budget.left())
            async with asyncio.timeout(limit):
                response = await self._request(call, limit)
                with contextlib.closing(response):
                    raw = await response.read()
            if not 200 <= response.status < 300:
                raise api_error(response.status, raw, response.headers.get("Retry-After"))
            return read(raw)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            if isinstance(error, aiohttp.ClientSSLError):
                # The authority that signs the server may be another one by now.
                await self._renew()
            raise ApiError(0, type(error).__name__) from error
        finally:
            self._slots.release()

    async def _request(self, call: Call, limit: float) -> aiohttp.ClientResponse:
        api = await self._connected()
        response: aiohttp.ClientResponse = await api.call_api(
            call.path,
            call.verb,
            path_params=dict(call.names),
            query_params=list(call.query),
            header_params={"Accept": call.accept, "Content-Type": call.content},
            body=call.body,
            auth_settings=["BearerToken"],
            # Its own reading would write bodies to the log.
            _preload_content=False,
            _request_timeout=aiohttp.ClientTimeout(total=limit, sock_connect=min(_CONNECT, limit)),
        )
        return response

    async def _connected(self) -> ApiClient:
        async with self._opening:
            if self._api is None:
                self._api = ApiClient(await self._configuration())
                self._api.user_agent = "canfar-hub"
                self._opened = time.monotonic()
            return self._api

    async def _renew(self) -> bool:
        """Read credentials and authorities again, unless that was just done."""
        async with self._opening:
            if self._api is None or time.monotonic() - self._opened < _RELOAD_EVERY:
                return False
            old, self._api = self._api, None
            task = asyncio.create_task(_retire(old))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
            return True

    async def _configuration(self) -> Configuration:
        made = Configuration()
        # The number of requests is limited here, where waiting does not count as an attempt.
        made.connection_pool_maxsize = 0
        try:
            if self._kubeconfig:
                await load_kube_config(
                    self._kubeconfig, client_configuration=made, persist_config=False
                )
            else:
                _as_service_account(made)
        except (ConfigException, OSError, KeyError, TypeError) as error:
            raise ApiError(0, "NoConnection", str(error)) from error
        return made
