"""Batch jobs on the real cluster, by the back end and the rights of the session manager's account.

There is no hub here: what jobs do on a node is the same whoever asks for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from canfar_spawner.core.backend import Capacity, Secrets, Use
from canfar_spawner.core.limits import Usage
from canfar_spawner.core.names import new_launch_id, new_session_id
from canfar_spawner.core.patience import given_up
from canfar_spawner.core.plan import SessionPlan, plan_session
from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.core.request import parse_request
from canfar_spawner.core.resources import GIB
from canfar_spawner.core.status import Evidence, Life, Reason
from canfar_spawner.kubernetes.backend import KubernetesBackend
from canfar_spawner.kubernetes.settings import make_backend
from canfar_spawner.site.files import WatchedFile
from canfar_spawner.site.users_file import Users, UsersFile
from tests.support.cluster import Cluster, site
from tests.support.cluster.cluster import NODE
from tests.support.cluster.site import SESSIONS
from tests.support.hub import ROOT

pytestmark = pytest.mark.cluster

LOG = logging.getLogger("test")
SECONDS = 120.0
NODES = ROOT / "hub_config" / "manifests" / "optional" / "nodes.yaml"

TELL = """
import json, os, sys
print(json.dumps({
    "argv": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd(),
    "id": [os.getuid(), os.getgid(), *os.getgroups()],
}))
"""
HARD = [
    *("", " ", "  two  ", "a=b=c", "=", "'", '"', 'it\'s "so"', "line\nline\n", "\n", "\t\r\n"),
    *("$", "$$", "$$$", "$(", "$()", "$(HOME)", "$$(HOME)", "$$$(HOME)", "$$$$(A)", "a$(B)c$(D)"),
    *("$HOME", "${HOME}", "`id`", "$((1+1))", "\\", "\\n", "\\\\$(X)", "%s", "{}", "{{x}}", "*"),
    *(
        "-",
        "--",
        "--help",
        "-c",
        "#",
        ";",
        "&&",
        "|",
        "<",
        ">",
        "!",
        "~",
        "\x01",
        "\x1b[0m",
        "\x7f",
    ),
    *("é", "日本語", "🔭", "\u2028", "\ufeff", "a\u0301", "x" * 20_000),
]


def strings(count: int, seed: int) -> list[str]:
    """Give strings of what expansion looks for, in every order."""
    chance = random.Random(seed)  # noqa: S311 - the same each time
    letters = "$$$(()A_ \\\"'\n=é"
    return ["".join(chance.choices(letters, k=chance.randint(0, 12))) for _ in range(count)]


ARGS = [*HARD, *strings(180, 20261102)]
ENV = {f"HARD_{number}": text for number, text in enumerate([*HARD, *strings(60, 7)])}


@dataclass
class Story:
    """What became of a job."""

    plan: SessionPlan
    seen: list[Evidence] = field(default_factory=list)
    log: str = ""
    use: Use | None = None

    @property
    def end(self) -> Evidence:
        return self.seen[-1]


@dataclass
class Site:
    """A back end with the manager's rights, and people to run jobs for."""

    cluster: Cluster
    backend: KubernetesBackend
    policy: SitePolicy
    people: UsersFile

    def plan(self, owner: str = "ada", **options: object) -> SessionPlan:
        session = new_session_id(secrets.choice)
        return plan_session(
            parse_request({"container": "probe", "kind": "headless", **options}),
            identity=self.people.identity(owner),
            policy=self.policy,
            usage=Usage(),
            now=datetime.now(UTC),
            session=session,
            launch=new_launch_id(session, secrets.choice),
        )

    async def follow(self, story: Story, until: Callable[[Evidence], object]) -> Evidence:
        """Note what is told of a job until something is."""
        async with asyncio.timeout(SECONDS):
            while True:
                found = await self.backend.look(story.plan)
                if (
                    not story.seen
                    or found.model_copy(update={"seen": story.seen[-1].seen}) != (story.seen[-1])
                ):
                    story.seen.append(found)
                if until(found):
                    return found
                await self.backend.cache.changed(story.plan.object_name, 1.0)

    async def begin(self, env: Mapping[str, str] = {}, **options: object) -> Story:
        made = self.plan(**options)
        given = Secrets(env=tuple((name, SecretStr(value)) for name, value in env.items()))
        await self.backend.start(made, given)
        return Story(made)

    async def run(self, env: Mapping[str, str] = {}, **options: object) -> Story:
        """Run a job to its end, keep its log and remove it."""
        story = await self.begin(env, **options)
        await self.follow(story, lambda found: found.life is Life.ENDED)
        story.log = await self.backend.logs(story.plan.launch)
        await self.backend.stop(story.plan.launch)
        return story


