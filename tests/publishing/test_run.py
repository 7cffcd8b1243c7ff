"""A publication: the map's pixels exactly once, done again only where needed, and nothing of others replaced."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as Xml

import numpy as np
import pytest
import rasterio
import xarray as xr
from rasterio.windows import from_bounds

import landweave as lw
from landweave.core.errors import BudgetError, ConfigError, InputError, OutputError
from landweave.core.legend import NODATA
from landweave.core.protocols import BlockResult, BlockState
from landweave.engine.inline import InlineEngine
from landweave.jobs.ledger import Ledger
from landweave.publishing.publication import find_record
from landweave.store.objects import Target
from tests.helpers.marks import mostly_slow
from tests.publishing.conftest import COSIA, bytes_below, finished_map
from tests.store.samples import block_of, pixels, template


def published(place, to, **settings):
    """Publish in dalles of 10 m, in this process."""
    return lw.publish(place, to, engine=InlineEngine(), progress=False, **{"dalle_m": 10, **settings})


@pytest.fixture(scope="module")
def published_once(small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small map in dalles, to look at."""
    folder = tmp_path_factory.mktemp("published") / "out"
    assert published(small[0], folder).exit_code == 0
    return folder


@pytest.fixture
def out(published_once: Path, tmp_path: Path) -> Path:
    """A copy of it, to do with as a test likes."""
    return Path(shutil.copytree(published_once, tmp_path / "out"))


