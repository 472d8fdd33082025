"""What every place where sessions are shared says of it."""

from __future__ import annotations

from typing import Final

from canfar_spawner.portal.language import marked

SHARING_MEANS: Final = marked("Whoever enters works as you: your files, your projects, your name.")
"""Said before the first share and wherever sharing is set up."""
ONE_DOMAIN: Final = marked(
    "All sessions of this site have one web address. A session that was made to do harm could act"
    " for whoever opens it: open shared sessions of people you trust only."
)
"""The standing notice where sharing is allowed although users have no addresses of their own."""