@contextlib.asynccontextmanager
async def opened(cluster: Cluster, data: Path) -> AsyncIterator[Site]:
    account = site.account_kubeconfig(cluster, data / "kubeconfig", account="sessions")
    policy = SitePolicy.model_validate(site.catalogue())
    people = WatchedFile(ROOT / "hub_config" / "users.yaml", Users, LOG)
    backend = make_backend(lambda: policy, data=data, log=LOG, kubeconfig=account)
    try:
        yield Site(cluster, backend, policy, UsersFile(people, lambda: policy.projects))
    finally:
        await backend.cache.stop()
        await backend.client.close()


# What happens side by side.


async def _exact(site_: Site) -> Story:
    return await site_.run(ENV, cmd="python3", args=["-c", TELL, *ARGS])


async def _failing(site_: Site) -> Story:
    return await site_.run(cmd="sh", args=["-c", "echo before; echo after >&2; exit 7"])


async def _hungry(site_: Site) -> Story:
    eat = "hoard = []\nwhile True: hoard.append(b'x' * 2**24)"
    return await site_.run(
        cmd="python3", args=["-c", eat], mode="fixed", cores=0.5, memory=1, name="hungry"
    )


async def _absent(site_: Site) -> Story:
    return await site_.run(cmd="/no/such/program")


async def _missing(site_: Site) -> Story:
    story = await site_.begin(container="missing")
    found = lambda evidence: evidence.reason is Reason.IMAGE_NOT_FOUND  # noqa: E731 - says what
    await site_.follow(story, found)
    await site_.backend.stop(story.plan.launch)
    return story


async def _waiting(site_: Site) -> Story:
    story = await site_.begin(cmd="true", mode="fixed", cores=64, memory=1)
    await site_.follow(story, lambda found: found.reason is Reason.WAITING_FOR_RESOURCES)
    await site_.backend.stop(story.plan.launch)
    await site_.follow(story, lambda found: found.life is Life.ABSENT)
    return story


async def _serving(site_: Site) -> Story:
    """Run the image's own program, measure it and stop it."""
    story = await site_.begin()
    await site_.follow(story, lambda found: found.life is Life.RUNNING)
    async with asyncio.timeout(SECONDS):
        while story.use is None:
            story.use = await site_.backend.usage(story.plan.launch)
            await asyncio.sleep(0.5)
    await site_.backend.stop(story.plan.launch)
    await site_.follow(story, lambda found: found.life in (Life.ABSENT, Life.ENDED))
    return story


WELL = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("begun", flush=True)
signal.pause()
"""
"""A program that ends well when it is told to, as Jupyter's servers do."""


async def _removed(
    site_: Site, *, evict: bool, program: tuple[str, ...] = ("sleep", "600")
) -> Story:
    """Have somebody else remove a running job."""
    story = await site_.begin(cmd=program[0], args=list(program[1:]))
    await site_.follow(story, lambda found: found.life is Life.RUNNING)
    log = ""
    async with asyncio.timeout(SECONDS):
        while program[-1] == WELL and "begun" not in log:
            log = await site_.backend.logs(story.plan.launch)
            await asyncio.sleep(0.2)
    name = story.plan.object_name
    where = f"/api/v1/namespaces/{SESSIONS}/pods/{name}/eviction"
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": SESSIONS},
    }
    if evict:
        words, given = ("create", "--raw", where, "--filename", "-"), json.dumps(eviction)
    else:
        words, given = ("delete", "pod", name, "--namespace", SESSIONS, "--wait=false"), None
    await asyncio.to_thread(site_.cluster.kubectl, *words, input=given)
    await site_.follow(story, lambda found: found.life in (Life.ABSENT, Life.ENDED))
    await site_.backend.stop(story.plan.launch)
    return story


STORIES: dict[str, Callable[[Site], Awaitable[Story]]] = {
    "exact": _exact,
    "failing": _failing,
    "hungry": _hungry,
    "absent": _absent,
    "missing": _missing,
    "waiting": _waiting,
    "serving": _serving,
    "removed": lambda site_: _removed(site_, evict=False),
    "evicted": lambda site_: _removed(site_, evict=True),
    "ended well": lambda site_: _removed(site_, evict=True, program=("python3", "-c", WELL)),
}


@pytest.fixture(scope="module")
def told(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Story]]:
    """Run every story, all at once."""

    async def all_() -> dict[str, Story]:
        async with opened(cluster, tmp_path_factory.mktemp("manager")) as site_:
            found = await asyncio.gather(*(story(site_) for story in STORIES.values()))
            return dict(zip(STORIES, found, strict=True))

    yield asyncio.run(all_())
    cluster.kubectl("delete", "pods,secrets", "--namespace", SESSIONS, "--selector", _KIND)


_KIND = "hub.canfar.net/kind=headless"


def test_words_and_variables_arrive_byte_for_byte(told: dict[str, Story]) -> None:
    story = told["exact"]
    found = json.loads(story.log)
    assert found["argv"] == ARGS
    assert {name: found["env"].get(name) for name in ENV} == ENV


