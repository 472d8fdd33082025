"""The containers a site offers: one source for form, API and panel."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from canfar_spawner.core.errors import Invalid, NotAllowed, listing, shown
from canfar_spawner.core.frozen import Frozen
from canfar_spawner.core.images import ImageRef
from canfar_spawner.core.kinds import KINDS, Entry, SessionKind

Word = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
VersionName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")]
Sentence = Annotated[str, Field(min_length=1, max_length=400)]


class Version(Frozen):
    """One version of a container; its name is the image's tag."""

    name: VersionName
    recommended: bool = False
    deprecated: bool = False
    successor: VersionName | None = None
    """What to use instead of a deprecated version."""


class LocalProgram(Frozen):
    """How a container runs on one machine, without images."""

    environment: Word | None = None
    """A local environment, built from ``images/<name>``."""
    command: tuple[str, ...] = ()
    """The program and its arguments; ``{port}`` or ``{socket}`` stand for where to listen."""
    needs: tuple[str, ...] = ()
    """Programs that the machine itself must have for it."""
    missing: str = ""
    """Why it cannot run here, where it cannot."""
    get: str = ""
    """The command that makes it available, where there is one."""


class Container(Frozen):
    """A catalogue entry: what a person chooses."""

    name: Word
    title: Annotated[str, Field(min_length=1, max_length=60)] = ""
    """By default its name."""
    description: Sentence
    icon: Word = ""
    """By default that of its first kind."""
    kinds: Annotated[tuple[SessionKind, ...], Field(min_length=1)]
    """The first is what a launch without a kind gets."""
    image: str
    """``project/name``, prefixed by the registry of the catalogue, or a whole reference."""
    versions: Annotated[tuple[Version, ...], Field(min_length=1)]
    recommended: bool = False
    """Shown first."""
    deprecated: bool = False
    successor: Word | None = None
    groups: tuple[str, ...] = ()
    """Only members of one of these may start it; empty means everyone."""
    aliases: tuple[str, ...] = ()
    """Foreign image names, without tag, that stand for this container."""
    entry: Entry = Entry.GATEWAY
    port: Annotated[int, Field(gt=0, lt=65536)] | None = None
    keeps_prefix: bool | None = None
    local: LocalProgram | None = None
    kubespawner_override: dict[str, Any] = Field(default_factory=dict)
    """Traits an administrator sets for this container on a cluster, applied last."""

    @model_validator(mode="before")
    @classmethod
    def _said_already(cls, data: Any) -> Any:
        """Fill in what follows from the rest; what is wrong with the rest is said later."""
        if not isinstance(data, dict):
            return data
        name, kinds = data.get("name"), data.get("kinds")
        filled: dict[str, Any] = {}
        if isinstance(name, str) and name:
            filled["title"] = f"{name[0].upper()}{name[1:].replace('-', ' ')}"
        for kind, spec in KINDS.items():
            if isinstance(kinds, (list, tuple)) and kinds and kinds[0] == kind:
                filled["icon"] = spec.icon
        return filled | data

    @field_validator("aliases")
    @classmethod
    def _aliases_are_names(cls, aliases: tuple[str, ...]) -> tuple[str, ...]:
        for alias in aliases:
            try:
                image = ImageRef.parse(alias)
            except Invalid as refusal:
                raise ValueError(refusal.sentence) from None
            if image.tag or image.digest:
                raise ValueError(f"{shown(alias)}: write an alias without tag and digest")
        return aliases

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [version.name for version in self.versions]
        if len(set(names)) != len(names):
            raise ValueError("two versions have the same name")
        for version in self.versions:
            if version.successor is not None and version.successor not in names:
                raise ValueError(f"the successor {version.successor} is not one of the versions")
        if sum(version.recommended for version in self.versions) > 1:
            raise ValueError("more than one version is recommended")
        if self.entry is Entry.DIRECT and any(
            KINDS[kind].entry is not Entry.DIRECT for kind in self.kinds
        ):
            raise ValueError("only notebooks and batch jobs can have the entry direct")
        return self

    @property
    def default_version(self) -> Version:
        """The recommended version, else the first that is not deprecated, else the first."""
        for version in self.versions:
            if version.recommended:
                return version
        for version in self.versions:
            if not version.deprecated:
                return version
        return self.versions[0]

    def version(self, name: str | None, *, field: str = "version") -> Version:
        """Find a version by name; None means the default.

        Parameters
        ----------
        name : str or None
        field : str
            The request field to name in a refusal.

        Raises
        ------
        Invalid
            The container has no such version.
        """
        if name is None:
            return self.default_version
        for version in self.versions:
            if version.name == name:
                return version
        names = [version.name for version in self.versions]
        raise Invalid(
            f"{self.title} has no version {shown(name)}; there is {listing(names)}.",
            field=field,
            allowed=names,
        )

    def entry_of(self, kind: SessionKind) -> Entry:
        """Say who answers at the address of a session of this container."""
        both = {KINDS[kind].entry, self.entry}
        return Entry.DIRECT if both == {Entry.DIRECT} else Entry.GATEWAY

    def permits(self, groups: frozenset[str]) -> bool:
        """Say whether a user of these groups may start it."""
        return not self.groups or not groups.isdisjoint(self.groups)


