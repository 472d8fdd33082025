"""The storage provisioner's Jobs on the real cluster."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import shutil
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from canfar_spawner.core.errors import Unavailable
from canfar_spawner.core.identity import PosixIdentity
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.kubernetes.client import Budget, KubeClient
from canfar_spawner.kubernetes.provisioner import ArcProvisioner, Directories, provision_job
from tests.core.world import ADA, BEN, plan, site
from tests.support.cluster import Cluster
from tests.support.cluster.images import reference
from tests.support.cluster.site import account_kubeconfig, prepare

pytestmark = pytest.mark.cluster

GIDS = {"demo": 7004, "survey": 7006}
LOG = logging.getLogger(__name__)


@dataclass
class Storage:
    """A claim of its own in a namespace of its own, and the directory behind it."""

    cluster: Cluster
    client: KubeClient
    namespace: str
    path: Path
    data: Path
    image: str

    def policy(self, **storage: object) -> SitePolicy:
        here = {"image": self.image, "namespace": self.namespace}
        return site(pods={"storage": {**here, **storage}})

    def provisioner(self, data: str = "data", **how: Any) -> ArcProvisioner:
        policy = self.policy(**how.pop("storage", {}))
        (self.data / data).mkdir(exist_ok=True)
        return ArcProvisioner(self.client, lambda: policy, self.data / data, LOG, **how)

    async def jobs(self) -> list[dict[str, Any]]:
        return await self.client.list("jobs", self.namespace, Budget(10))

    async def pods(self) -> list[dict[str, Any]]:
        return await self.client.list("pods", self.namespace, Budget(10))

    async def runs(self) -> int:
        """Count the pods that Jobs ever had here."""
        events = await self.client.list(
            "events",
            self.namespace,
            Budget(10),
            fields="reason=SuccessfulCreate,involvedObject.kind=Job",
        )
        return sum(int(event.get("count") or 1) for event in events)

    def owned(self, path: str) -> tuple[int, int, int]:
        found = (self.path / path).lstat()
        return stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid


def manifests(namespace: str, path: Path) -> str:
    """Give a namespace as the storage's is, and a claim of a directory of the node."""
    size = {"storage": "1Gi"}
    volume = {"kind": "PersistentVolume", "apiVersion": "v1", "metadata": {"name": namespace}}
    volume["spec"] = {
        "capacity": size,
        "accessModes": ["ReadWriteMany"],
        "hostPath": {"path": str(path), "type": "Directory"},
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": "",
    }
    claim = {"kind": "PersistentVolumeClaim", "apiVersion": "v1"}
    claim["metadata"] = {"name": "arc", "namespace": namespace}
    claim["spec"] = {
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": size},
        "storageClassName": "",
        "volumeName": namespace,
    }
    labels = {"pod-security.kubernetes.io/enforce": "baseline"}
    home = {"kind": "Namespace", "apiVersion": "v1"}
    home["metadata"] = {"name": namespace, "labels": labels}
    return json.dumps({"kind": "List", "apiVersion": "v1", "items": [home, volume, claim]})


@pytest.fixture(scope="module")
def cluster(need: Callable[[str, bool, str], None]) -> Cluster:
    need("cluster", bool(os.environ.get("CANFAR_CLUSTER")), "start it with: make cluster")
    return Cluster.load()


@pytest.fixture(scope="module")
def image(cluster: Cluster) -> str:
    """Give the hub's image as the registry has it now: the node may keep an older one of its name."""
    name, _, tag = reference("hub").rpartition(":")
    path = f"/v2/{name.partition('/')[2]}/manifests/{tag}"
    kinds = "application/vnd.oci.image.manifest.v1+json"
    answer = httpx.head(
        f"http://{cluster.addresses.registry}{path}", headers={"Accept": kinds}, trust_env=False
    )
    answer.raise_for_status()
    return f"{name}@{answer.headers['Docker-Content-Digest']}"


