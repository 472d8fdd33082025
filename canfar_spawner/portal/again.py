"""The choice of an earlier session in the words of a request, to be launched once more."""

from __future__ import annotations

from urllib.parse import urlencode

from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.resources import GIB, Allocation, ResourcePlan, number
from canfar_spawner.core.storage import Area
from canfar_spawner.portal.address import hub_page

Words = tuple[tuple[str, str], ...]
"""Fields of the launch form and their values; a field may come more than once."""


def _what(plan: SessionPlan, name: str) -> list[tuple[str, str]]:
    words = [("name", name)]
    if plan.container:
        words += [("container", plan.container), ("version", plan.version)]
    else:
        words.append(("image", str(plan.image)))
    return [*words, ("kind", plan.kind.value)]


def _where(plan: SessionPlan) -> list[tuple[str, str]]:
    # The empty one says that no others are wanted.
    return [
        ("projects", ""),
        *(("projects", each.name) for each in plan.storage.find(Area.PROJECT)),
    ]


def _part(resources: ResourcePlan) -> tuple[str, str]:
    """Give the one size that was chosen where the other was left to the platform."""
    if resources.cores_request == resources.cores_limit:
        return "cores", number(resources.cores_limit)
    return "memory", str(resources.memory_limit // GIB)


def again(plan: SessionPlan, *, name: str = "", sizes: tuple[str, str] | None = None) -> Words:
    """Give what has to be posted for a session like an earlier one.

    Parameters
    ----------
    plan : SessionPlan
    name : str, optional
        What it is called now.
    sizes : tuple of str, optional
        Other cores and GB of memory; then it is fixed.
    """
    resources = plan.resources
    words = _what(plan, name or plan.name)
    if sizes is None and resources.allocation is Allocation.FIXED:
        sizes = number(resources.cores_limit), str(resources.memory_limit // GIB)
    if sizes is not None:
        words += [("mode", "fixed"), ("cores", sizes[0]), ("memory", sizes[1])]
    elif resources.allocation is Allocation.PARTLY_FIXED:
        words.append(_part(resources))
    if resources.gpus:
        words.append(("gpus", str(resources.gpus)))
    if plan.open:
        words.append(("open", plan.open))
    return (*words, *_where(plan))


def lineage(plan: SessionPlan) -> Words:
    """Give the fields by which a session takes the place of this one: links lead on to it."""
    return tuple(("continues", each) for each in (plan.session, *plan.continues))


def again_url(plan: SessionPlan, *, name: str = "") -> str:
    """Give the launch form's address with the choice of an earlier session filled in."""
    words = [(f"opt-{field}", value) for field, value in again(plan, name=name)]
    if plan.env_names:
        # Their values are kept nowhere; the form says which are to be filled in.
        words.append(("opt-env", "\n".join(f"{each}=" for each in plan.env_names)))
    return hub_page(f"spawn?{urlencode(words)}")
