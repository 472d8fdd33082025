"""Pods and what happened to them as a list and its events tell: pure, in any order, any number of times.

Versions are numbers that only grow, for all objects of a kind together: Kubernetes promises so for
its own kinds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from canfar_spawner.kubernetes.answers import ApiError, api_error

Object = dict[str, Any]

_KEPT: Final = 20
"""Events of each pod; Kubernetes counts repetitions in one."""
_STRAYS: Final = 256
"""Pods whose events came before they did, or which are not ours."""


def version_of(thing: Mapping[str, Any]) -> int:
    """Give the version of an object or a list."""
    return int(thing["metadata"]["resourceVersion"])


class Position:
    """How far a stream has been read."""

    def __init__(self) -> None:
        self.version = 0
        self.doubted = False
        """It went back or repeated itself, so that something may have been left out."""

    def listed(self, version: int) -> None:
        """Begin anew after a list."""
        self.version, self.doubted = version, False

    def read(self, event: Mapping[str, Any]) -> tuple[str, Object] | None:
        """Note an event; gives its type and object, or None where it is a bookmark.

        Raises
        ------
        ApiError
            It says that the stream has failed.
        ValueError, TypeError, KeyError
            It is none.
        """
        kind, content = event["type"], event["object"]
        if kind == "ERROR":
            raise api_error(int(content.get("code") or 0), content)
        version = version_of(content)
        if kind == "BOOKMARK":
            self.version = max(self.version, version)
            return None
        if kind not in ("ADDED", "MODIFIED", "DELETED"):
            raise ApiError(0, "UnknownEvent")
        if version <= self.version:
            self.doubted = True
        self.version = max(self.version, version)
        return kind, content


class Pods:
    """Pods by name."""

    def __init__(self) -> None:
        self.position = Position()
        self._pods: dict[str, Object] = {}
        self._versions: dict[str, int] = {}
        """Of the last that was heard of each name, also when it was its end."""
        self._listed = 0
        self._departed: dict[str, Object] = {}

    def get(self, name: str) -> Object | None:
        """Give a pod."""
        return self._pods.get(name)

    def all(self) -> tuple[Object, ...]:
        """Give every pod."""
        return tuple(self._pods.values())

    def departed(self, name: str) -> Object | None:
        """Give, once, the last that was heard of a pod that is gone."""
        return self._departed.pop(name, None)

    def replace(self, pods: Iterable[Object], version: int) -> set[str]:
        """Take a list for the truth; gives the names of what is different.

        Parameters
        ----------
        pods : iterable of dict
        version : int
            Of the list.
        """
        new = {pod["metadata"]["name"]: pod for pod in pods}
        versions = {name: version_of(pod) for name, pod in new.items()}
        changed = {
            name
            for name in self._pods.keys() | new.keys()
            if name not in new
            or name not in self._pods
            or version_of(self._pods[name]) != versions[name]
        }
        self._departed |= {name: pod for name, pod in self._pods.items() if name not in new}
        self._pods, self._versions, self._listed = new, versions, version
        self.position.listed(version)
        return changed

    def apply(self, event: Mapping[str, Any]) -> set[str]:
        """Take in an event; gives the name of what is different, if anything is.

        Parameters
        ----------
        event : mapping
        """
        read = self.position.read(event)
        if read is None:
            return set()
        kind, pod = read
        name, version = pod["metadata"]["name"], version_of(pod)
        known = max(self._listed, self._versions.get(name, 0))
        if kind == "DELETED":
            if version < known:
                return set()
            self._versions[name] = version
            if self._pods.pop(name, None) is None:
                return set()
            self._departed[name] = pod
            return {name}
        if version <= known:
            return set()
        self._versions[name] = version
        self._pods[name] = pod
        return {name}


class Happenings:
    """The last events of each pod, by the pod's uid; of others almost nothing is kept."""

    def __init__(self) -> None:
        self.position = Position()
        self._of: dict[str, dict[str, Object]] = {}
        self._strays: OrderedDict[str, dict[str, Object]] = OrderedDict()

    def of(self, uid: str) -> tuple[Object, ...]:
        """Give the events of a pod, the last heard of last."""
        return tuple(sorted(self._of.get(uid, {}).values(), key=version_of))

    def follow(self, uid: str) -> None:
        """Keep the events of this pod from now on."""
        if uid not in self._of:
            self._of[uid] = self._strays.pop(uid, {})

    def forget(self, uid: str) -> None:
        """Keep them no longer."""
        self._of.pop(uid, None)

    def begin(self) -> Happenings:
        """Give a new one to fill from a list, page by page, for the same pods."""
        new = Happenings()
        new._of = {uid: {} for uid in self._of}
        return new

    def add(self, events: Iterable[Object]) -> None:
        """Take in a page of a list."""
        for event in events:
            self._put(event)

    def replace(self, new: Happenings, version: int) -> set[str]:
        """Take what a list has filled for the truth; gives the pods with other events than before.

        Parameters
        ----------
        new : Happenings
        version : int
            Of the list.
        """
        # Pods may have come and gone while the list was read.
        old, self._of = self._of, {uid: new._found(uid) for uid in self._of}
        self._strays = new._strays
        self.position.listed(version)
        return {uid for uid, events in self._of.items() if events != old[uid]}

    def _found(self, uid: str) -> dict[str, Object]:
        return self._of.get(uid) or self._strays.pop(uid, {})

    def apply(self, event: Mapping[str, Any]) -> str:
        """Take in an event; gives the uid of the pod it is about, if that is followed."""
        read = self.position.read(event)
        if read is None:
            return ""
        kind, content = read
        if kind != "DELETED":
            return self._put(content)
        uid, name = content["involvedObject"].get("uid", ""), content["metadata"]["name"]
        for where in (self._of, self._strays):
            if uid in where:
                where[uid].pop(name, None)
        return uid if uid in self._of else ""

    def _put(self, event: Object) -> str:
        uid, name = event["involvedObject"].get("uid", ""), event["metadata"]["name"]
        followed = uid in self._of
        kept = self._of[uid] if followed else self._strays.setdefault(uid, {})
        if name not in kept or version_of(kept[name]) < version_of(event):
            kept[name] = event
        if len(kept) > _KEPT:
            del kept[min(kept, key=lambda each: version_of(kept[each]))]
        if not followed:
            self._strays.move_to_end(uid)
            if len(self._strays) > _STRAYS:
                self._strays.popitem(last=False)
        return uid if followed else ""