class Catalogue(Frozen):
    """All the containers, and where their images are."""

    registry: str
    """The registry that relative images are prefixed with."""
    containers: Annotated[tuple[Container, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        seen: dict[str, str] = {}
        for container in self.containers:
            for word in (container.name, *container.aliases):
                if word in seen:
                    raise ValueError(f"{word} stands for both {seen[word]} and {container.name}")
                seen[word] = container.name
        for container in self.containers:
            if container.successor is not None and container.successor not in seen:
                raise ValueError(f"the successor {container.successor} is not a container")
            self.image(container, container.default_version)
        return self

    def offered(self, groups: frozenset[str]) -> tuple[Container, ...]:
        """Give the containers a user of these groups may see, recommended ones first."""
        mine = [container for container in self.containers if container.permits(groups)]
        return tuple(sorted(mine, key=lambda container: not container.recommended))

    def find(self, name: str, groups: frozenset[str]) -> Container:
        """Find a container by name.

        A container that the user may not start does not exist for her: same refusal.

        Raises
        ------
        Invalid
            There is none of that name.
        """
        offered = self.offered(groups)
        for container in offered:
            if container.name == name:
                return container
        names = [container.name for container in offered]
        raise Invalid(
            f"There is no container {shown(name)}; there is {listing(names)}.",
            field="container",
            allowed=names,
        )

    def alias(
        self, image: ImageRef, groups: frozenset[str], kind: SessionKind | None = None
    ) -> tuple[Container, str | None] | None:
        """Find the container a foreign reference stands for, and the version its tag names.

        ``latest`` and a missing tag mean the recommended version. Of containers that have one image it
        is the first that the user may start, that runs as the kind and has the version, or failing
        that the first that does most of this. A reference with a digest stands for none.

        Parameters
        ----------
        image : ImageRef
        groups : frozenset of str
        kind : SessionKind, optional
            What it should run as.

        Raises
        ------
        NotAllowed
            It is the image only of containers that the user may not start.
        """
        version = None if image.tag in (None, "latest") else image.tag

        def named(container: Container) -> bool:
            own = self.image(container, container.default_version).name
            return image.name in (*container.aliases, str(own))

        def suits(container: Container) -> tuple[bool, bool, bool]:
            names = [each.name for each in container.versions]
            return (
                container.permits(groups),
                kind is None or kind in container.kinds,
                version is None or version in names,
            )

        found = max(filter(named, self.containers), key=suits, default=None)
        if found is None:
            return None
        if not found.permits(groups):
            raise NotAllowed(
                f"{shown(image.name)} is for members of {listing(found.groups)}.", field="image"
            )
        # What is pinned is none of the versions, but no way around the groups either.
        return None if image.digest else (found, version)

    def image(self, container: Container, version: Version) -> ImageRef:
        """Give the image of a version; raises ValueError where the entry names none."""
        first = container.image.partition("/")[0]
        whole = "." in first or ":" in first or first == "localhost"
        text = container.image if whole else f"{self.registry}/{container.image}"
        try:
            return ImageRef.parse(f"{text}:{version.name}")
        except Invalid as refusal:
            raise ValueError(f"{container.name}: {refusal.sentence}") from None
