"""A small scene with a small network, mapped in a second: what most tests of the whole system start from."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landweave.config.load import load_config
from landweave.config.schema import Config
from landweave.core.lattice import Extent
from tests.helpers.commands import write_config
from tests.helpers.networks import unet, write_card, write_weights
from tests.helpers.tiles import Imagery, textured


@dataclass(frozen=True, kw_only=True)
class Small:
    """A folder with ``rgb/`` and ``irc/`` tiles, a card and weights: 3 x 4 blocks of 128 px."""

    folder: Path
    card: Path
    weights: Path
    scene: Imagery

    @classmethod
    def make(cls, folder: Path, corner: tuple[int, int] = (-128 * 9 + 20, 128 * 5 + 11)) -> Small:
        scene = Imagery(values=textured((300, 430), 4), top=corner[0], left=corner[1])
        folder.mkdir(parents=True, exist_ok=True)
        for name, bands in (("rgb", (0, 1, 2)), ("irc", (3,))):
            scene.write(folder / name, bands, rows=(170,), columns=(200,))
        card = write_card(folder / "small.yaml", unet(), window=64, overlap=16)
        return cls(folder=folder, card=card, weights=write_weights(card), scene=scene)

    @property
    def extent(self) -> Extent:
        """Pixels of the scene, counted from the anchor."""
        _, height, width = self.scene.values.shape
        top, left = self.scene.top, self.scene.left
        return Extent.of((top, top + height), (left, left + width))

    @property
    def store(self) -> Path:
        """Where its configurations write."""
        return self.folder / "out.zarr"

    def config(self, **sections: Any) -> Path:
        """A configuration of it, in a file."""
        model = {"card": str(self.card), "weights": str(self.weights), "torch_threads": 1, **sections.pop("model", {})}
        return write_config(self.folder, self.card, self.weights, model=model, **sections)

    def loaded(self, **sections: Any) -> Config:
        """The same, loaded."""
        return load_config(self.config(**sections))


@contextmanager
def put_back(folder: Path, kept: Path) -> Iterator[None]:
    """Within the block a folder may be changed in any way; afterwards it is as ``kept`` is, a copy of it.

    The path stays, since files and a map name each other: a map that many tests start from is computed once.
    """
    try:
        yield
    finally:
        shutil.rmtree(folder)
        shutil.copytree(kept, folder)
