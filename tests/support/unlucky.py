"""A site of the test cluster on which sessions go wrong in every way that a site knows."""

from __future__ import annotations

from typing import Any

from tests.support.cluster import site
from tests.support.hub import ROOT

CONFIG = ROOT / "tests" / "support" / "strict_config.py"
PLACEMENT = {
    "node_selector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "example.org/sessions", "operator": "Exists", "effect": "NoSchedule"}],
    "priority_class": "canfar-interactive",
}
GPU_PLACEMENT = {
    "tolerations": [{"key": "example.org/gpu", "operator": "Exists", "effect": "NoSchedule"}],
}
# KubeSpawner would take braces in a program for something to fill in.
GLUTTON = """
import sys
sys.path.insert(0, "/opt/probe")
import http.server, probe

class Glutton(probe.Probe):
    def do_GET(self):
        if self.path.endswith("/eat"):
            hoard = []
            while True:
                hoard.append(b"x" * 2**24)
        super().do_GET()

http.server.ThreadingHTTPServer(("0.0.0.0", 8888), Glutton).serve_forever()
"""
"""Answers, and takes all memory there is when it is asked to."""


def _entry(name: str, cmd: list[str]) -> dict[str, Any]:
    return {
        "name": name,
        "title": name.capitalize(),
        "description": "A program that comes to grief, for tests.",
        "icon": "notebook",
        "kinds": ["notebook"],
        "image": "canfar-hub/probe",
        "versions": [{"name": "1", "recommended": True}],
        "entry": "direct",
        "kubespawner_override": {"cmd": cmd},
    }


def sections() -> dict[str, Any]:
    """Give the sections of the tests' catalogue that are different on this site."""
    content = site.catalogue()
    content["catalogue"]["containers"] += [
        _entry("glutton", ["python3", "-c", GLUTTON]),
        _entry("absent", ["/no/such/program"]),
    ]
    return {
        "catalogue": content["catalogue"],
        "storage": {**content["storage"], "scratch_gb": 1},
        "pods": {
            "unschedulable_seconds": 8,
            # A program or volume that is not there is given up after so long.
            "image_seconds": 15,
            "gpu_resource": "example.org/gpu",
            "placement": PLACEMENT,
            "gpus": GPU_PLACEMENT,
        },
    }
