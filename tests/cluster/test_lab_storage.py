"""The storage section of JupyterLab's panel in a pod, on what a cluster mounts there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.test_lab_storage import (
    SESSION,
    home,
    panel,
    tab,
    test_a_hundred_thousand_files_are_looked_at_as_easily_as_ten,
    test_an_upload_goes_on_after_the_page_was_loaded_again,
    test_everybody_can_use_it_in_either_theme_and_where_there_is_little_room,
    test_files_are_copied_and_moved_to_another_area,
    test_files_are_uploaded_and_downloaded_whole,
    test_folders_show_what_is_in_them_and_what_is_kept,
    test_images_lead_to_carta_by_the_hub_and_scratch_says_why_not,
    test_names_are_refused_with_a_sentence,
    test_the_keyboard_alone_does_it_all,
    test_what_is_below_a_folder_is_searched,
    test_what_is_in_fits_files_and_tables_is_shown,
)
from tests.support.cluster_hub import ClusterHub
from tests.support.lab import Lab, launch_lab
from tests.support.labpanel import Area

__all__ = [
    "home",
    "panel",
    "tab",
    "test_a_hundred_thousand_files_are_looked_at_as_easily_as_ten",
    "test_an_upload_goes_on_after_the_page_was_loaded_again",
    "test_everybody_can_use_it_in_either_theme_and_where_there_is_little_room",
    "test_files_are_copied_and_moved_to_another_area",
    "test_files_are_uploaded_and_downloaded_whole",
    "test_folders_show_what_is_in_them_and_what_is_kept",
    "test_images_lead_to_carta_by_the_hub_and_scratch_says_why_not",
    "test_names_are_refused_with_a_sentence",
    "test_the_keyboard_alone_does_it_all",
    "test_what_is_below_a_folder_is_searched",
    "test_what_is_in_fits_files_and_tables_is_shown",
]

pytestmark = [pytest.mark.cluster, pytest.mark.browser, pytest.mark.long]


@pytest.fixture(scope="module")
def lab(hub: ClusterHub) -> Iterator[Lab]:
    """A session of ada's."""
    ada = hub.sign_in("ada")
    yield launch_lab(ada, SESSION, container="notebook", projects=["demo"])
    ada.stop(SESSION)


@pytest.fixture(scope="module")
def areas(hub: ClusterHub, lab: Lab) -> dict[str, Area]:
    """Ada's home and the session's scratch as the node has them."""
    uid = hub.pod(lab.session)["metadata"]["uid"]
    volumes = f"{hub.cluster.run}/kubelet/pods/{uid}/volumes/kubernetes.io~empty-dir"
    return {
        "home": Area(hub.cluster.arc / "home" / "ada"),
        "scratch": Area(Path(volumes) / "scratch"),
    }
