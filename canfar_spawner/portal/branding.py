"""How a site introduces itself on every page, the hub's and the session manager's."""

from __future__ import annotations

from datetime import UTC, datetime

from canfar_spawner.core.policy import Branding, Maintenance
from canfar_spawner.portal.views import Link, MaintenanceNotice, Site


def _maintenance(planned: Maintenance | None, now: datetime) -> MaintenanceNotice | None:
    if planned is None or planned.ends <= now:
        return None
    begins, ends = (at.astimezone(UTC) for at in (planned.begins, planned.ends))
    return MaintenanceNotice(
        begins=f"{begins:%Y-%m-%dT%H:%M:%SZ}",
        ends=f"{ends:%Y-%m-%dT%H:%M:%SZ}",
        text=planned.text,
        now=begins <= now,
    )


def site(branding: Branding, notices: tuple[str, ...] = (), *, now: datetime) -> Site:
    """Give what every page shows of a site.

    Parameters
    ----------
    branding : Branding
    notices : tuple of str, optional
        Standing warnings of the platform itself.
    now : datetime.datetime
        In UTC.
    """
    return Site(
        name=branding.name,
        logo_url=branding.logo,
        links=tuple(Link(label=link.label, href=link.href) for link in branding.links),
        announcement=branding.announcement,
        notices=notices,
        maintenance=_maintenance(branding.maintenance, now),
    )