@pytest.fixture
def claimed(cluster: Cluster) -> Iterator[tuple[str, Path]]:
    namespace = f"arc-test-{secrets.token_hex(4)}"
    path = cluster.arc / namespace
    path.mkdir(parents=True)
    cluster.kubectl("apply", "-f", "-", input=manifests(namespace, path))
    yield namespace, path
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")
    cluster.kubectl("delete", "pv", namespace, "--wait=false")
    shutil.rmtree(path)


async def until(done: Callable[[], Awaitable[bool]], seconds: float) -> float:
    """Wait for a condition and give how long it took."""
    begun = time.monotonic()
    while not await done():
        assert time.monotonic() - begun < seconds, "not in time"
        await asyncio.sleep(0.1)
    return time.monotonic() - begun


@pytest.fixture
async def storage(
    cluster: Cluster, claimed: tuple[str, Path], tmp_path: Path, image: str
) -> AsyncIterator[Storage]:
    namespace, path = claimed
    async with KubeClient(cluster.kubeconfig) as client:
        yield Storage(cluster, client, namespace, path, tmp_path, image)


def launch(identity: PosixIdentity = ADA, **options: object) -> SessionPlan:
    return plan({"container": "astroml", **options}, identity)


async def test_an_empty_claim_is_made_ready_once(storage: Storage) -> None:
    await storage.provisioner().ensure(launch(), GIDS)
    assert storage.owned("home/ada") == (0o700, ADA.uid, ADA.group.gid)
    assert storage.owned("home/ada/.bashrc") == (0o644, ADA.uid, ADA.group.gid)
    assert storage.owned("projects/demo") == (0o2770, 0, 7004)
    assert storage.owned("projects/survey") == (0o2770, 0, 7006)
    assert storage.owned("home") == (0o755, 0, 0)

    async def gone() -> bool:
        return not await storage.jobs() and not await storage.pods()

    await until(gone, 10)
    # The next launch asks for nothing, also after a restart of the hub.
    await storage.provisioner().ensure(launch(), GIDS)
    assert await storage.runs() == 1


async def test_only_what_is_new_is_made(storage: Storage) -> None:
    provisioner = storage.provisioner()
    await provisioner.ensure(launch(projects=["demo"]), GIDS)
    before = (storage.path / "home" / "ada").lstat().st_ctime_ns
    await provisioner.ensure(launch(projects=["demo", "survey"]), GIDS)
    assert storage.owned("projects/survey") == (0o2770, 0, 7006)
    await provisioner.ensure(launch(BEN, projects=["survey"]), GIDS)
    assert storage.owned("home/ben") == (0o700, BEN.uid, BEN.group.gid)
    assert await storage.runs() == 3
    # A hub that has lost its memory asks once more, and nothing changes.
    await storage.provisioner("lost").ensure(launch(), GIDS)
    assert await storage.runs() == 4
    assert (storage.path / "home" / "ada").lstat().st_ctime_ns == before


async def test_launches_at_the_same_time_share_one_run(storage: Storage) -> None:
    provisioner = storage.provisioner()
    impatient = asyncio.create_task(provisioner.ensure(launch(), GIDS))
    others = [asyncio.create_task(provisioner.ensure(launch(), GIDS)) for _ in range(4)]

    async def ordered() -> bool:
        return bool(await storage.jobs())

    await until(ordered, 10)
    impatient.cancel()
    await asyncio.gather(*others)
    assert storage.owned("home/ada") == (0o700, ADA.uid, ADA.group.gid)
    assert await storage.runs() == 1


async def test_a_job_of_the_hub_before_is_waited_for(storage: Storage) -> None:
    policy = storage.policy()
    wanted = Directories.of(launch(), GIDS, policy)
    job = provision_job(wanted, policy, name="arc-ada-earlier")
    job["spec"]["suspend"] = True
    await storage.client.create("jobs", storage.namespace, job, Budget(10))
    waiting = asyncio.create_task(storage.provisioner().ensure(launch(), GIDS))
    resumed = {"spec": {"suspend": False}}
    await storage.client.patch("jobs", storage.namespace, "arc-ada-earlier", resumed, Budget(10))
    await waiting
    assert storage.owned("home/ada") == (0o700, ADA.uid, ADA.group.gid)
    assert await storage.runs() == 1


