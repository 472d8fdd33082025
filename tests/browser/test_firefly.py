"""Firefly from the launch form to its page, where a stand-in answers: the server is in no registry."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml
from playwright.sync_api import Page, expect

from tests.browser.conftest import sign_in
from tests.support.hub import ROOT, Hub, running_hub
from tests.system.test_firefly import SITE

pytestmark = [pytest.mark.browser, pytest.mark.environment("proxy")]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub whose one container is Firefly."""
    base = tmp_path_factory.mktemp("firefly")
    base.chmod(0o755)
    policy = yaml.safe_load((ROOT / "hub_config" / "catalogue.yaml").read_text())
    catalogue = base / "catalogue.yaml"
    catalogue.write_text(yaml.safe_dump({**policy, **SITE}))
    environ = {"CANFAR_HUB_CATALOGUE": str(catalogue)}
    with running_hub(base / "data", environ=environ) as found:
        yield found


def test_it_is_launched_and_opens_with_its_page(hub: Hub, page: Page) -> None:
    sign_in(page, hub, "ada")
    page.goto(f"{hub.public}/hub/spawn")
    page.locator("#container-firefly").check(force=True)
    page.get_by_role("button", name="Launch", exact=True).click()
    page.wait_for_url("**/user/ada/*/firefly/**")
    expect(page).to_have_title("Firefly, a stand-in")
    (session,) = hub.launches()
    page.goto(f"{hub.public}/hub/home")
    expect(page.locator(f"#session-{session}")).to_contain_text("Running")
