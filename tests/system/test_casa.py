"""The container casa: radio interferometry in a session."""

from __future__ import annotations

import pytest

from tests.support.hub import Visitor
from tests.support.lab import launch_lab

pytestmark = pytest.mark.environment("casa")

CODE = """
import os
os.chdir(os.environ["CANFAR_SCRATCH"])
from casatools import image, measures, quanta
found = measures().epoch("utc", quanta().quantity("2026-01-01"))
picture = image()
picture.fromshape("model.im", [16, 16, 1, 4])
print(found["refer"], picture.shape().tolist())
picture.close()
import casatasks
print(hasattr(casatasks, "tclean"))
"""


def test_casa_runs_in_a_session(ada: Visitor) -> None:
    lab = launch_lab(ada, "casasess", container="casa", mode="fixed", cores=1, memory=4)
    printed = lab.run(CODE).splitlines()
    assert "UTC [16, 16, 1, 4]" in printed
    assert "True" in printed, "the tasks are there too"
    ada.stop("casasess")
