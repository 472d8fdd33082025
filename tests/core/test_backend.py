from __future__ import annotations

from decimal import Decimal

import pytest
from pydantic import SecretStr, ValidationError

from canfar_spawner.core.backend import BackendEvent, Capacity, Secrets, Use
from canfar_spawner.core.request import RegistryCredentials
from tests.core.strategies import SECRET
from tests.core.world import NOW


def test_secrets_do_not_show_themselves() -> None:
    secrets = Secrets(
        env=(("TOKEN", SecretStr(SECRET)),),
        credentials=RegistryCredentials(user=SECRET + "-user", secret=SecretStr(SECRET)),
    )
    for text in (repr(secrets), str(secrets), f"{secrets}", secrets.model_dump_json()):
        assert SECRET not in text
    assert "TOKEN" in repr(secrets)


def test_what_is_not_known_is_none_rather_than_zero() -> None:
    assert Use(cores=None, memory=None, at=NOW).cores is None
    with pytest.raises(ValidationError):
        Use.model_validate({"at": NOW})
    with pytest.raises(ValidationError):
        BackendEvent.model_validate({"warning": False, "reason": "x", "message": "y"})


def test_capacity_counts_no_gpus_unless_told() -> None:
    capacity = Capacity(cores=Decimal(4), cores_taken=Decimal(1), memory=8, memory_taken=2)
    assert (capacity.gpus, capacity.gpus_taken) == (0, 0)
