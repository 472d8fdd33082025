from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.manager.parts import Parts


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    """Give the parts of a manager whose database is new."""
    found = Parts(tmp_path)
    await found.open()
    yield found
    await found.close()
