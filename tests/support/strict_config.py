"""The hub for a cluster that ends itself after three failures in a row that it counts as its own."""

from pathlib import Path

c = get_config()  # noqa: F821 - JupyterHub's

load_subconfig(str(Path(__file__).resolve().parents[2] / "hub_config" / "kubernetes.py"))  # noqa: F821 - likewise
c.Spawner.consecutive_failure_limit = 3
