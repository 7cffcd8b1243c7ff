"""Memory of models, known without building them: by card, window and batch.

That of the published ones is in `memory.json`, that of others in the user's cache once it was computed.
``python -m landweave.models.published_memory`` makes the file anew; a test holds it against the networks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path

from landweave.core.errors import LandweaveError
from landweave.core.user_cache import UserCache
from landweave.models.cards.card import ModelCard
from landweave.models.cards.registry import find_card, list_cards
from landweave.models.known_trials import software_stamp
from landweave.models.networks.architectures import ExportedArchitecture
from landweave.models.settings import InferenceSettings

FILE = Path(__file__).with_name("memory.json")

BATCHES = (1, 2, 4, 8, 16)


_CACHE = UserCache("network_memory")


@lru_cache(maxsize=32)
def model_bytes(settings: InferenceSettings) -> int:
    """Bytes of the weights and of one batch at its peak, in eager torch; computed where they are not known.

    Raises
    ------
    CardError
        When the network cannot be built, or does not take such windows.
    """
    if (published := published_bytes(settings)) is not None:
        return published
    key, stamp = _key(settings), software_stamp()
    known = _CACHE.get({key: stamp}).get(key)
    if isinstance(known, int):
        return known
    from landweave.models.loading import network_bytes  # torch takes seconds to import

    found = network_bytes(replace(settings, engine="eager"))
    _CACHE.put({key: (stamp, found)})
    return found


def published_bytes(settings: InferenceSettings) -> int | None:
    """Bytes of the weights and of one batch at its peak; None where the table has no such card, window or batch."""
    return _table().get(_key(settings))


def table_settings(card: ModelCard) -> Iterator[InferenceSettings]:
    """Settings of a card that are in the table: its trained windows, without dates."""
    if card.series or isinstance(card.architecture, ExportedArchitecture):
        return
    for window in sorted({card.window.size, *card.window.trained_sizes}):
        for batch in sorted({*BATCHES, card.numerics.batch}):
            for output in card.outputs:
                yield InferenceSettings(
                    card=card, output=output, window=window, batch_size=batch, torch_threads=1, device="cpu"
                )


def make_table() -> dict[str, int]:
    """The table, by building every network; takes minutes."""
    from landweave.models.loading import network_bytes  # torch takes seconds to import

    table = {}
    for name in list_cards():
        for settings in table_settings(find_card(name)):
            try:
                table[_key(settings)] = network_bytes(settings)
            except LandweaveError:  # as a run will say
                continue
    return table


@cache
def _table() -> dict[str, int]:
    return dict(json.loads(FILE.read_text(encoding="utf-8")))


def _key(settings: InferenceSettings) -> str:
    """By the checksum of the card: of a card that was changed in any way nothing is known."""
    parts = (settings.card.sha256, settings.output, settings.window, settings.batch_size, settings.dates)
    return " ".join(map(str, parts))


if __name__ == "__main__":
    FILE.write_text(json.dumps(make_table(), indent=0) + "\n", encoding="utf-8")
