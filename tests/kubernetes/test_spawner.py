"""CanfarSpawner as an administrator's traits see it; what it does with pods is in tests/cluster."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from kubernetes_asyncio.client import ApiClient
from kubespawner import KubeSpawner
from traitlets.config import Config

from canfar_spawner.core.backend import Secrets
from canfar_spawner.hub.platform import SETTING, Platform
from canfar_spawner.hub.service import SessionsService
from canfar_spawner.kubernetes.manifests import finish
from canfar_spawner.kubernetes.settings import configure_cluster, make_platform, users_file
from canfar_spawner.kubernetes.spawner import CanfarSpawner
from canfar_spawner.kubernetes.told import PORT, Told, told
from tests.core.world import SESSION
from tests.support.hub import ROOT


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """KubeSpawner wants a cluster to be configured before it makes an object; nothing is asked."""
    monkeypatch.setattr("kubespawner.spawner.load_config", lambda **_: None)


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    log = logging.getLogger("test")
    content = yaml.safe_load((ROOT / "hub_config" / "catalogue.yaml").read_text())
    for container in content["catalogue"]["containers"]:
        if container["name"] == "notebook":
            container["kubespawner_override"] = {
                "extra_labels": {"team": "radio"},
                "mem_limit": "1G",
                "priority_class_name": "urgent",
            }
    catalogue = tmp_path / "catalogue.yaml"
    catalogue.write_text(yaml.safe_dump(content))
    return make_platform(
        data=tmp_path / "data",
        catalogue=catalogue,
        identities=users_file(ROOT / "hub_config" / "users.yaml", log),
        log=log,
    )


def user(platform: Platform | None) -> Any:
    """Give what a spawner needs of a user before a hub runs."""
    settings = {} if platform is None else {SETTING: platform}
    return SimpleNamespace(
        name="ada", id=1, url="/user/ada", base_url="/user/ada/", settings=settings, spawners={}
    )


def hub() -> Any:
    return SimpleNamespace(
        public_host="", url="/hub/", base_url="/hub/", api_url="http://127.0.0.1:9/hub/api"
    )


def made(kind: type[KubeSpawner], platform: Platform | None, config: Config | None = None) -> Any:
    config = config or Config()
    row = SimpleNamespace(name=SESSION, state=None, user_options=None, server=None)
    return kind(user=user(platform), hub=hub(), orm_spawner=row, config=config, _mock=True)


async def manifest(spawner: Any) -> Any:
    async with ApiClient() as api:
        return api.sanitize_for_serialization(await spawner.get_pod_manifest())


@pytest.fixture
def configured() -> Iterator[Config]:
    """Traits as an administrator of KubeSpawner has them."""
    config = Config()
    config.KubeSpawner.image = "registry.example.org/somebody/own:1"
    config.KubeSpawner.cmd = ["run"]
    config.Spawner.args = ["--for-a-server-of-the-hubs"]
    config.KubeSpawner.mem_limit = "2G"
    config.KubeSpawner.profile_list = [
        {"display_name": "One", "kubespawner_override": {"image": "registry.example.org/a/b:1"}}
    ]
    return config


async def test_without_a_catalogue_it_is_kubespawner(configured: Config) -> None:
    ours, theirs = made(CanfarSpawner, None, configured), made(KubeSpawner, None, configured)
    assert await manifest(ours) == await manifest(theirs)
    assert ours.get_state() == theirs.get_state()
    assert [profile["display_name"] for profile in ours.profile_list] == ["One"]
    await ours.load_user_options()
    assert ours.image == "registry.example.org/a/b:1"
    assert ours.options_from_query({"profile": ["one"]}) == theirs.options_from_query(
        {"profile": ["one"]}
    )


async def test_with_a_catalogue_the_profiles_are_its_own(
    platform: Platform, configured: Config
) -> None:
    spawner = made(CanfarSpawner, platform, configured)
    slugs = [profile["slug"] for profile in spawner.profile_list]
    assert slugs == [each.name for each in platform.policy.catalogue.containers]
    spawner.profile_list = [{"display_name": "Mine"}]
    assert [profile["slug"] for profile in spawner.profile_list] == slugs


async def test_a_plan_is_more_than_a_trait(platform: Platform, configured: Config) -> None:
    spawner = made(CanfarSpawner, platform, configured)
    spawner._apply({"profile": "astroml", "mode": "fixed", "cores": 2, "memory": 4})
    assert spawner.plan.container == "astroml"
    assert spawner.image == "registry.example.org/canfar-hub/astroml:26.11"
    assert spawner.user_options["container"] == "astroml"
    assert spawner.mem_limit == 4 * 2**30
    assert spawner.pod_name == spawner.plan.object_name


async def test_what_an_entry_overrides_comes_last_and_sizes_stay_promised(
    platform: Platform,
) -> None:
    spawner = made(CanfarSpawner, platform)
    spawner._apply({"container": "notebook", "mode": "fixed", "cores": 1, "memory": 8})
    spawner.port = 8888
    pod = finish(await manifest(spawner), spawner.plan, platform.policy, told=Told({"HOME": "/"}))
    assert pod["metadata"]["labels"]["team"] == "radio"
    assert pod["spec"]["priorityClassName"] == "urgent"
    assert pod["spec"]["resources"]["limits"] == {"cpu": "1", "memory": "8Gi"}


async def test_behind_the_gateway_runs_the_images_own_program(
    platform: Platform, configured: Config
) -> None:
    spawner = made(CanfarSpawner, platform, configured)
    spawner._apply({"container": "marimo"})
    plan, pod = spawner.plan, await manifest(spawner)
    (program,) = pod["spec"]["containers"]
    # Neither the site's usual command nor the platform's, nor what either adds to it.
    assert not spawner.get_args()
    assert not {"command", "args"} & set(program)
    assert spawner.port == PORT != plan.port
    tell = told(plan, Secrets(), program)
    done = finish(pod, plan, platform.policy, told=tell)["spec"]
    (program,), (gateway,) = done["containers"], done["initContainers"]
    assert "ports" not in program
    assert (
        gateway["image"] == f"registry.example.org/canfar-hub/gateway:{version('canfar-spawner')}"
    )
    assert not {"command", "args", "workingDir"} & set(program)
    kept = [each for each in spawner.get_env() if each.startswith("JUPYTERHUB_")]
    assert kept, "which KubeSpawner would give the program"
    assert not [each for each in program["env"] if each["name"] in kept]


def test_what_a_hub_is_told(platform: Platform) -> None:
    config = Config()
    config.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0}
    config.JupyterHub.load_roles = [{"name": "chart", "scopes": []}]
    service = SessionsService(address="http://sessions.canfar-hub:10101", token="t" * 32)
    configure_cluster(config, platform, sessions=service)
    assert config.JupyterHub.spawner_class == "canfar"
    assert config.JupyterHub.tornado_settings["slow_spawn_timeout"] == 0
    names = [role["name"] for role in config.JupyterHub.load_roles]
    assert names == ["chart", "user", "server", "sessions"]
    assert config.CanfarSpawner.namespace == platform.policy.pods.namespace
