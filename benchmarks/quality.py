"""What overlap buys: ``python benchmarks/quality.py`` (half an hour on two cores).

A map of the demo's landscape by its U-Net, for each blend and for several windows and overlaps: the share of pixels
that have the class of a reference with 75 % overlap, and the share that have the landscape's own, against what it
costs, model pixels a map pixel. A table, and a picture with ``--picture``.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import rioxarray
import yaml
from benchmark_data import machine

import landweave as lw
from landweave.core.blending import Blend
from landweave.core.lattice import Lattice
from landweave_demo import make_demo_data

PAIRS = ((512, 0), (512, 128), (512, 256), (1024, 256), (1024, 512), (2048, 512))
"""Windows and overlaps; none without overlap is blended."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One map: its window, overlap and blend, what it costs and what it agrees with."""

    window: int
    overlap: int
    blend: Blend
    agreement: float
    accuracy: float

    @property
    def cost(self) -> float:
        """Model pixels a map pixel, of a map so large that its edges do not count."""
        return Lattice(window=self.window, stride=self.window - self.overlap).model_pixels_per_map_pixel

    def __str__(self) -> str:
        pair = f"{self.window}/{self.overlap}"
        return f"{pair:>10} {self.blend:>9} {self.cost:8.2f} {self.agreement:10.4f} {self.accuracy:9.4f}"


def classes(folder: Path, window: int, overlap: int, blend: Blend, threads: int) -> np.ndarray:
    """The classes of the landscape, mapped by the demo's U-Net."""
    store = f"{window}-{overlap}-{blend}.zarr"
    content = yaml.safe_load((folder / "demo.yaml").read_text())
    content["inputs"] = {name: content["inputs"][name] for name in ("AERIAL_RGBI", "DEM_ELEV")}
    content |= {
        "model": {"card": "demo-unet", "torch_threads": threads},
        "windows": {"size": window, "overlap": overlap, "blend": blend.value},
        "output": {"store": store, "confidence": False},
        "engine": {"kind": "inline"},
    }
    path = folder / f"{Path(store).stem}.yaml"
    path.write_text(yaml.safe_dump({key: each for key, each in content.items() if key != "cube"}))
    config = lw.load_config(path)
    assert lw.run(config, progress=False).exit_code == 0
    truth = rioxarray.open_rasterio(folder / "imagery" / "truth.tif")
    left, bottom, right, top = truth.rio.bounds()
    part = lw.open_map(config.path(store)).landcover.sel(x=slice(left, right), y=slice(top, bottom))
    return np.asarray(part.values)


def measure(folder: Path, pairs: Sequence[tuple[int, int]], reference: tuple[int, int], threads: int) -> list[Row]:
    """A row for every pair and blend."""
    truth = np.asarray(rioxarray.open_rasterio(folder / "imagery" / "truth.tif")[0])
    wanted, rows = classes(folder, *reference, Blend.GAUSSIAN, threads), []
    for window, overlap in pairs:
        for blend in Blend if overlap else (Blend.CROP,):
            found = classes(folder, window, overlap, blend, threads)
            same, right = float((found == wanted).mean()), float((found == truth).mean())
            rows.append(Row(window=window, overlap=overlap, blend=blend, agreement=same, accuracy=right))
            print(rows[-1], flush=True)
    return rows


def draw(rows: Sequence[Row], path: Path) -> None:
    """Pixels that differ from the reference against cost: a colour a blend, a name at the best of each pair."""
    from matplotlib.figure import Figure

    mpl.use("agg")
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    differ = {row: max(100 * (1 - row.agreement), 0.002) for row in rows}  # a logarithm has no zero
    beside = dict(zip(Blend, np.linspace(-0.06, 0.06, len(Blend)), strict=True))
    for blend in Blend:
        own = [row for row in rows if row.blend is blend]
        axes.plot([row.cost + beside[blend] for row in own], [differ[row] for row in own], "o", label=blend.value)
    for pair in sorted({(row.window, row.overlap) for row in rows}):
        best = min((row for row in rows if (row.window, row.overlap) == pair), key=differ.__getitem__)
        axes.annotate(
            f"{pair[0]}/{pair[1]}", (best.cost + 0.06, differ[best]), xytext=(9, -4), textcoords="offset points"
        )
    axes.set(yscale="log", xlabel="model pixels a map pixel", ylabel="pixels unlike the reference with 75 % overlap, %")
    axes.margins(x=0.16, y=0.1)
    axes.grid(alpha=0.3)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.legend(title="blend", loc="center", bbox_to_anchor=(0.7, 0.5))
    figure.savefig(path, dpi=100)


def main() -> None:
    """Print the table, and draw it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=2560, help="pixels a side of the landscape")
    parser.add_argument("--pairs", nargs="+", default=[f"{window}/{overlap}" for window, overlap in PAIRS])
    parser.add_argument("--reference", default="2048/1536")
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    parser.add_argument("--picture", type=Path)
    asked = parser.parse_args()
    pairs = [tuple(map(int, pair.split("/"))) for pair in (*asked.pairs, asked.reference)]
    print(machine())
    print(f"demo-unet on {asked.side} x {asked.side} px; the reference is {asked.reference} px, gaussian")
    print(f"{'window':>10} {'blend':>9} {'cost':>8} {'agreement':>10} {'accuracy':>9}")
    with tempfile.TemporaryDirectory() as name:
        make_demo_data(name, shape=(asked.side, asked.side))
        rows = measure(Path(name), pairs[:-1], pairs[-1], asked.threads)
    if asked.picture:
        draw(rows, asked.picture)


if __name__ == "__main__":
    main()
