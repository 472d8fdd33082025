"""What the client makes of answers, and of none, with a real API server behind faults."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import logging
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kubernetes_asyncio.client import Configuration

from canfar_spawner.kubernetes import client as module
from canfar_spawner.kubernetes.answers import api_error
from canfar_spawner.kubernetes.client import (
    AlreadyExists,
    ApiError,
    Conflict,
    Forbidden,
    Gone,
    Invalid422,
    KubeClient,
    NotFound,
    Unreachable,
)
from tests.kubernetes.conftest import SELECTOR, budget, pod
from tests.support.apiserver import ADMIN, ApiServer, write_kubeconfig
from tests.support.cluster.programs import program
from tests.support.faultproxy import Fault, FaultProxy

SECRET = "nobody-may-read-this"


def secret(name: str, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "stringData": {"token": SECRET}, **more}


async def test_objects_come_and_go(client: KubeClient, namespace: str) -> None:
    made = await client.create("pods", namespace, pod("a"), budget())
    assert made["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": made["metadata"]["uid"]}
    await client.create("secrets", namespace, secret("a"), budget())
    patch = {"metadata": {"ownerReferences": [owner]}}
    patched = await client.patch("secrets", namespace, "a", patch, budget())
    assert patched["metadata"]["ownerReferences"] == [owner]
    assert base64.b64decode(patched["data"]["token"]).decode() == SECRET
    found = await client.list("pods", namespace, budget(), labels=SELECTOR)
    assert [each["metadata"]["name"] for each in found] == ["a"]
    assert await client.list("pods", namespace, budget(), labels="x=y") == []
    assert await client.list("jobs", namespace, budget()) == []
    assert await client.list("resourcequotas", namespace, budget()) == []
    assert await client.list("nodes", "", budget()) == []
    with pytest.raises(Conflict):
        await client.delete("pods", namespace, "a", budget(), uid="another")
    await client.delete("pods", namespace, "a", budget(), uid=made["metadata"]["uid"], grace=0)
    with pytest.raises(NotFound):
        await client.get("pods", namespace, "a", budget())
    with pytest.raises(NotFound):
        await client.delete("pods", namespace, "a", budget())


async def test_a_list_comes_in_pages(
    client: KubeClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAGE", 3)
    names = [f"pod-{number}" for number in range(8)]
    await asyncio.gather(*(client.create("pods", namespace, pod(x), budget()) for x in names))
    pages = [page async for page in client.pages("pods", namespace, budget)]
    assert [len(page["items"]) for page in pages] == [3, 3, 2]
    assert [x["metadata"]["name"] for x in await client.list("pods", namespace, budget())] == names


async def test_refusals_have_names(client: KubeClient, namespace: str) -> None:
    await client.create("pods", namespace, pod("a"), budget())
    with pytest.raises(AlreadyExists):
        await client.create("pods", namespace, pod("a"), budget())
    with pytest.raises(Invalid422) as invalid:
        await client.create("pods", namespace, pod("Not_A_Name"), budget())
    assert "metadata.name" in str(invalid.value)
    assert "Not_A_Name" not in str(invalid.value)
    with pytest.raises(NotFound):
        await client.create("pods", "no-such-namespace", pod("a"), budget())
    with pytest.raises(ValueError, match="without a name"):
        await client.delete("pods", namespace, "", budget())


def test_only_the_server_itself_says_that_something_is_gone() -> None:
    told = {"kind": "Status", "reason": "NotFound", "message": "gone", "details": {"name": "a"}}
    assert isinstance(api_error(404, told), NotFound)
    for body in (b"404 page not found", b"<html>", b"", b"[]", b'{"kind": "Status"}'):
        assert not isinstance(api_error(404, body), NotFound)
    assert isinstance(api_error(410, {"kind": "Status", "reason": "Expired"}), Gone)
    assert isinstance(api_error(403, {"kind": "Status", "reason": "Forbidden"}), Forbidden)
    assert api_error(429, b"", "7").retry_after == 7
    assert api_error(429, b"", "soon").retry_after is None


async def test_where_nothing_measures_there_is_no_measurement(
    client: KubeClient, namespace: str
) -> None:
    with pytest.raises(Unreachable) as error:
        await client.metrics(namespace, budget(1))
    assert error.value.status == 404


async def test_errors_and_log_quote_nothing(
    proxy: FaultProxy,
    through: KubeClient,
    client: KubeClient,
    namespace: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = pod("a")
    wrong["spec"]["containers"][0]["env"] = [{"name": f"{SECRET} =", "value": SECRET}]
    attempts = [
        ("secrets", secret("a", type=SECRET, immutable=SECRET)),
        ("secrets", {"metadata": {"name": SECRET.upper()}, "data": {"a b": "IA=="}}),
        ("secrets", {"metadata": {"name": "a"}, "data": {"a": f"{SECRET}!"}}),
        ("secrets", {"metadata": {"name": "a", "labels": {"x": f"{SECRET} "}}}),
        ("secrets", {"metadata": {"name": "a"}, "data": {"token": SECRET}}),
        ("secrets", secret("a", type="kubernetes.io/dockerconfigjson")),
        ("pods", wrong),
    ]
    for kind, body in attempts:
        with pytest.raises(ApiError) as error:
            await client.create(kind, namespace, body, budget())
        assert SECRET not in str(error.value).lower()
        assert SECRET not in repr(error.value).lower()
    for fault in (Fault("status", status=500), Fault("reset"), Fault("hang")):
        proxy.clear()
        proxy.add(fault)
        with pytest.raises(Unreachable) as lost:
            await through.create("secrets", namespace, secret("b"), budget(0.8))
        assert SECRET not in f"{lost.value}{lost.value!r}{lost.value.__cause__!r}"
    assert SECRET not in caplog.text
    assert ADMIN not in caplog.text


@pytest.mark.parametrize(
    "fault",
    [
        *(Fault("status", status=status, times=3) for status in (429, 500, 502, 503, 504)),
        Fault("status", status=401, times=2),
        Fault("reset", times=3),
        Fault("delay", seconds=1.0, times=1),
    ],
    ids=lambda fault: f"{fault.action}-{fault.status}",
)
async def test_what_passes_is_waited_for(
    proxy: FaultProxy, through: KubeClient, namespace: str, fault: Fault
) -> None:
    proxy.add(Fault(fault.action, status=fault.status, seconds=fault.seconds, times=fault.times))
    await through.create("pods", namespace, pod("a"), budget())
    assert len(proxy.requests) == (1 if fault.action == "delay" else (fault.times or 0) + 1)


async def test_a_request_that_hangs_leaves_time_for_another(
    proxy: FaultProxy, through: KubeClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ATTEMPT", 0.5)
    proxy.add(Fault("hang", times=2))
    await through.create("pods", namespace, pod("a"), budget())
    assert len(proxy.requests) == 3


async def test_a_create_that_was_carried_out_is_told_as_existing(
    proxy: FaultProxy, through: KubeClient, namespace: str
) -> None:
    proxy.add(Fault("drop", verb="create", times=1))
    with pytest.raises(AlreadyExists):
        await through.create("pods", namespace, pod("a"), budget())
    assert [each.verb for each in proxy.requests] == ["create", "create"]


async def test_a_busy_quota_is_asked_again(
    proxy: FaultProxy, through: KubeClient, namespace: str
) -> None:
    proxy.add(Fault("status", verb="create", status=409, times=2))
    await through.create("pods", namespace, pod("a"), budget())
    proxy.add(Fault("status", verb="patch", status=409, times=1))
    with pytest.raises(Conflict):
        await through.patch("pods", namespace, "a", {"metadata": {"labels": {}}}, budget())


@pytest.mark.parametrize("status", [400, 403, 404, 410, 422])
async def test_decisions_are_not_asked_for_twice(
    proxy: FaultProxy, through: KubeClient, namespace: str, status: int
) -> None:
    proxy.add(Fault("status", status=status))
    with pytest.raises(ApiError) as error:
        await through.create("pods", namespace, pod("a"), budget())
    assert error.value.status == status
    assert not isinstance(error.value, Unreachable)
    assert len(proxy.requests) == 1


async def test_the_budget_is_kept(proxy: FaultProxy, through: KubeClient, namespace: str) -> None:
    for fault in (Fault("hang"), Fault("reset"), Fault("status", status=503)):
        proxy.clear()
        proxy.add(fault)
        begun = time.monotonic()
        with pytest.raises(Unreachable):
            await through.get("pods", namespace, "a", budget(1))
        assert time.monotonic() - begun < 2.5


async def test_a_server_that_is_busy_is_asked_when_it_says(
    proxy: FaultProxy, through: KubeClient, namespace: str
) -> None:
    proxy.add(Fault("status", status=429, retry_after=1))
    with pytest.raises(Unreachable) as error:
        await through.list("pods", namespace, budget(3.5))
    assert error.value.status == 429
    times = [each.at for each in proxy.requests]
    assert 2 <= len(times) <= 5
    assert all(later - earlier >= 1 for earlier, later in itertools.pairwise(times))


async def test_a_storm_is_answered_by_few_requests(
    proxy: FaultProxy, through: KubeClient, namespace: str
) -> None:
    proxy.add(Fault("status", status=429))
    results = await asyncio.gather(
        *(through.create("pods", namespace, pod(f"a{x}"), budget(3)) for x in range(20)),
        return_exceptions=True,
    )
    assert all(isinstance(each, Unreachable) for each in results)
    assert len(proxy.requests) <= 20 * 6


async def test_many_at_once(through: KubeClient, proxy: FaultProxy, namespace: str) -> None:
    for status in (500, 503, 429):
        proxy.add(Fault("status", rate=0.1, status=status))
    proxy.add(Fault("reset", rate=0.1))
    names = [f"pod-{number:03}" for number in range(100)]

    async def create(name: str) -> None:
        with contextlib.suppress(AlreadyExists):
            await through.create("pods", namespace, pod(name), budget(40))

    await asyncio.gather(*map(create, names))
    proxy.clear()
    found = await through.list("pods", namespace, budget())
    assert [each["metadata"]["name"] for each in found] == names


def _token(apiserver: ApiServer, namespace: str) -> str:
    kubectl = [program("kubectl"), f"--kubeconfig={apiserver.kubeconfig}", f"-n={namespace}"]
    subprocess.run([*kubectl, "create", "serviceaccount", "hub"], check=True, capture_output=True)
    made = subprocess.run([*kubectl, "create", "token", "hub"], check=True, capture_output=True)
    return made.stdout.decode().strip()


async def test_a_pods_token_is_read_again(
    apiserver: ApiServer, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(apiserver.port))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    (tmp_path / "ca.crt").write_bytes(apiserver.authority.read_bytes())
    (tmp_path / "token").write_text("expired")
    token = await asyncio.to_thread(_token, apiserver, namespace)
    async with KubeClient() as inside:
        with pytest.raises(Unreachable):
            await inside.allowed("get", "pods", namespace, budget(1))
        (tmp_path / "token").write_text(token)
        assert not await inside.allowed("get", "pods", namespace, budget(5))
        with pytest.raises(Forbidden):
            await inside.list("pods", namespace, budget())
        (tmp_path / "token").write_text(ADMIN)
        assert await inside.allowed("get", "pods/log", namespace, budget())


async def test_a_kubeconfig_is_read_again(
    apiserver: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RELOAD_EVERY", 0.5)
    path = tmp_path / "kubeconfig"
    write_kubeconfig(path, apiserver.url, token="expired", authority=apiserver.authority)
    async with KubeClient(path) as reader:
        with pytest.raises(Unreachable):
            await reader.list("namespaces", "", budget(1))
        write_kubeconfig(path, apiserver.url, token=ADMIN, authority=apiserver.authority)
        assert await reader.list("namespaces", "", budget(20))


async def test_without_a_cluster_there_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    async with KubeClient() as nowhere:
        with pytest.raises(Unreachable) as error:
            await nowhere.list("pods", "x", budget(0.1))
    assert "KUBECONFIG" in str(error.value.__cause__)


async def test_the_process_wide_configuration_is_left_alone(
    client: KubeClient, namespace: str
) -> None:
    before = Configuration.get_default_copy().host
    await client.list("pods", namespace, budget())
    assert Configuration.get_default_copy().host == before != client._api.configuration.host


async def test_a_watch_tells_changes_and_ends(client: KubeClient, namespace: str) -> None:
    first = await client.create("pods", namespace, pod("a"), budget())
    version = first["metadata"]["resourceVersion"]

    async def later() -> None:
        await client.create("pods", namespace, pod("b"), budget())
        await client.delete("pods", namespace, "b", budget(), grace=0)

    kinds, changing = [], None
    async for event in client.watch("pods", namespace, version, seconds=2, silence=6):
        if event is None:
            changing = asyncio.create_task(later())
        elif event["type"] != "BOOKMARK":
            kinds.append(event["type"])
    assert changing is not None
    await changing
    assert kinds[0] == "ADDED"
    assert kinds[-1] == "DELETED"


@pytest.mark.parametrize("fault", ["stall", "truncate", "break", "garbage", "hang", "500", "410"])
async def test_a_watch_that_fails_says_so_in_time(
    proxy: FaultProxy, through: KubeClient, client: KubeClient, namespace: str, fault: str
) -> None:
    faults: dict[str, Callable[[], Fault]] = {
        "hang": lambda: Fault("hang"),
        "500": lambda: Fault("status", status=500),
        "410": lambda: Fault("status", status=410),
    }
    edit: Any = fault
    proxy.add(faults[fault]() if fault in faults else Fault("edit", edit=edit))
    version = (await client.create("pods", namespace, pod("a"), budget()))["metadata"][
        "resourceVersion"
    ]
    await client.create("pods", namespace, pod("b"), budget())
    begun = time.monotonic()
    with pytest.raises(Gone if fault == "410" else ApiError):
        async for _ in through.watch("pods", namespace, version, seconds=10, silence=1.5):
            pass
    assert time.monotonic() - begun < 4
