"""Whatever becomes of the order of events, what is kept is what the last of them say."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canfar_spawner.kubernetes.answers import ApiError
from canfar_spawner.kubernetes.client import Gone
from canfar_spawner.kubernetes.mirror import Happenings, Pods

Object = dict[str, Any]
NAMES = st.sampled_from(["ada", "ben", "cleo"])
HISTORIES = st.lists(st.tuples(NAMES, st.sampled_from(["change", "delete"])), max_size=30)


def a_pod(name: str, version: int, uid: str) -> Object:
    return {"metadata": {"name": name, "uid": uid, "resourceVersion": str(version)}}


def history(steps: list[tuple[str, str]]) -> tuple[list[Object], list[dict[str, Object]]]:
    """Give the events of a history and what a list would tell before each and after the last."""
    events: list[Object] = []
    states: list[dict[str, Object]] = [{}]
    for version, (name, what) in enumerate(steps, start=10):
        state = dict(states[-1])
        if what == "delete":
            if name in state:
                gone = a_pod(name, version, state.pop(name)["metadata"]["uid"])
                events.append({"type": "DELETED", "object": gone})
            else:
                events.append(bookmark(version))
        else:
            kind = "MODIFIED" if name in state else "ADDED"
            uid = state[name]["metadata"]["uid"] if name in state else f"{name}-{version}"
            state[name] = a_pod(name, version, uid)
            events.append({"type": kind, "object": state[name]})
        states.append(state)
    return events, states


def bookmark(version: int) -> Object:
    return {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(version)}}}


def told(pods: Pods) -> dict[str, Object]:
    return {pod["metadata"]["name"]: pod for pod in pods.all()}


@given(HISTORIES, st.data())
def test_events_in_any_order_and_twice_end_in_the_truth(
    steps: list[tuple[str, str]], data: st.DataObject
) -> None:
    events, states = history(steps)
    again = data.draw(st.lists(st.sampled_from(events), max_size=10)) if events else []
    pods = Pods()
    for event in data.draw(st.permutations(events + again)):
        pods.apply(event)
    assert told(pods) == states[-1]


@given(HISTORIES, st.data())
def test_a_list_in_between_is_not_undone_by_what_it_knew(
    steps: list[tuple[str, str]], data: st.DataObject
) -> None:
    events, states = history(steps)
    at = data.draw(st.integers(0, len(events)))
    before = data.draw(st.lists(st.sampled_from(events), max_size=10)) if events else []
    pods = Pods()
    for event in before:
        pods.apply(event)
    pods.replace(states[at].values(), 9 + at)
    assert told(pods) == states[at]
    for event in data.draw(st.permutations(events)):
        pods.apply(event)
    assert told(pods) == states[-1]


@given(HISTORIES)
def test_a_stream_in_order_is_not_doubted(steps: list[tuple[str, str]]) -> None:
    events, states = history(steps)
    pods = Pods()
    for number, event in enumerate(events, start=1):
        changed = pods.apply(event)
        assert told(pods) == states[number]
        assert changed == ({event["object"]["metadata"]["name"]} if "uid" in str(event) else set())
    assert not pods.position.doubted
    assert pods.position.version == 9 + len(events) or not events


def test_a_stream_that_goes_back_or_repeats_itself_is_doubted_until_a_list() -> None:
    for second in (11, 12):
        pods = Pods()
        pods.apply({"type": "ADDED", "object": a_pod("ada", 12, "a")})
        pods.apply({"type": "ADDED", "object": a_pod("ben", second, "b")})
        assert pods.position.doubted
        pods.replace([], 20)
        assert not pods.position.doubted


def test_a_list_takes_back_what_a_store_restored_from_yesterday_has_forgotten() -> None:
    pods = Pods()
    pods.replace([a_pod("ada", 500, "a")], 500)
    assert pods.replace([a_pod("ben", 100, "b")], 100) == {"ada", "ben"}
    assert pods.apply({"type": "ADDED", "object": a_pod("cleo", 101, "c")}) == {"cleo"}
    assert set(told(pods)) == {"ben", "cleo"}


def test_events_that_are_none_say_so_and_change_nothing() -> None:
    pods = Pods()
    pods.apply({"type": "ADDED", "object": a_pod("ada", 12, "a")})
    gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
    with pytest.raises(Gone):
        pods.apply({"type": "ERROR", "object": gone})
    with pytest.raises(ApiError):
        pods.apply({"type": "PARTY", "object": a_pod("ben", 13, "b")})
    for event in ({}, {"type": "ADDED"}, {"type": "ADDED", "object": {"metadata": {}}}):
        with pytest.raises((KeyError, ValueError, TypeError)):
            pods.apply(event)
    assert set(told(pods)) == {"ada"}


def an_event(uid: str, name: str, version: int) -> Object:
    return {
        "metadata": {"name": name, "resourceVersion": str(version)},
        "involvedObject": {"kind": "Pod", "uid": uid},
    }


@given(st.lists(st.integers(0, 40), max_size=120), st.randoms(use_true_random=False))
def test_the_last_events_of_a_pod_are_kept_in_any_order(
    names: list[int], chance: random.Random
) -> None:
    events = [an_event("a", str(name), at) for at, name in enumerate(names, start=1)]
    last = {event["metadata"]["name"]: event for event in events}
    expected = sorted(last.values(), key=lambda event: int(event["metadata"]["resourceVersion"]))
    chance.shuffle(events)
    happenings = Happenings()
    happenings.follow("a")
    for event in events:
        happenings.apply({"type": "ADDED", "object": event})
    assert list(happenings.of("a")) == expected[-20:]


def test_of_pods_of_others_almost_nothing_is_kept() -> None:
    happenings = Happenings()
    for number in range(5000):
        happenings.apply({"type": "ADDED", "object": an_event(f"other-{number}", "x", number + 1)})
    assert happenings.of("other-4999") == ()
    assert len(happenings._strays) == 256
    happenings.follow("other-4999")
    assert len(happenings.of("other-4999")) == 1
    happenings.forget("other-4999")
    assert happenings.of("other-4999") == ()


def test_a_list_of_events_is_for_the_pods_that_are_there_when_it_ends() -> None:
    happenings = Happenings()
    happenings.follow("a")
    happenings.follow("b")
    happenings.apply({"type": "ADDED", "object": an_event("b", "old", 1)})
    filling = happenings.begin()
    filling.add([an_event("a", "x", 2), an_event("c", "y", 3), an_event("d", "z", 4)])
    happenings.forget("b")
    happenings.follow("c")
    assert happenings.replace(filling, 5) == {"a", "c"}
    assert [len(happenings.of(uid)) for uid in "abcd"] == [1, 0, 1, 0]
    assert happenings.apply({"type": "DELETED", "object": an_event("a", "x", 6)}) == "a"
    assert happenings.of("a") == ()
