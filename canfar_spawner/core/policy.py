"""Everything a site decides, in one frozen value."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Self

from pydantic import AwareDatetime, Field, field_validator, model_validator

from canfar_spawner.core.catalogue import Catalogue, Word
from canfar_spawner.core.frozen import Frozen
from canfar_spawner.core.identity import PosixIdentity, PosixName
from canfar_spawner.core.images import ImagePolicy, ImageSource
from canfar_spawner.core.kinds import SessionKind
from canfar_spawner.core.lifetime import Lifetimes
from canfar_spawner.core.limits import Limits
from canfar_spawner.core.pods import PodsPolicy
from canfar_spawner.core.resources import ResourceChoices
from canfar_spawner.core.retention import Retention
from canfar_spawner.core.sharing import SharingPolicy
from canfar_spawner.core.storage import ProjectName, StoragePolicy


class Link(Frozen):
    """A link at the foot of every page."""

    label: Annotated[str, Field(min_length=1, max_length=40)]
    href: Annotated[str, Field(pattern=r"^(https?://|/)[^\s\"'<>\\]*$")]


class Maintenance(Frozen):
    """When the platform, or a part of it, is worked on."""

    begins: AwareDatetime
    ends: AwareDatetime
    text: Annotated[str, Field(min_length=1, max_length=300)]
    """What that means to people, in a sentence or two."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.ends <= self.begins:
            raise ValueError("it ends before it begins")
        return self


class Branding(Frozen):
    """How the pages introduce themselves."""

    name: Annotated[str, Field(min_length=1, max_length=40)] = "CANFAR"
    logo: Annotated[str, Field(pattern=r"^(https?://|/)[^\s\"'<>\\]*$")] | None = None
    links: tuple[Link, ...] = ()
    announcement: Annotated[str, Field(max_length=300)] = ""
    maintenance: Maintenance | None = None
    """Said on every page until it is over."""


class Project(Frozen):
    """A project: a directory that a group shares."""

    name: ProjectName
    title: Annotated[str, Field(max_length=120)] = ""
    group: PosixName
    """Members of this group may use it."""


class Resources(Frozen):
    """The sizes a site offers, and for which kinds they differ."""

    default: ResourceChoices = ResourceChoices()
    kinds: dict[SessionKind, ResourceChoices] = Field(default_factory=dict)

    def of(self, kind: SessionKind) -> ResourceChoices:
        """Give the sizes of one kind."""
        return self.kinds.get(kind, self.default)


class Machine(Frozen):
    """What is decided for a hub of one machine."""

    open_ports: bool = False
    """Offer programs that listen on a port, which every user of the machine could reach, also
    where people sign in who may not trust each other."""


class SitePolicy(Frozen):
    """The catalogue file, checked: what may be started, how large, for how long."""

    version: Annotated[int, Field(ge=1, le=1)] = 1
    """The format of the file."""
    branding: Branding = Branding()
    catalogue: Catalogue
    images: ImagePolicy = ImagePolicy()
    """Which images may be given by reference."""
    resources: Resources = Resources()
    lifetimes: Lifetimes = Lifetimes()
    limits: Limits = Limits()
    sharing: SharingPolicy = SharingPolicy()
    history: Retention = Retention()
    """For how long it is remembered what sessions there were."""
    storage: StoragePolicy = StoragePolicy()
    projects: tuple[Project, ...] = ()
    defaults: dict[SessionKind, Word] = Field(default_factory=dict)
    """The container that the form proposes for a kind."""
    machine: Machine = Machine()
    pods: PodsPolicy = PodsPolicy()
    """Namespaces, volumes, node selectors, tolerations, priorities, queues and pull secrets."""

    @field_validator("images", mode="before")
    @classmethod
    def _sources(cls, value: object) -> object:
        if isinstance(value, dict) and isinstance(value.get("sources"), list):
            sources = [
                ImageSource.parse(source) if isinstance(source, str) else source
                for source in value["sources"]
            ]
            return {**value, "sources": sources}
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [project.name for project in self.projects]
        if len(set(names)) != len(names):
            raise ValueError("two projects have the same name")
        kinds = {container.name: container.kinds for container in self.catalogue.containers}
        for kind, word in self.defaults.items():
            if word not in kinds:
                raise ValueError(f"the default of {kind}, {word}, is not a container")
            if kind not in kinds[word]:
                raise ValueError(f"the default of {kind}, {word}, cannot run as {kind}")
        return self

    @property
    def project_names(self) -> frozenset[str]:
        """The names of all projects."""
        return frozenset(project.name for project in self.projects)

    def project_gids(self, identity: PosixIdentity) -> dict[str, int]:
        """Give the group ids of the projects whose group came with an identity."""
        groups = {group.name: group.gid for group in (*identity.groups, identity.group)}
        return {
            project.name: groups[project.group]
            for project in self.projects
            if project.group in groups
        }

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that change with anything in the policy."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]
