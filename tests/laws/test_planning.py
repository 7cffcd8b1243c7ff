"""Planning looks at headers alone, and what GDAL sees of a map is what xarray sees."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rioxarray
import torch
import xarray as xr
from rasterio.vrt import WarpedVRT

from landweave import api, predict
from landweave.models.inference import TorchPredictor
from tests.helpers.commands import RGBI_FILES
from tests.helpers.small import Small
from tests.helpers.stored import stored_map


class Counted:
    """How often pixels were read through rasterio and networks were run, in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: Counter[str] = Counter()
        for owner in (rasterio.io.DatasetReader, WarpedVRT):
            for name in ("read", "read_masks", "dataset_mask", "sample"):
                self._count(monkeypatch, owner, name)
        self._count(monkeypatch, torch.nn.Module, "__call__")
        self._count(monkeypatch, TorchPredictor, "predict")

    def _count(self, monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
        original = getattr(owner, name)
        key = f"{owner.__name__}.{name}"

        def counted(*arguments, **settings):
            # A pass on the meta device has no values: it is how a network's memory is known.
            tensors = [each for each in _leaves(arguments[1:]) if isinstance(each, torch.Tensor)]
            if not any(tensor.is_meta for tensor in tensors):
                self.calls[key] += 1
            return original(*arguments, **settings)

        monkeypatch.setattr(owner, name, counted)


def _leaves(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [leaf for each in value for leaf in _leaves(each)]
    return [value]


def test_planning_reads_no_pixel_and_runs_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = Small.make(tmp_path)
    config = small.loaded(inputs={"AERIAL_RGBI": {**RGBI_FILES, "nodata_border": True}})
    counted = Counted(monkeypatch)
    plan = api.plan_map(config)
    assert "12 of 12" in str(plan)
    assert "<table>" in plan._repr_html_()
    predict(config)
    assert counted.calls == {}
    assert str(api.check(config))
    assert counted.calls["DatasetReader.read"] > 0  # a small sample of the values
    assert not small.store.exists()
    api.run(config)
    assert counted.calls["DatasetReader.read"] > 0
    assert counted.calls["TorchPredictor.predict"] > 0
    assert counted.calls["Module.__call__"] > 0
    counted.calls.clear()
    assert "done, outside               12, 0" in str(api.plan_map(config))
    assert counted.calls == {}


def test_gdal_sees_in_the_cog_what_xarray_sees_in_the_zarr(tmp_path: Path) -> None:
    small = Small.make(tmp_path)
    config = small.loaded(output={"cog": "map.tif", "picture": "map.png"})
    assert api.run(config).exit_code == 0
    shown = xr.open_zarr(small.store, group="map/0", chunks=None, mask_and_scale=False, decode_coords="all")
    found = stored_map(small.store)
    with rasterio.open(tmp_path / "map.tif") as cog:
        assert cog.crs == shown.rio.crs
        assert cog.crs.to_epsg() == 2154
        # The file covers what is mapped, the store whole blocks.
        left, top = (round(value) for value in ~shown.rio.transform() @ (cog.transform.c, cog.transform.f))
        shown = shown.isel(y=slice(top, top + cog.height), x=slice(left, left + cog.width))
        assert tuple(cog.transform) == pytest.approx(tuple(shown.rio.transform(recalc=True)), abs=1e-9)
        assert tuple(cog.bounds) == pytest.approx(small.scene.bounds, abs=1e-9)
        np.testing.assert_array_equal(cog.read(1), shown["landcover"].values)
        assert cog.nodata == shown["landcover"].rio.nodata == 255
        categories = cog.tags(1).get("names") or _category_names(tmp_path / "map.tif")
        colors = cog.colormap(1)
        assert {code: colors[code][:3] for code in found.legend.codes} == found.legend.colors
        x, y = cog.xy(7, 11)
    assert "class 3" in str(categories)
    assert (float(shown.x[11]), float(shown.y[7])) == pytest.approx((x, y), abs=1e-9)
    with rioxarray.open_rasterio(tmp_path / "map.tif") as again:
        np.testing.assert_allclose(again.x, shown.x, atol=1e-9, rtol=0)
        np.testing.assert_allclose(again.y, shown.y, atol=1e-9, rtol=0)
    assert (tmp_path / "map.png").stat().st_size > 10_000


def _category_names(path: Path) -> str:
    return "".join(file.read_text(errors="ignore") for file in path.parent.glob(f"{path.name}*.xml")) + str(
        path.read_bytes()[-200_000:]
    )
