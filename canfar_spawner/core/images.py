"""Image references, parsed into parts and compared part by part.

The grammar is that of the distribution project (``reference/reference.go``), narrowed: the
registry is always written out, since a reference without one means different things to
different tools.
"""

from __future__ import annotations

import re
from typing import Self

from typing_extensions import override

from canfar_spawner.core.errors import Invalid, NotAllowed, listing, shown
from canfar_spawner.core.frozen import Frozen

_REGISTRY = re.compile(
    r"(?P<host>[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*)"
    r"(?::(?P<port>[0-9]{1,5}))?"
)
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LONGEST = 255

_SHAPE = "Write it as registry/project/name:tag, for example images.canfar.net/skaha/astroml:26.11."


class ImageRef(Frozen):
    """One image: where it is kept, what it is called, which version."""

    registry: str
    project: str
    repository: str
    """What follows the project; may have slashes."""
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str, *, field: str = "image") -> Self:
        """Read a reference.

        Parameters
        ----------
        text : str
            ``registry/project/name[:tag][@sha256:…]``.
        field : str
            The request field to name in a refusal.

        Raises
        ------
        Invalid
            The text is not such a reference.

        Examples
        --------
        >>> ImageRef.parse("images.canfar.net/skaha/astroml:26.11").project
        'skaha'
        """

        def refuse(why: str) -> Invalid:
            return Invalid(f"{shown(text)} is not an image reference: {why}. {_SHAPE}", field=field)

        if len(text) > _LONGEST + 129 + 72:
            raise refuse(f"it has {len(text)} characters")
        rest, at, digest = text.partition("@")
        if at and not _DIGEST.fullmatch(digest):
            raise refuse("what follows @ must be sha256: and 64 hexadecimal digits")
        registry, slash, path = rest.partition("/")
        if not slash:
            raise refuse("the registry and the project are missing")
        host = _REGISTRY.fullmatch(registry)
        if not host or not ("." in registry or host["port"] or registry == "localhost"):
            raise refuse("it does not start with a registry's host name")
        if host["port"] and not 0 < int(host["port"]) < 65536:
            raise refuse("the registry's port is out of range")
        path, colon, tag = path.partition(":")
        if colon and not _TAG.fullmatch(tag):
            raise refuse("the tag has characters that tags cannot have")
        components = path.split("/")
        if len(components) < 2:
            raise refuse("the project is missing")
        if not all(_COMPONENT.fullmatch(component) for component in components):
            raise refuse("project and name take lower-case letters, digits and single . _ -")
        if len(registry) + 1 + len(path) > _LONGEST:
            raise refuse(f"the name is longer than {_LONGEST} characters")
        return cls(
            registry=registry,
            project=components[0],
            repository="/".join(components[1:]),
            tag=tag if colon else None,
            digest=digest if at else None,
        )

    @property
    def name(self) -> str:
        """The reference without tag and digest."""
        return f"{self.registry}/{self.project}/{self.repository}"

    @override
    def __str__(self) -> str:
        """Write the reference back, exactly as it would be pulled."""
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"


class ImageSource(Frozen):
    """A registry, or one project of it, that users may name images from."""

    registry: str
    project: str | None = None
    """None permits every project of the registry."""

    @override
    def __str__(self) -> str:
        """Write it as the catalogue does."""
        return self.registry if self.project is None else f"{self.registry}/{self.project}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``registry`` or ``registry/project``; raises ValueError otherwise."""
        registry, slash, project = text.partition("/")
        try:
            ImageRef.parse(f"{registry}/any/any")
        except Invalid:
            registry = ""
        if not registry or (slash and not _COMPONENT.fullmatch(project)):
            raise ValueError(f"{shown(text)} is neither registry nor registry/project")
        return cls(registry=registry, project=project if slash else None)


class ImagePolicy(Frozen):
    """Which images users may name themselves; none unless the site lists sources."""

    sources: tuple[ImageSource, ...] = ()

    def check(self, image: ImageRef) -> None:
        """Refuse an image from elsewhere.

        Raises
        ------
        NotAllowed
            No source has this registry and project.
        """
        for source in self.sources:
            if source.registry == image.registry and source.project in (None, image.project):
                return
        if not self.sources:
            raise NotAllowed(
                "This site does not start images by reference; choose one of its containers.",
                field="image",
                code="image_not_allowed",
            )
        raise NotAllowed(
            f"Images from {shown(f'{image.registry}/{image.project}')} are not started here;"
            f" allowed are images of {listing(self.sources)}.",
            field="image",
            allowed=self.sources,
            code="image_not_allowed",
        )
