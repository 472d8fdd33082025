"""What the templates ask for: the site, a user's home, the progress of a start."""

from __future__ import annotations

from typing import Any, Self

from jupyterhub.app import JupyterHub

from canfar_spawner.hub.mixin import SessionSpawnerMixin
from canfar_spawner.hub.platform import Platform
from canfar_spawner.portal.asking import asked
from canfar_spawner.portal.branding import site
from canfar_spawner.portal.client import ClientView, client_view
from canfar_spawner.portal.home import continued, home
from canfar_spawner.portal.language import say
from canfar_spawner.portal.opening import opening
from canfar_spawner.portal.progress import progress
from canfar_spawner.portal.sharing import ONE_DOMAIN, SHARING_MEANS
from canfar_spawner.portal.views import (
    Continued,
    HomeView,
    OpenView,
    ProgressView,
    Site,
    Visit,
    WidgetsView,
)
from canfar_spawner.portal.visits import visit
from canfar_spawner.portal.widgets import widgets


def _one_domain() -> bool:
    """Say whether all users of this hub have the same origin."""
    return JupyterHub.initialized() and not JupyterHub.instance().subdomain_host


class Pages:
    """The one value that templates get from this platform, as ``canfar``."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Stay one: traitlets copies what a configuration holds."""
        return self

    @property
    def site(self) -> Site:
        """What every page shows of the site."""
        policy = self._platform.policy
        warned = policy.sharing.allow_on_one_domain and policy.sharing.allowed and _one_domain()
        notices = (*self._platform.notices, *((say(ONE_DOMAIN),) if warned else ()))
        return site(policy.branding, notices, now=self._platform.clock())

    def visit(self, oauth_client: Any) -> Visit | None:
        """Say whose session asks who somebody is; None where it is no session that asks."""
        return visit(oauth_client)

    @property
    def sharing_means(self) -> str:
        """What is said wherever a session is shared."""
        return say(SHARING_MEANS)

    @property
    def client(self) -> ClientView:
        """What the page of tokens says of the public client."""
        return client_view(self._platform.policy)

    def home(self, user: Any) -> HomeView:
        """Show a user's sessions and what she can launch."""
        return home(self._platform, user)

    def widgets(self, user: Any) -> WidgetsView:
        """Show what stands beside the sessions."""
        return widgets(self._platform, user)

    def opening(self, user: Any) -> OpenView | None:
        """Show what can be done with the file that the page was asked for; None: with none."""
        return opening(self._platform, user, asked("open"))

    def continued(self, user: Any, address: str) -> Continued | None:
        """Say what took the place of a session whose link leads nowhere now."""
        return continued(self._platform, user, address)

    def progress(self, user: Any, spawner: SessionSpawnerMixin) -> ProgressView | None:
        """Show how far a start has come, or why it failed; None where there is nothing to show."""
        return progress(self._platform, user, spawner)

    def failed(self, user: Any, session: str) -> ProgressView | None:
        """Show why a session did not start, long after it did not; None where it is forgotten."""
        spawner = user.spawners.get(session)
        view = self.progress(user, spawner) if spawner is not None else None
        return view if view is not None and view.failed else None