def mosaic(
    folder: Path, layer: str, bounds: tuple[float, ...], shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """All files of a layer on the pixels of the map, and how many files have each pixel."""
    values, count = np.full(shape, NODATA, np.uint8), np.zeros(shape, int)
    x0, _, _, y1 = bounds
    for path in sorted((folder / layer).glob("*.tif")):
        with rasterio.open(path) as file:
            column, row = round((file.bounds.left - x0) / 0.2), round((y1 - file.bounds.top) / 0.2)
            pixels = file.read(1)
        inside = (slice(max(row, 0), row + file.height), slice(max(column, 0), column + file.width))
        part = pixels[inside[0].start - row : shape[0] - row, inside[1].start - column : shape[1] - column]
        values[inside][...] = part
        count[inside] += 1
    return values, count


@pytest.mark.parametrize("size", mostly_slow([10, 7, 100], fast=[10]))
def test_dalles_have_every_pixel_of_the_map_exactly_once(small, tmp_path: Path, size: int) -> None:
    place, store, arrays = small
    result = published(place, tmp_path / "out", dalle_m=size)
    assert result.exit_code == 0, str(result)
    for layer in ("landcover", "confidence"):
        values, count = mosaic(tmp_path / "out", layer, store.grid.bounds, store.grid.shape)
        np.testing.assert_array_equal(values, arrays[layer])
        assert count.max() == 1
        assert (count[arrays[layer] != NODATA] == 1).all()


def test_gdal_and_xarray_see_classes_names_and_colours(out: Path) -> None:
    path = sorted((out / "landcover").glob("*.tif"))[4]
    with rasterio.open(path) as file:
        assert file.nodata == NODATA
        assert file.crs.to_epsg() == 2154
        assert file.colormap(1)[6][:3] == COSIA.colors[6]
        assert file.tags()["CLASS_6"] == "water"
        assert file.descriptions == ("land cover",)
    side = Xml.parse(f"{path}.aux.xml")
    assert [each.text for each in side.iter("Category")] == [each.name for each in COSIA.classes]
    rows = [[value.text for value in row] for row in side.iter("Row")]
    assert rows[6] == ["6", "water", "eau", *(str(part) for part in COSIA.colors[6])]
    array = xr.open_dataarray(path, engine="rasterio", mask_and_scale=False)
    assert array.rio.nodata == NODATA
    assert set(np.unique(array)) <= {*COSIA.codes, NODATA}
    confidence = xr.open_dataarray(out / "confidence" / path.name.replace("landcover", "confidence"))
    assert 0 <= float(confidence.min()) <= float(confidence.max()) <= 1.0


@pytest.mark.parametrize(("ending", "driver"), [("vrt", "VRT"), ("gti.gpkg", "GTI")])
def test_a_mosaic_over_all_shows_the_map(small, out: Path, ending: str, driver: str) -> None:
    _, store, arrays = small
    for layer in ("landcover", "confidence"):
        with rasterio.open(out / f"{layer}.{ending}") as file:
            assert (file.driver, file.nodata) == (driver, NODATA)
            assert file.units == (("1",) if layer == "confidence" else (None,))
            window = from_bounds(*store.grid.bounds, transform=file.transform)
            values = file.read(1, window=window, boundless=True, fill_value=NODATA)
        np.testing.assert_array_equal(values, arrays[layer])
    with rasterio.open(out / f"landcover.{ending}") as file:
        assert file.colormap(1)[12][:3] == COSIA.colors[12]


def test_a_second_run_touches_nothing(small, out: Path) -> None:
    content = bytes_below(out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*_*.*")}
    result = published(small[0], out)
    assert (result.ran, result.exit_code) == (0, 0)
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert bytes_below(out) == content


def test_files_that_are_gone_are_made_again(small, out: Path) -> None:
    content = bytes_below(out)
    gone = sorted((out / "landcover").glob("*.tif"))[3]
    gone.unlink()
    assert published(small[0], out).ran == 1
    assert bytes_below(out) == content


def test_a_file_that_somebody_changed_is_left_and_named(small, out: Path) -> None:
    style = sorted((out / "landcover").glob("*.qml"))[0]
    style.write_text("my own style")
    result = published(small[0], out)
    assert (result.ran, result.exit_code) == (0, 3)
    assert style.name in str(result)
    assert style.read_text() == "my own style"


def test_what_is_there_already_is_never_replaced(small, tmp_path: Path) -> None:
    place, _, _ = small
    (tmp_path / "out").mkdir()
    (tmp_path / "out/notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"already holds notes\.txt"):
        published(place, tmp_path / "out")
    assert bytes_below(tmp_path / "out") == {"notes.txt": b"mine"}


def test_what_was_killed_in_the_middle_of_its_first_write_begins_anew(tmp_path: Path) -> None:
    half = tmp_path / ".landweave/publication.json#1"
    half.parent.mkdir()
    half.write_text("{")
    assert find_record(Target.parse(tmp_path)) is None
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"already holds notes\.txt"):
        find_record(Target.parse(tmp_path))


def test_a_file_in_the_place_of_one_to_come_fails_its_dalle(small, out: Path) -> None:
    file = sorted((out / "landcover").glob("*.tif"))[2]
    shutil.rmtree(out / ".landweave/ledger")  # as if it had just begun
    file.write_bytes(b"somebody's")
    result = published(small[0], out)
    assert (result.exit_code, len(result.failures)) == (3, 1)
    assert file.name in result.failures[0]
    assert file.read_bytes() == b"somebody's"


def test_other_settings_are_refused_with_what_differs(small, out: Path) -> None:
    with pytest.raises(OutputError, match="dalle_m: 20 here, 10 in the output"):
        published(small[0], out, dalle_m=20)
    with pytest.raises(OutputError, match="cleanup"):
        published(small[0], out, majority=3)


def test_an_incomplete_map_is_refused_unless_told(published_once: Path, tmp_path: Path) -> None:
    store, arrays = finished_map(tmp_path / "map.zarr", left=2)
    with pytest.raises(InputError, match=r"not complete .* 2 blocks that are left"):
        published(tmp_path / "map.zarr", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    result = published(tmp_path / "map.zarr", tmp_path / "out", partial=True)
    assert result.exit_code == 0
    values, _ = mosaic(tmp_path / "out", "landcover", store.grid.bounds, store.grid.shape)
    assert (values[128:] == NODATA).all()
    np.testing.assert_array_equal(values[:128], arrays["landcover"][:128])
    # The rest of the map comes: its dalles are made again, the others are left.
    finish(store, arrays)
    result = published(tmp_path / "map.zarr", tmp_path / "out")
    assert 0 < result.ran < sum(result.counts.values())
    values, _ = mosaic(tmp_path / "out", "landcover", store.grid.bounds, store.grid.shape)
    np.testing.assert_array_equal(values, arrays["landcover"])
    assert bytes_below(tmp_path / "out") == bytes_below(published_once)


@pytest.mark.parametrize("sides", [(32, 128), pytest.param((192, 32), marks=pytest.mark.slow)])
def test_blocks_are_those_of_the_map_wherever_they_begin(tmp_path: Path, sides: tuple[int, int]) -> None:
    """Blocks are strips from the corner of the area: what is missing or new is missing or new in them alone."""
    layout = {"sides": sides, "shift": 11}
    store, arrays = finished_map(tmp_path / "map.zarr", left=1, **layout)
    result = published(tmp_path / "map.zarr", tmp_path / "out", partial=True, dalle_m=15)
    values, _ = mosaic(tmp_path / "out", "landcover", store.grid.bounds, store.grid.shape)
    rows, columns = store.blocks[store.blocks.shape[0] - 1, store.blocks.shape[1] - 1].slices_in(store.grid.extent)
    expected = arrays["landcover"].copy()
    expected[rows, columns] = NODATA
    np.testing.assert_array_equal(values, expected)
    finish(store, arrays)
    assert 0 < published(tmp_path / "map.zarr", tmp_path / "out", dalle_m=15).ran < sum(result.counts.values())
    arrays["landcover"][:10, :10] = 6
    finish(store, arrays, [(0, 0)])
    again = published(tmp_path / "map.zarr", tmp_path / "out", stale=True, dalle_m=15)
    assert 0 < again.ran < sum(result.counts.values())
    finished_map(tmp_path / "again.zarr", arrays, **layout)
    published(tmp_path / "again.zarr", tmp_path / "whole", dalle_m=15)
    for path in (tmp_path / "whole").glob("landcover/*.tif"):
        assert (tmp_path / "out/landcover" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_what_a_clean_up_looks_at_around_a_dalle_is_part_of_it(tmp_path: Path) -> None:
    """A patch of the block that is left goes on into dalles whose own pixels are all there: they are made again."""
    classes = np.full((192, 128), 3, np.uint8)
    classes[120:140, 20:100] = 8
    arrays = {"landcover": classes, "confidence": np.full(classes.shape, 9, np.uint8)}
    settings = {"minimum_unit_m2": 41.0}
    store, _ = finished_map(tmp_path / "map.zarr", arrays, left=2)
    published(tmp_path / "map.zarr", tmp_path / "out", partial=True, **settings)
    finish(store, arrays)
    published(tmp_path / "map.zarr", tmp_path / "out", **settings)
    published(tmp_path / "map.zarr", tmp_path / "whole", **settings)
    assert bytes_below(tmp_path / "out") == bytes_below(tmp_path / "whole")


def finish(store, arrays, blocks=None) -> None:
    """Write the blocks of a map that are left, or those given anew."""
    ledger = Ledger.load(store.ledger, store.arrays)
    for index in blocks or ledger.todo():
        objects = store.write(index, block_of(arrays, store, index))
        ledger.mark(index, BlockResult(state=BlockState.DONE, objects=objects))
    ledger.flush(store.ledger)


def test_dalles_of_blocks_that_were_computed_anew_are_stale(tmp_path: Path) -> None:
    store, arrays = finished_map(tmp_path / "map.zarr")
    published(tmp_path / "map.zarr", tmp_path / "out")
    arrays["landcover"][10:30, 70:90] = 6
    finish(store, arrays, [(0, 1)])
    kept = published(tmp_path / "map.zarr", tmp_path / "out")
    assert (kept.ran, kept.exit_code) == (0, 3)
    assert "computed anew" in kept.stale[0]
    assert published(tmp_path / "map.zarr", tmp_path / "out", keep_stale=True).exit_code == 0
    assert published(tmp_path / "map.zarr", tmp_path / "out", stale=True).exit_code == 0
    values, _ = mosaic(tmp_path / "out", "landcover", store.grid.bounds, store.grid.shape)
    np.testing.assert_array_equal(values, arrays["landcover"])


def test_a_damaged_map_is_refused(tmp_path: Path) -> None:
    store, _ = finished_map(tmp_path / "map.zarr")
    (tmp_path / "map.zarr" / store.object_key((1, 1), "landcover")).unlink()
    with pytest.raises(InputError, match=r"1 blocks of the map .* are damaged, as block \(1, 1\)"):
        published(tmp_path / "map.zarr", tmp_path / "out")


def test_a_block_that_cannot_be_read_fails_its_dalles_and_no_other(tmp_path: Path) -> None:
    store, _ = finished_map(tmp_path / "map.zarr")
    path = tmp_path / "map.zarr" / store.object_key((1, 1), "landcover")
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0xFF
    path.write_bytes(content)
    result = published(tmp_path / "map.zarr", tmp_path / "out")
    assert result.exit_code == 3
    assert 0 < result.counts[BlockState.READ_FAILED] < result.counts[BlockState.DONE]


def test_a_place_without_a_map_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no map"):
        published(tmp_path / "nothing.zarr", tmp_path / "out")


@pytest.mark.parametrize("to", ["map.zarr/out", "map.zarr"])
def test_a_publication_inside_its_map_is_refused(tmp_path: Path, to: str) -> None:
    finished_map(tmp_path / "map.zarr")
    with pytest.raises((ConfigError, OutputError), match=r"map\.zarr"):
        published(tmp_path / "map.zarr", tmp_path / to)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"dalle_m": 0}, "publish.dalle_m"),
        ({"dale_m": 5}, "dale_m"),
        ({"majority": 4}, "majority is an odd number"),
        ({"minimum_unit_m2": -1}, "minimum_unit_m2 is an area"),
        ({"minimum_unit_m2": {"pool": 3}}, "'pool' is no class of 'cosia'"),
        ({"crosswalk": "nowhere"}, "no crosswalk 'nowhere'"),
        ({"name": "dalle"}, "publish.name 'dalle'"),
    ],
)
def test_settings_that_cannot_be_carried_out_are_refused(small, tmp_path: Path, settings, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        published(small[0], tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_areas_of_a_crs_that_does_not_keep_them_are_refused(tmp_path: Path) -> None:
    finished_map(tmp_path / "map.zarr", crs="EPSG:3857")
    for settings in ({"polygons": True}, {"minimum_unit_m2": 5}, {"zones": {"file": "any.gpkg"}}):
        with pytest.raises(InputError, match=r"2\.\d+ ha in EPSG:3857.* make the map in a CRS that keeps areas"):
            published(tmp_path / "map.zarr", tmp_path / "out", **settings)
    assert published(tmp_path / "map.zarr", tmp_path / "out", dalle_m=100).exit_code == 0
    item = next((tmp_path / "out/items").iterdir())
    assert "gsd" not in json.loads(item.read_text())["properties"]


def test_dalles_that_do_not_fit_the_memory_are_refused_before_any_is_made(small, tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match=r"publish\.dalle_m"):
        published(small[0], tmp_path / "out", dalle_m=1_000_000)
    assert not list((tmp_path / "out").glob("landcover/*"))


def test_a_plan_writes_nothing(small, tmp_path: Path) -> None:
    plan = lw.plan_publish(small[0], tmp_path / "out", dalle_m=10)
    assert (len(plan.dalles.todo), plan.pixels) == (20, 192 * 128)
    assert "landcover, confidence" in str(plan)
    assert not (tmp_path / "out").exists()


def test_only_what_is_mapped_has_files(tmp_path: Path) -> None:
    """Dalles without a pixel have no file, and no item."""
    arrays = pixels(template(legend=COSIA))
    arrays["landcover"][:100] = arrays["confidence"][:100] = NODATA
    finished_map(tmp_path / "map.zarr", arrays)
    result = published(tmp_path / "map.zarr", tmp_path / "out")
    assert result.counts[BlockState.NO_INPUT] > 0
    files = list((tmp_path / "out/landcover").glob("*.tif"))
    assert len(files) == result.counts[BlockState.DONE] == len(list((tmp_path / "out/items").iterdir()))


def test_to_an_object_store_the_same_bytes(small, tmp_path: Path, s3_target: Target) -> None:
    place, _, _ = small
    published(place, tmp_path / "out", dalle_m=20)
    target = s3_target
    published(place, str(target), storage_options=dict(target.storage_options), dalle_m=20)
    names = [name for name in target.list() if not name.startswith(".landweave/ledger")]
    assert {name: target.get(name) for name in names} == bytes_below(tmp_path / "out")


def processes(command: list[str], folder: Path) -> Iterator[int]:
    """Dalles that are there when a command is killed, time after time, until it ends."""
    for pause in (1.5, 0.2, 0.2, 0.3, 60.0):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_for_files(folder, process, pause)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()
        yield len(list(folder.glob("landcover/*.tif")))


def wait_for_files(folder: Path, process, pause: float) -> None:
    """Wait until one more dalle is there, or the process has ended."""
    before, until = len(list(folder.glob("landcover/*.tif"))), time.monotonic() + 60
    while process.poll() is None and time.monotonic() < until:
        if pause < 60 and len(list(folder.glob("landcover/*.tif"))) > before:
            return
        time.sleep(0.01)


@pytest.mark.slow
def test_killed_and_run_again_it_is_the_same_bytes(small, tmp_path: Path) -> None:
    place, _, _ = small
    published(place, tmp_path / "whole", dalle_m=3)
    settings = {"engine": "InlineEngine()", "progress": False, "dalle_m": 3}
    listed = ", ".join(f"{name}={value}" for name, value in settings.items())
    code = "import landweave as lw\nfrom landweave.engine.inline import InlineEngine\n"
    code += f"lw.publish({str(place)!r}, {str(tmp_path / 'out')!r}, {listed})"
    command = [sys.executable, "-c", code]
    seen = list(processes(command, tmp_path / "out"))
    assert seen[0] < seen[-1], "the first run was killed in the middle"
    assert bytes_below(tmp_path / "out") == bytes_below(tmp_path / "whole")
