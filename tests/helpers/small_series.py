"""A small valley seen by both satellites, and a small network for its Sentinel-2: no tests here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.torch import save_file

from landweave.models.cards.registry import read_card
from landweave.models.factory import build, core
from tests.helpers.networks import write_card
from tests.helpers.scenes_on_disk import coded, optical_item, radar_item, write_scene
from tests.helpers.stac_items import write_items

CRS = "EPSG:32631"
CORNER = (500000.0, 4900000.0)
AREA = (500100.0, 4899600.0, 500400.0, 4899900.0)
"""Well inside the scenes, which are 640 m a side."""

SUMMER = ("20210614", "20210704", "20210803")
LATER = ("20210902", "20220614")
"""One more date of that year, and one of the next."""


@dataclass(frozen=True, kw_only=True)
class SmallSeries:
    """Scenes, catalogs of some of them, a card and weights in one folder; nothing else is ever written there."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> SmallSeries:
        optical = [cls._scene(folder, day) for day in (*SUMMER, *LATER)]
        write_items(folder / "summer.json", *optical[:3])
        write_items(folder / "autumn.json", *optical[:4])
        write_items(folder / "all.json", *optical)
        power = np.full((64, 64), 0.1, np.float32)
        radar = write_scene(folder / "radar", {"VV": power, "VH": power / 4}, corner_xy=CORNER, crs=CRS, nodata=-32768)
        write_items(folder / "radar.json", radar_item(radar, "20210601"))
        write_small_card(folder / "small.yaml")
        return cls(folder=folder)

    @staticmethod
    def _scene(folder: Path, day: str) -> dict[str, Any]:
        planes = {
            "B4": coded((64, 64), seed=int(day)),
            "B8": coded((64, 64), seed=int(day) + 1),
            "SCL": np.full((32, 32), 4, np.uint8),
            "CLOUD": np.zeros((32, 32), np.uint8),
            "SNOW": np.zeros((32, 32), np.uint8),
        }
        files = write_scene(folder / day, planes, corner_xy=CORNER, crs=CRS)
        return optical_item(files, day, baseline="0301")

    def optical(self, catalog: str = "summer", **settings: Any) -> dict[str, Any]:
        """The input of Sentinel-2."""
        return {
            "kind": "stac",
            "catalog": str(self.folder / f"{catalog}.json"),
            "dates": "2021-01-01/2022-12-31",
            **settings,
        }

    def radar(self, **settings: Any) -> dict[str, Any]:
        """The input of Sentinel-1."""
        return {**self.optical("radar"), **settings}

    def write(self, path: Path, **sections: Any) -> Path:
        """A configuration over the small area; ``sections`` replace its own, those that are None are left out."""
        content: dict[str, Any] = {
            "area": {"bounds": list(AREA)},
            "grid": {"crs": CRS},
            "inputs": {"SENTINEL2_TS": self.optical()},
            "cube": {"store": "cube.zarr", "tile": 64, "chunk": 32, "time_shard": 2, "margin_m": 60},
            "model": {
                "card": str(self.folder / "small.yaml"),
                "weights": str(self.folder / "small.safetensors"),
                "torch_threads": 1,
            },
            "output": {"store": "map.zarr", "chunk": 16, "block": 32, "probability": True},
            "engine": {"kind": "inline"},
            **sections,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = {name: section for name, section in content.items() if section is not None}
        path.write_text(yaml.safe_dump(kept, sort_keys=False))
        return path


def write_small_card(path: Path, modality: str = "SENTINEL2_TS", **changes: Any) -> Path:
    """A card for one series, B4 and B8 of Sentinel-2 but for ``changes``, and drawn weights beside it."""
    series = {
        "pixel": 10.24,
        "bands": {name: {"mean": 5000, "std": 2500} for name in ("B4", "B8")},
        "dates": {"filter": {"min_clear_fraction": 0.95}},
    }
    write_card(path, {"kind": "flair_hub"}, window=512, overlap=256, inputs={modality: {**series, **changes}})
    random = torch.Generator().manual_seed(11)
    with torch.random.fork_rng():
        torch.manual_seed(11)  # of what is not drawn below
        tensors = core(build(read_card(path), 512)).state_dict()
    drawn = {
        name: 2 * torch.randn(tensor.shape, generator=random) / tensor[0].numel() ** 0.5 if tensor.ndim > 1 else tensor
        for name, tensor in tensors.items()
    }
    save_file({name: tensor.clone() for name, tensor in drawn.items()}, path.with_suffix(".safetensors"))
    return path