def test_a_job_runs_as_its_owner_in_her_home(told: dict[str, Story]) -> None:
    story = told["exact"]
    found = json.loads(story.log)
    identity = story.plan.identity
    assert found["cwd"] == found["env"]["HOME"] == "/arc/home/ada"
    user, group, *groups = found["id"]
    assert (user, group) == (identity.uid, identity.group.gid)
    assert set(groups) - {group} == set(identity.gids) - {group}
    assert found["env"]["CANFAR_SESSION_KIND"] == "headless"


def test_its_end_tells_everything_there_is_to_know(told: dict[str, Story]) -> None:
    end = told["exact"].end
    assert (end.life, end.reason, end.exit_code) == (Life.ENDED, Reason.FINISHED, 0)
    assert end.node == NODE
    assert end.qos == "Burstable"
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", end.image_digest)
    assert end.started is not None
    assert end.finished is not None
    assert told["exact"].plan.started - timedelta(seconds=1) <= end.started <= end.finished


def test_one_that_fails_says_so_with_its_exit_code_and_its_log(told: dict[str, Story]) -> None:
    story = told["failing"]
    assert (story.end.reason, story.end.exit_code) == (Reason.PROGRAM_FAILED, 7)
    assert sorted(story.log.split()) == ["after", "before"]


def test_the_kernel_ends_what_needs_more_memory(told: dict[str, Story]) -> None:
    end = told["hungry"].end
    assert (end.life, end.reason) == (Life.ENDED, Reason.OUT_OF_MEMORY)
    assert end.qos == "Guaranteed"


def test_a_program_that_is_not_there_is_named(told: dict[str, Story]) -> None:
    end = told["absent"].end
    assert (end.life, end.reason) == (Life.ENDED, Reason.PROGRAM_MISSING)
    assert "/no/such/program" in end.detail


def test_an_image_that_is_not_there_is_not_waited_for(told: dict[str, Story]) -> None:
    story = told["missing"]
    assert "no-such-tag" in story.end.detail
    pods = SitePolicy.model_validate(site.catalogue()).pods
    now = datetime.now(UTC)
    assert given_up(story.end, interactive=False, pods=pods, now=now) is Reason.IMAGE_NOT_FOUND


def test_a_job_waits_for_room_and_says_why(told: dict[str, Story]) -> None:
    story = told["waiting"]
    (waiting,) = (each for each in story.seen if each.reason is Reason.WAITING_FOR_RESOURCES)
    assert waiting.detail == "No machine has enough free cores now."
    pods = SitePolicy.model_validate(site.catalogue()).pods
    much_later = datetime.now(UTC) + timedelta(days=7)
    assert given_up(waiting, interactive=False, pods=pods, now=much_later) is None
    assert story.end.reason is Reason.STOPPED


def test_without_a_command_the_images_own_program_runs_and_is_measured(
    told: dict[str, Story],
) -> None:
    story = told["serving"]
    assert story.plan.command == ()
    use = story.use
    assert use is not None
    assert use.memory is not None
    assert 10**6 < use.memory < GIB
    assert use.cores is not None
    assert 0 <= use.cores < 1
    assert story.end.reason is Reason.STOPPED


def test_what_somebody_else_ends_is_no_failure_of_the_program(told: dict[str, Story]) -> None:
    assert told["removed"].end.reason is Reason.SUPERVISOR_LOST
    for name in ("evicted", "ended well"):
        assert told[name].end.reason is Reason.EVICTED, told[name].seen


def test_nothing_of_them_stays(told: dict[str, Story], cluster: Cluster) -> None:
    assert told
    words = ("--namespace", SESSIONS, "--selector", _KIND, "--output", "name")
    assert cluster.kubectl("get", "pods,secrets", *words) == ""


# What there is in all.


async def _capacity(cluster: Cluster, data: Path) -> Capacity | None:
    async with opened(cluster, data) as site_:
        site_.backend.watch()
        await site_.backend.cache.listed()
        return await site_.backend.capacity()


def test_what_the_nodes_have_is_told_by_permission_only(cluster: Cluster, tmp_path: Path) -> None:
    assert asyncio.run(_capacity(cluster, tmp_path)) is None
    cluster.kubectl("apply", "--filename", str(NODES))
    try:
        found = asyncio.run(_capacity(cluster, tmp_path))
    finally:
        cluster.kubectl("delete", "--filename", str(NODES))
    node = json.loads(cluster.kubectl("get", "node", NODE, "--output", "json"))
    allocatable: dict[str, Any] = node["status"]["allocatable"]
    assert found is not None
    assert found.cores == int(allocatable["cpu"])
    assert found.memory == int(allocatable["memory"].removesuffix("Ki")) * 1024
    assert found.cores_taken <= found.cores
