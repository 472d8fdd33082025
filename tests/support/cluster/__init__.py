"""A real Kubernetes on this machine, in namespaces of its own.

``python3 -m tests.support.cluster up`` starts it, ``Cluster.load()`` gives it to tests.
"""

from tests.support.cluster.cluster import NODE, Addresses, Cluster
from tests.support.cluster.programs import ClusterError

__all__ = ["NODE", "Addresses", "Cluster", "ClusterError"]
