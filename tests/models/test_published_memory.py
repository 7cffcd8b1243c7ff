"""Memory of published models from a table, held against networks that are built; planning imports no torch."""

import subprocess
import sys
from dataclasses import replace

import pytest

from landweave.models.cards.registry import find_card, list_cards
from landweave.models.loading import network_bytes
from landweave.models.published_memory import published_bytes, table_settings

FEW_BYTES = 64
"""Of the batch that is passed without values, a byte or two an input."""

KNOWN = [(name, settings) for name in list_cards() for settings in table_settings(find_card(name))]


def test_every_published_card_of_images_is_known() -> None:
    missing = {name for name, settings in KNOWN if published_bytes(settings) is None}
    assert len({name for name, _ in KNOWN}) > 10
    assert not missing


def test_a_changed_card_is_not_known() -> None:
    settings = KNOWN[0][1]
    assert published_bytes(settings)
    assert published_bytes(replace(settings, window=settings.window * 2)) is None
    assert published_bytes(replace(settings, batch_size=3)) is None
    changed = settings.card.model_copy(update={"title": "another"})
    assert published_bytes(replace(settings, card=changed)) in (None, published_bytes(settings))


@pytest.mark.parametrize("name", ["flair-inc-rgbi-15cl"])
def test_the_table_is_what_the_network_takes(name: str) -> None:
    settings = next(iter(table_settings(find_card(name))))
    assert published_bytes(settings) == pytest.approx(network_bytes(settings), abs=FEW_BYTES)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_whole_table_is_what_the_networks_take() -> None:
    off = {
        (name, each.batch_size)
        for name, each in KNOWN
        if published_bytes(each) != pytest.approx(network_bytes(each), abs=FEW_BYTES)
    }
    assert off == set()


def test_planning_imports_nothing_that_only_a_run_needs() -> None:
    slow = {"torch", "timm", "matplotlib", "xarray", "pandas", "distributed", "stackstac", "pystac_client"}
    code = f"import sys, landweave.api; print(sorted({slow} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"
