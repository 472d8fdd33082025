"""Identities from what an OpenID provider says of whoever has signed in.

The claims of each user are kept as they were last verified, without any token, in a directory of
the hub: pages and launches ask for an identity at any time, also after a restart of the hub.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Self

from pydantic import JsonValue, TypeAdapter, ValidationError

from canfar_spawner.core.errors import NotAllowed, SessionError, Unavailable, shown
from canfar_spawner.core.frozen import Frozen
from canfar_spawner.core.identity import PosixGroup, PosixId, PosixIdentity, PosixName
from canfar_spawner.core.policy import Project
from canfar_spawner.replacing import replace_file

_ID: Final = TypeAdapter[int](PosixId)
_NAME: Final = TypeAdapter[str](PosixName)
_NOBODY: Final = 65534
"""What the kernel shows where an id has no meaning; as a user it would own what is nobody's."""
_NOT_PEOPLE: Final = frozenset({"nobody", "root"})
_MOST_GROUPS: Final = 1024
_DOUBTED_FOR: Final = 15.0
"""Seconds for which launches are refused after the provider did not answer."""
_ASK: Final = "Ask the administrators of your account to put this right, then sign in again."

Gids = Callable[[], Mapping[str, int]]


class ClaimNames(Frozen):
    """Which claims of a provider mean what."""

    uid: str = "uid"
    gid: str = "gid"
    """The same as `uid` where every user has a group of her own with that number."""
    groups: str = "groups"
    """Empty where the provider knows nothing of groups."""


class Verified(Frozen):
    """What a provider has said of one user, and nothing that could be used to sign in."""

    name: PosixName
    issuer: str
    subject: str
    """The provider's own, unchanging word for the user."""
    claims: dict[str, JsonValue]
    """Of the claims that identities are made from those that were there, as they were."""


def is_name(value: object) -> bool:
    """Say whether a claim can be a user's name, exactly as it stands."""
    try:
        return _NAME.validate_python(value, strict=True) not in _NOT_PEOPLE
    except ValidationError:
        return False


def _refusal(claim: str, problem: str, value: object = None) -> NotAllowed:
    detail = "" if value is None else f"the claim {claim} is {shown(value)}"
    return NotAllowed(
        f"Your sign-in says who you are, but {problem} (claim {shown(claim)}). {_ASK}",
        detail=detail,
        code="wrong_claim" if detail else "missing_claim",
    )


def _id(claims: Mapping[str, object], claim: str, what: str) -> int:
    if claims.get(claim) is None:
        raise _refusal(claim, f"gives no {what}")
    return _checked(claims[claim], claim, what)


def _checked(value: object, claim: str, what: str) -> int:
    try:
        found = _ID.validate_python(value)
    except ValidationError:
        found = _NOBODY
    if found == _NOBODY:
        raise _refusal(
            claim, f"its {what} is not a number that a person or her group may have", value
        )
    return found


def _group(entry: object, claim: str, gids: Mapping[str, int]) -> PosixGroup | None:
    """Read one group; None where the site has no number for a name."""
    if isinstance(entry, str):
        return PosixGroup(name=entry, gid=gids[entry]) if entry in gids else None
    if not isinstance(entry, dict) or entry.keys() != {"name", "gid"}:
        raise _refusal(claim, "one of its groups is neither a name nor a name with a gid", entry)
    gid = _checked(entry["gid"], claim, "gid of a group")
    try:
        group = PosixGroup(name=entry["name"], gid=gid)
    except ValidationError:
        raise _refusal(claim, "one of its groups has no usable name", entry) from None
    if gids.get(group.name, gid) != gid or any(
        number == gid and name != group.name for name, number in gids.items()
    ):
        raise _refusal(claim, "one of its groups contradicts the groups of this site", entry)
    return group


def _groups(
    claims: Mapping[str, object], claim: str, gids: Mapping[str, int]
) -> tuple[PosixGroup, ...]:
    if not claim:
        return ()
    entries = claims.get(claim)
    if entries is None:
        raise _refusal(claim, "gives no list of groups, not even an empty one")
    if not isinstance(entries, list):
        raise _refusal(claim, "its groups are not a list", entries)
    found = {group for entry in entries if (group := _group(entry, claim, gids)) is not None}
    if len(found) > _MOST_GROUPS:
        raise _refusal(claim, f"it names more than {_MOST_GROUPS} groups", len(found))
    if len({group.name for group in found}) + len({group.gid for group in found}) != 2 * len(found):
        raise _refusal(claim, "two of its groups share a name or a gid", entries)
    return tuple(sorted(found, key=lambda group: group.gid))


def read_identity(
    name: str,
    claims: Mapping[str, object],
    *,
    names: ClaimNames,
    gids: Mapping[str, int],
    projects: tuple[Project, ...],
) -> PosixIdentity:
    """Make an identity of claims; nothing is ever filled in for what is missing or wrong.

    Parameters
    ----------
    name : str
        The name the hub has verified.
    claims : mapping
        What the provider has said.
    names : ClaimNames
    gids : mapping of str to int
        The site's own groups. A claim that contradicts them is refused, and one that names
        groups without numbers counts as far as they are listed here.
    projects : tuple of Project

    Raises
    ------
    NotAllowed
        A claim is missing or cannot be used.
    """
    if not is_name(name):
        raise _refusal("name", "its name cannot be a user's here", name)
    uid = _id(claims, names.uid, "uid")
    gid = _id(claims, names.gid, "gid")
    groups = _groups(claims, names.groups, gids)
    known = {number: group for group, number in gids.items()}
    known |= {group.gid: group.name for group in groups}
    if gid in known and names.gid == names.uid:
        raise _refusal(names.gid, "the group of her own has the gid of another group", gid)
    # Never named after the user: someone called like a project's group would be in it.
    primary = PosixGroup(name=known.get(gid, f"g{gid}"), gid=gid)
    if any(group.name == primary.name and group.gid != gid for group in groups) or (
        gids.get(primary.name, gid) != gid
    ):
        raise _refusal(names.gid, "its primary group contradicts the groups of this site", gid)
    mine = {primary.name, *(group.name for group in groups)}
    return PosixIdentity(
        name=name,
        uid=uid,
        group=primary,
        groups=groups,
        projects=tuple(sorted(project.name for project in projects if project.group in mine)),
    )