async def test_what_a_dead_hub_left_is_swept(storage: Storage) -> None:
    policy = storage.policy()
    wanted = Directories.of(launch(), GIDS, policy)
    job = provision_job(wanted, policy, name="arc-ada-left")
    await storage.client.create("jobs", storage.namespace, job, Budget(10))
    provisioner = storage.provisioner()

    async def swept() -> bool:
        await provisioner.sweep()
        return not await storage.jobs()

    await until(swept, 60)
    assert storage.owned("home/ada") == (0o700, ADA.uid, ADA.group.gid)


async def test_a_link_is_refused_and_the_reason_is_told(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    (storage.path / "home").mkdir()
    (storage.path / "elsewhere").mkdir(mode=0o711)
    (storage.path / "home" / "ada").symlink_to("../elsewhere")
    before = storage.owned("elsewhere")
    with pytest.raises(Unavailable) as caught:
        await storage.provisioner().ensure(launch(), GIDS)
    assert caught.value.sentence.startswith("The session's directories on the storage could not")
    assert caught.value.detail == (
        "ada: something else than a directory stands there, such as a link; it is left as it is."
    )
    assert caught.value.detail in caplog.text
    assert (storage.path / "home" / "ada").is_symlink()
    assert storage.owned("elsewhere") == before
    # It would end the same way: it is tried once, and stays to be looked at for an hour.
    (job,) = await storage.jobs()
    assert job["spec"]["ttlSecondsAfterFinished"] == 3600
    assert await storage.runs() == 1
    # Once somebody has seen to it, the next launch is well.
    (storage.path / "home" / "ada").unlink()
    await storage.provisioner().ensure(launch(), GIDS)
    assert storage.owned("home/ada") == (0o700, ADA.uid, ADA.group.gid)


async def test_a_job_that_cannot_start_says_what_it_waits_for(storage: Storage) -> None:
    absent = {"image": "registry.example.org/canfar-hub/absent:1"}
    with pytest.raises(Unavailable) as caught:
        await storage.provisioner(patience=12, storage=absent).ensure(launch(), GIDS)
    assert "were not made in time" in caught.value.sentence
    assert "canfar-hub/absent:1" in caught.value.detail


async def test_an_external_provisioner_is_left_alone(storage: Storage) -> None:
    await storage.provisioner(storage={"provisioner": "external"}).ensure(launch(), GIDS)
    assert await storage.runs() == 0
    assert list(storage.path.iterdir()) == []


async def test_a_missing_namespace_is_told(storage: Storage) -> None:
    elsewhere = {"namespace": "arc-nowhere"}
    with pytest.raises(Unavailable) as caught:
        await storage.provisioner(storage=elsewhere).ensure(launch(), GIDS)
    assert "arc-nowhere" in caught.value.detail


async def test_the_rights_of_the_hub_and_the_admission_policy_suffice(
    cluster: Cluster, image: str, tmp_path: Path
) -> None:
    prepare(cluster)
    account = account_kubeconfig(cluster, tmp_path / "hub.conf")
    policy = site(pods={"storage": {"image": image}})
    name = f"test{secrets.token_hex(4)}"
    identity = ADA.model_copy(update={"name": name})
    home = cluster.arc / "home" / name
    async with KubeClient(account) as client:
        provisioner = ArcProvisioner(client, lambda: policy, tmp_path, LOG)
        await provisioner.ensure(launch(identity, projects=[]), GIDS)
        assert stat.S_IMODE(home.lstat().st_mode) == 0o700
        await provisioner.sweep()
        # A failure is told from the pod's log.
        (cluster.arc / "home" / f"{name}x").symlink_to(name)
        other = ADA.model_copy(update={"name": f"{name}x"})
        with pytest.raises(Unavailable) as caught:
            await provisioner.ensure(launch(other, projects=[]), GIDS)
        assert "something else than a directory" in caught.value.detail
    (cluster.arc / "home" / f"{name}x").unlink()
    shutil.rmtree(home)
