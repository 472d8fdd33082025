"""``python -I -m canfar_spawner.gateway``."""

from __future__ import annotations

import sys

from canfar_spawner.gateway.app import main

if __name__ == "__main__":
    sys.exit(main())