class Claims:
    """The identity source of the verified claims of those who have signed in.

    Parameters
    ----------
    directory : Path
        Where the claims are kept, a file for each user.
    issuer : str
        The provider whose claims count.
    names : ClaimNames
    gids : callable
        Gives the site's groups with their numbers.
    log : logging.Logger
    projects : callable
        Gives the site's projects; may be set later, as sign-in is configured before the policy.
    now : callable
        Gives seconds that only ever grow.
    """

    def __init__(
        self,
        directory: Path,
        *,
        issuer: str,
        names: ClaimNames,
        gids: Gids,
        log: logging.Logger,
        projects: Callable[[], tuple[Project, ...]] = tuple,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._issuer = issuer
        self._names = names
        self._gids = gids
        self.projects = projects
        self._log = log
        self._now = now
        self._doubts: dict[str, tuple[SessionError, float | None]] = {}
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        self._kept = dict(self._read())

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Stay the one source of the process: traitlets copies what a configuration holds."""
        return self

    def _path(self, name: str) -> Path:
        if not is_name(name):
            raise _refusal("name", "its name cannot be a user's here", name)
        return self._directory / f"{name}.json"

    def _read(self) -> list[tuple[str, Verified]]:
        found = []
        for path in sorted(self._directory.glob("*.json")):
            try:
                kept = Verified.model_validate_json(path.read_bytes())
            except (OSError, ValidationError) as error:
                self._log.error("%s cannot be used: %s", path, type(error).__name__)
                continue
            if path.name == f"{kept.name}.json":
                found.append((kept.name, kept))
        return found

    def keep(self, name: str, *, subject: str, claims: Mapping[str, Any]) -> None:
        """Keep what the provider has said; a name belongs to the first account that had it.

        Raises
        ------
        NotAllowed
            The name belongs to another account, or cannot be a user's.
        """
        path = self._path(name)
        before = self._kept.get(name)
        mine = before is not None and (before.issuer, before.subject) == (self._issuer, subject)
        # One that could not be read was somebody's.
        if not mine and (before is not None or path.exists()):
            raise NotAllowed(
                f"The name {name} belongs to another account of this platform. Ask its"
                " administrators to give it free.",
                detail=f"{name} signed in with another account than before",
                code="other_account",
            )
        wanted = {self._names.uid, self._names.gid, self._names.groups}
        kept = Verified(
            name=name,
            issuer=self._issuer,
            subject=subject,
            claims={claim: value for claim, value in claims.items() if claim in wanted},
        )
        if kept != before:
            self._write(path, kept)
            self._kept[name] = kept
        self._doubts.pop(name, None)

    def _write(self, path: Path, kept: Verified) -> None:
        replace_file(path, json.dumps(kept.model_dump(mode="json")))

    def forget(self, name: str) -> None:
        """Forget a user whom the hub has deleted; name and uid are free again."""
        with contextlib.suppress(NotAllowed):
            self._path(name).unlink(missing_ok=True)
        self._kept.pop(name, None)
        self._doubts.pop(name, None)

    def doubt_ended(self, name: str) -> None:
        """Refuse identities of a user whose sign-in the provider no longer honours."""
        refusal = NotAllowed(
            "Your sign-in is no longer valid, so your groups cannot be checked. Sign out, sign in"
            " again and launch.",
            code="sign_in_ended",
        )
        self._doubts[name] = refusal, None

    def doubt_unavailable(self, name: str) -> None:
        """Refuse identities of a user for a moment: the provider did not answer."""
        refusal = Unavailable(
            "The sign-in service does not answer, so your groups cannot be checked. Running"
            " sessions go on; try again in a minute.",
            code="sign_in_unavailable",
        )
        self._doubts[name] = refusal, self._now() + _DOUBTED_FOR

    def identity(self, name: str) -> PosixIdentity:
        """Look up a user; see `canfar_spawner.core.identity.IdentitySource`."""
        doubt, until = self._doubts.get(name, (None, None))
        if doubt is not None and (until is None or self._now() < until):
            raise doubt
        kept = self._kept.get(name)
        if kept is None:
            raise NotAllowed(
                f"Nothing is known of {shown(name)} yet. Sign in, then launch.",
                code="unknown_user",
            )
        if kept.issuer != self._issuer:
            raise NotAllowed(
                "Your account comes from another sign-in service than this platform uses now. Ask"
                " the administrators of the platform.",
                detail=f"{name} comes from {shown(kept.issuer, limit=200)}",
                code="other_issuer",
            )
        found = read_identity(
            name,
            kept.claims,
            names=self._names,
            gids=self._gids(),
            projects=self.projects(),
        )
        others = [
            other.name
            for other in self._kept.values()
            if other.name != name and other.claims.get(self._names.uid) == found.uid
        ]
        if others:
            raise NotAllowed(
                f"Your account has the same uid as another one (claim {shown(self._names.uid)})."
                f" {_ASK}",
                detail=f"{name} has the uid of {shown(others[0])}",
                code="duplicate_uid",
            )
        return found
