"""Who may talk to whom by the NetworkPolicies of a site: worked out, not tried.

The test cluster's network enforces no NetworkPolicy; whether yours does is for the site to try.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.manifests.applied import Manifest, documents

POLICIES = [each for each in documents("network.yaml") if each["kind"] == "NetworkPolicy"]


@dataclass(frozen=True)
class Peer:
    """A pod by its namespace and labels, or an address elsewhere."""

    namespace: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    address: str = ""


SESSION = Peer("canfar-sessions", {"hub.canfar.net/session": "k3vd81qa"})
OTHER = Peer("canfar-sessions", {"hub.canfar.net/session": "q3vd81qa"})
STRAY = Peer("canfar-sessions", {"app": "anything"})
HUB = Peer("canfar-hub", {"app.kubernetes.io/component": "hub"})
PROXY = Peer("canfar-hub", {"app.kubernetes.io/component": "proxy"})
MANAGER = Peer("canfar-hub", {"app.kubernetes.io/component": "sessions"})
DATABASE = Peer("canfar-hub", {"app.kubernetes.io/component": "database"})
FALSE_HUB = Peer("canfar-sessions", {"app.kubernetes.io/component": "hub"})
NAMES = Peer("kube-system", {"k8s-app": "kube-dns"})
SYSTEM = Peer("kube-system", {"k8s-app": "metrics-server"})
JOB = Peer("canfar-storage", {"hub.canfar.net/provision": "0"})
INTERNET = Peer(address="192.0.78.9")
INTERNET_6 = Peer(address="2606:4700::1")
VISITOR = Peer(address="203.0.113.7")
METADATA = Peer(address="169.254.169.254")
METADATA_6 = Peer(address="fd00:ec2::254")
API_SERVER = Peer(address="10.96.0.1")
NODE = Peer(address="192.168.7.4")
CARRIER = Peer(address="100.64.0.1")


def _matches(selector: Manifest, labels: dict[str, str]) -> bool:
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for rule in selector.get("matchExpressions", ()):
        found = labels.get(rule["key"])
        match rule["operator"]:
            case "Exists":
                fits = found is not None
            case "In":
                fits = found in rule["values"]
            case other:
                raise AssertionError(other)
        if not fits:
            return False
    return True


def _is_peer(entry: Manifest, peer: Peer, own: str) -> bool:
    block = entry.get("ipBlock")
    if block is not None:
        if not peer.address:
            return False
        address = ipaddress.ip_address(peer.address)
        inside = [ipaddress.ip_network(each) for each in block.get("except", ())]
        return address in ipaddress.ip_network(block["cidr"]) and not any(
            address in each for each in inside
        )
    if not peer.namespace:
        return False
    if "namespaceSelector" in entry:
        if not _matches(
            entry["namespaceSelector"], {"kubernetes.io/metadata.name": peer.namespace}
        ):
            return False
    elif peer.namespace != own:
        return False
    return _matches(entry.get("podSelector", {}), peer.labels)


def _allowed(subject: Peer, direction: str, other: Peer, port: int, protocol: str) -> bool:
    if not subject.namespace:
        return True
    mine = [
        policy
        for policy in POLICIES
        if policy["metadata"]["namespace"] == subject.namespace
        and direction in policy["spec"]["policyTypes"]
        and _matches(policy["spec"]["podSelector"], subject.labels)
    ]
    if not mine:
        return True
    side = {"Ingress": "from", "Egress": "to"}[direction]
    rules: list[Any] = [
        (policy, rule) for policy in mine for rule in policy["spec"].get(direction.lower(), ())
    ]
    return any(
        (side not in rule or any(_is_peer(each, other, subject.namespace) for each in rule[side]))
        and (
            "ports" not in rule
            or any((each["port"], each["protocol"]) == (port, protocol) for each in rule["ports"])
        )
        for _, rule in rules
    )


def connects(source: Peer, target: Peer, port: int, protocol: str = "TCP") -> bool:
    """Say whether the policies of both ends let a connection pass."""
    return _allowed(source, "Egress", target, port, protocol) and _allowed(
        target, "Ingress", source, port, protocol
    )


PASS: tuple[tuple[str, Peer, Peer, int, str], ...] = (
    ("hub to session", HUB, SESSION, 8888, "TCP"),
    ("proxy to session", PROXY, SESSION, 8888, "TCP"),
    ("session to hub", SESSION, HUB, 8081, "TCP"),
    ("session to names", SESSION, NAMES, 53, "UDP"),
    ("session to names, long", SESSION, NAMES, 53, "TCP"),
    ("session to the internet", SESSION, INTERNET, 443, "TCP"),
    ("session to the internet by IPv6", SESSION, INTERNET_6, 443, "TCP"),
    ("visitor to proxy", VISITOR, PROXY, 8000, "TCP"),
    ("hub to the proxy's API", HUB, PROXY, 8001, "TCP"),
    ("proxy to hub", PROXY, HUB, 8081, "TCP"),
    ("hub to database", HUB, DATABASE, 5432, "TCP"),
    ("hub to session manager", HUB, MANAGER, 10101, "TCP"),
    ("proxy to session manager", PROXY, MANAGER, 10101, "TCP"),
    ("session to session manager", SESSION, MANAGER, 10101, "TCP"),
    ("session manager to hub", MANAGER, HUB, 8081, "TCP"),
    ("session manager to database", MANAGER, DATABASE, 5432, "TCP"),
    ("session manager to API server", MANAGER, API_SERVER, 443, "TCP"),
    ("hub to API server", HUB, API_SERVER, 443, "TCP"),
)
STOP: tuple[tuple[str, Peer, Peer, int, str], ...] = (
    ("session to session", SESSION, OTHER, 8888, "TCP"),
    ("session to session's other port", SESSION, OTHER, 5901, "TCP"),
    ("hub to a session's other port", HUB, SESSION, 22, "TCP"),
    ("a pod that calls itself hub to session", FALSE_HUB, SESSION, 8888, "TCP"),
    ("visitor to session", VISITOR, SESSION, 8888, "TCP"),
    ("system to session", SYSTEM, SESSION, 8888, "TCP"),
    ("session to the proxy's API", SESSION, PROXY, 8001, "TCP"),
    ("session to database", SESSION, DATABASE, 5432, "TCP"),
    ("proxy to database", PROXY, DATABASE, 5432, "TCP"),
    ("visitor to session manager", VISITOR, MANAGER, 10101, "TCP"),
    ("stray pod to session manager", STRAY, MANAGER, 10101, "TCP"),
    ("session to session manager's other port", SESSION, MANAGER, 22, "TCP"),
    ("session manager to session", MANAGER, SESSION, 8888, "TCP"),
    ("session manager to the proxy's API", MANAGER, PROXY, 8001, "TCP"),
    ("visitor to hub", VISITOR, HUB, 8081, "TCP"),
    ("visitor to the proxy's API", VISITOR, PROXY, 8001, "TCP"),
    ("session to metadata", SESSION, METADATA, 80, "TCP"),
    ("session to metadata by IPv6", SESSION, METADATA_6, 80, "TCP"),
    ("session to API server", SESSION, API_SERVER, 443, "TCP"),
    ("session to node", SESSION, NODE, 10250, "TCP"),
    ("session to carrier", SESSION, CARRIER, 443, "TCP"),
    ("session to the system", SESSION, SYSTEM, 443, "TCP"),
    ("session to names' other port", SESSION, NAMES, 9153, "TCP"),
    *(
        (f"{name} to an application's port {port}", peer, SESSION, port, "TCP")
        for name, peer in (("hub", HUB), ("proxy", PROXY), ("session", OTHER))
        for port in (3002, 5000, 5901, 6080, 8080, 8889)
    ),
    ("stray pod to the internet", STRAY, INTERNET, 443, "TCP"),
    ("stray pod to hub", STRAY, HUB, 8081, "TCP"),
    ("job to the internet", JOB, INTERNET, 443, "TCP"),
    ("job to hub", JOB, HUB, 8081, "TCP"),
    ("session to job", SESSION, JOB, 80, "TCP"),
)


@pytest.mark.parametrize("case", PASS, ids=lambda case: str(case[0]))
def test_may(case: tuple[str, Peer, Peer, int, str]) -> None:
    assert connects(*case[1:])


@pytest.mark.parametrize("case", STOP, ids=lambda case: str(case[0]))
def test_may_not(case: tuple[str, Peer, Peer, int, str]) -> None:
    assert not connects(*case[1:])
