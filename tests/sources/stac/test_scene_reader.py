"""Files that fail, files that lie elsewhere, and what of a file is a measurement."""

import json
import pickle
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

from landweave.core.errors import ConfigError, ReadError
from landweave.core.grid import Grid
from landweave.sources import band_reading, files, signing
from landweave.sources.border_noise import FLOOR, NEAR, SOLID
from landweave.sources.stac.lazy_stack import SceneStack
from landweave.sources.stac.records import BandAsset, Scene
from landweave.sources.stac.scene_reader import SceneReading, read_scene
from tests.helpers.cog_server import CogServer, serving
from tests.helpers.scenes_on_disk import SceneFile, coded, observations_of, optical_item, write_scene

UTM = "EPSG:32631"
GRID = Grid.from_bounds((500100, 4899000, 500700, 4899900), crs=UTM, resolution=10)
BANDS = ("B2", "B5", "SCL")
CORNER = (500000, 4900000)


@pytest.fixture
def scene(tmp_path: Path) -> dict[str, SceneFile]:
    planes = {"B2": coded((120, 100)), "B5": coded((60, 50)), "SCL": np.full((60, 50), 4, np.uint8)}
    return write_scene(tmp_path / "scene", planes, corner_xy=CORNER)


def acquired(written: dict[str, SceneFile], **changes: Any) -> Scene:
    """The scene in the one form; ``changes`` to the asset of B2."""
    (entry,) = observations_of([optical_item(written)], BANDS)
    (found,) = entry.scenes
    return replace(found, assets={**found.assets, "B2": replace(found.assets["B2"], **changes)})


def planes_of(
    found: Scene, bands: tuple[str, ...] = BANDS, grid: Grid = GRID, **settings: Any
) -> dict[str, np.ndarray]:
    reading = SceneReading(bands=bands, quantity=found.quantity, **settings)
    return dict(zip(bands, read_scene(found, grid, reading), strict=True))


def read(found: Scene, band: str = "B2", **settings: Any) -> np.ndarray:
    return planes_of(found, **settings)[band]


def stack_of(found: Scene, bands: tuple[str, ...] = BANDS) -> SceneStack:
    return SceneStack(grid=GRID, scenes=(found,), reading=SceneReading(bands=bands, quantity=found.quantity))


SPEC = SimpleNamespace(shape=GRID.shape, bounds=GRID.bounds)


@pytest.fixture
def server(scene: dict[str, SceneFile]) -> Iterator[CogServer]:
    with serving(scene["B2"].path.parent) as running:
        yield running


def test_a_file_on_the_web_gives_the_same_bits(scene: dict[str, SceneFile], server: CogServer) -> None:
    found = acquired(scene)
    there = acquired(scene, href=f"{server.address}/B2.tif")
    np.testing.assert_array_equal(read(there), read(found))
    assert server.asked


def test_a_passing_failure_is_tried_again(scene: dict[str, SceneFile], server: CogServer) -> None:
    server.fail(2)
    there = acquired(scene, href=f"{server.address}/B2.tif")
    np.testing.assert_array_equal(read(there), read(acquired(scene)))
    assert server.failures_left == 0


@pytest.mark.parametrize(("times", "passes"), [(1, True), (2, True), (9, False)])
def test_a_lost_connection_is_tried_again(
    scene: dict[str, SceneFile], server: CogServer, monkeypatch: pytest.MonkeyPatch, times: int, passes: bool
) -> None:
    """GDAL tries again what a server answers, not that it answers nothing."""
    monkeypatch.setattr(files, "PAUSES_S", (0.01, 0.02))
    server.hang_up(times)
    there = acquired(scene, href=f"{server.address}/B2.tif")
    if passes:
        np.testing.assert_array_equal(read(there), read(acquired(scene)))
    else:
        with pytest.raises(ReadError, match=r"B2\.tif cannot be read"):
            read(there)


def test_what_will_not_pass_is_not_tried_again(
    scene: dict[str, SceneFile], server: CogServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PAUSES_S", (60, 60))
    for href in (f"{server.address}/moved.tif", f"{server.address}/B2.tif?signature=expired", "/none/moved.tif"):
        with pytest.raises(ReadError):
            read(acquired(scene, href=href))


def test_a_missing_file_is_named(scene: dict[str, SceneFile], server: CogServer) -> None:
    there = acquired(scene, href=f"{server.address}/moved.tif")
    with pytest.raises(ReadError, match=r"moved\.tif cannot be read.*404.*not there"):
        read(there)
    with pytest.raises(ReadError, match=r"/none/moved\.tif cannot be read"):
        read(acquired(scene, href="/none/moved.tif"))


def test_a_file_that_was_out_of_reach_is_looked_for_again_by_the_same_process(
    scene: dict[str, SceneFile], server: CogServer
) -> None:
    """A notebook or a worker that lives on may run a block again once the file is there."""
    there = acquired(scene, href=f"{server.address}/late.tif")
    with pytest.raises(ReadError, match=r"late\.tif cannot be read"):
        read(there)
    shutil.copy(scene["B2"].path, server.folder / "late.tif")
    np.testing.assert_array_equal(read(there), read(acquired(scene)))


def test_a_damage_that_its_decoder_does_not_notice_is_named(scene: dict[str, SceneFile], tmp_path: Path) -> None:
    path = tmp_path / "B2.jp2"
    profile = {"driver": "JP2OpenJPEG", "QUALITY": "100", "REVERSIBLE": "YES"}
    with (
        rasterio.open(scene["B2"].path) as whole,
        rasterio.open(
            path, "w", width=100, height=120, count=1, dtype="uint16", crs=UTM, transform=whole.transform, **profile
        ) as copy,
    ):
        copy.write(whole.read())
    there = acquired(scene, href=str(path))
    np.testing.assert_array_equal(read(there), read(acquired(scene)))
    path.write_bytes(path.read_bytes()[:-2] + bytes(2))  # the mark of its end is gone
    with rasterio.open(path) as cut:
        assert cut.read().any()
    with pytest.raises(ReadError, match=r"B2\.jp2 .*Fetch it again"):
        read(there)


def test_an_expired_signature_is_named_and_never_shown(
    scene: dict[str, SceneFile], server: CogServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "signer", lambda name: lambda href: f"{href}?signature=expired")
    there = acquired(scene, href=f"{server.address}/B2.tif")
    with pytest.raises(ReadError, match=r"B2\.tif cannot be read.*403.*signature has expired") as caught:
        read(there, sign="planetary-computer")
    assert "signature=expired" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_an_address_is_signed_when_it_is_read(
    scene: dict[str, SceneFile], server: CogServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "signer", lambda name: lambda href: f"{href}?signature=good")
    there = acquired(scene, href=f"{server.address}/B2.tif")
    assert server.asked == []
    np.testing.assert_array_equal(read(there, sign="planetary-computer"), read(acquired(scene)))
    assert {line.split(" ")[1] for line in server.asked} == {"/B2.tif?signature=good"}
    assert set(signing.SIGNERS) == {"planetary-computer"}


def test_versions_come_from_servers_and_files(
    scene: dict[str, SceneFile], server: CogServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there, gone = str(scene["B2"].path), f"{server.address}/B2.tif", f"{server.address}/moved.tif"
    closed = "http://127.0.0.1:9/B2.tif"
    monkeypatch.setattr(files, "PAUSES_S", (0.01,))
    facts = files.file_versions([here, there, gone, closed, "/none.tif"], None)
    size = scene["B2"].path.stat().st_size
    assert facts[here] == (size, str(scene["B2"].path.stat().st_mtime_ns))
    assert facts[there] == (size, '"made-1"')
    assert facts[gone] == facts[closed] == facts["/none.tif"] == (0, "")
    count = len(server.asked)
    files.file_versions([there], None)
    assert len(server.asked) == count


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2000])


def garble(path: Path) -> None:
    with rasterio.open(path) as dataset:
        offset = int(dataset.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1))
    content = bytearray(path.read_bytes())
    content[offset + 100 : offset + 3000] = bytes(2900)
    path.write_bytes(content)


@pytest.mark.parametrize("harm", [cut_short, garble, Path.unlink])
def test_a_failed_read_is_never_nodata(scene: dict[str, SceneFile], harm: Callable[[Path], None]) -> None:
    found = acquired(scene)
    assert read(found).any()
    harm(scene["B2"].path)
    with pytest.raises(ReadError, match=r"B2\.tif"):
        read(found)


def test_a_file_is_asked_where_it_lies(scene: dict[str, SceneFile]) -> None:
    """Without CRS, transform or shape in its item a band comes to the same place."""
    expected = read(acquired(scene))
    for missing in ({"crs": None}, {"transform": None}, {"shape": None}, dict.fromkeys(("crs", "transform", "shape"))):
        np.testing.assert_array_equal(read(acquired(scene, **missing)), expected)


def test_an_item_that_is_wrong_about_its_file_is_refused(scene: dict[str, SceneFile]) -> None:
    place = scene["B2"].transform
    for wrong in ({"transform": place @ Affine.translation(0.5, 0)}, {"shape": (120, 99)}, {"crs": "EPSG:25831"}):
        with pytest.raises(ReadError, match=r"B2\.tif lies elsewhere than its item says"):
            read(acquired(scene, **wrong))


def test_a_file_without_a_place_is_refused(scene: dict[str, SceneFile], tmp_path: Path) -> None:
    path = tmp_path / "bare.tif"
    bare = {"driver": "GTiff", "width": 8, "height": 8, "count": 1, "dtype": "uint16"}
    with pytest.warns(NotGeoreferencedWarning), rasterio.open(path, "w", **bare) as dataset:
        dataset.write(np.ones((1, 8, 8), np.uint16))
    with pytest.warns(NotGeoreferencedWarning), pytest.raises(ReadError, match="lies on no map"):
        read(acquired(scene, href=str(path), crs=None))


def test_bands_of_one_file_are_read_in_one_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "both.tif"
    values = np.random.default_rng(0).gamma(4, 0.02, (2, 120, 100)).astype(np.float32)
    transform = Affine(10, 0, 500000, 0, -10, 4900000)
    place = {"width": 100, "height": 120, "crs": UTM, "transform": transform}
    with rasterio.open(path, "w", driver="GTiff", count=2, dtype="float32", **place) as dataset:
        dataset.write(values)
    assets = {
        band: BandAsset(href=str(path), band=number, crs=UTM, transform=transform, shape=(120, 100), scale=2.0)
        for number, band in enumerate(("VV", "VH"), 1)
    }
    time = np.datetime64("2021-06-14T17:39:53")
    found = Scene(
        id="both",
        collection="radar",
        time=time,
        bounds=(2.9, 44.2, 3.1, 44.3),
        assets=assets,
        datatake="S1A_A1",
        solar_day=time.astype("datetime64[D]"),
        quantity="sigma0",
    )
    calls = []
    whole = files.read_window
    monkeypatch.setattr(band_reading, "read_window", lambda *what: calls.append(what[1]) or whole(*what))
    planes = planes_of(found, ("VH", "VV"))
    assert calls == [[2, 1]]
    np.testing.assert_array_equal(planes["VV"], 2 * values[0, 10:100, 10:70])
    np.testing.assert_array_equal(planes["VH"], 2 * values[1, 10:100, 10:70])


def test_scale_and_offset_are_signed_and_rounded_once(scene: dict[str, SceneFile]) -> None:
    plane = read(acquired(scene, scale=1.0, offset=0.0), resampling="nearest").astype(float)
    moved = read(acquired(scene, scale=0.5, offset=-1000.25), resampling="nearest")
    np.testing.assert_array_equal(moved, np.clip(np.floor(plane * 0.5 - 1000.25 + 0.5), 1, 65535))
    assert (moved == 1).any()
    assert (read(acquired(scene, scale=20.0), resampling="nearest") == 65535).any()


@pytest.mark.parametrize("nodata", [None, 0, 4711, float("nan")])
def test_neither_nodata_nor_zero_enters_the_kernel(tmp_path: Path, nodata: float | None) -> None:
    """Between two pixels of 2000 and a hole on a finer grid: 2000 or nothing, never something between."""
    plane = np.full((120, 100), 2000, np.uint16)
    plane[30:50, 30:60] = 0
    if nodata == 4711:
        plane[60:80, 30:60] = 4711
    classes = np.full((60, 50), 4, np.uint8)
    written = write_scene(tmp_path, {"B2": plane, "B5": classes * np.uint16(500), "SCL": classes}, corner_xy=CORNER)
    found = acquired(written, nodata=nodata, offset=0.0)
    finer = Grid.from_bounds(GRID.bounds, crs=UTM, resolution=7)
    seen = planes_of(found, grid=finer)["B2"]
    assert set(np.unique(seen)) == {0, 2000}
    holes = 600 * (2 if nodata == 4711 else 1)
    assert (seen == 0).sum() == pytest.approx(holes * (10 / 7) ** 2, rel=0.1)


@pytest.mark.parametrize(("item", "holes"), [(None, {4711}), (0, {4711}), (5822, {4711, 5822})])
def test_a_file_s_own_nodata_tag_counts_and_that_of_its_item_too(
    tmp_path: Path, item: float | None, holes: set[int]
) -> None:
    plane = np.full((120, 100), 2000, np.uint16)
    plane[30:50, 30:60], plane[60:80, 30:60] = 4711, 5822
    classes = np.full((60, 50), 4, np.uint8)
    planes = {"B2": plane, "B5": classes * np.uint16(500), "SCL": classes}
    found = acquired(write_scene(tmp_path, planes, corner_xy=CORNER, nodata=4711), nodata=item, offset=0.0)
    np.testing.assert_array_equal(read(found) == 0, np.isin(plane, list(holes))[10:100, 10:70])


def test_a_file_s_own_mask_counts(tmp_path: Path) -> None:
    plane = coded((120, 100))
    classes = np.full((60, 50), 4, np.uint8)
    planes = {"B2": plane, "B5": classes * np.uint16(500), "SCL": classes}
    written = write_scene(tmp_path, planes, corner_xy=CORNER, nodata=None)
    measured = np.ones(plane.shape, bool)
    measured[30:50, 30:60] = False
    profile = {"driver": "GTiff", "width": 100, "height": 120, "count": 1, "dtype": "uint16", "crs": UTM}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(tmp_path / "masked.tif", "w", transform=written["B2"].transform, **profile) as dataset,
    ):
        dataset.write(plane, 1)
        dataset.write_mask(measured)
    found = acquired(written, href=str(tmp_path / "masked.tif"))
    np.testing.assert_array_equal(read(found) != 0, measured[10:100, 10:70])


def test_noise_is_judged_alike_whatever_is_read_with_it(tmp_path: Path) -> None:
    """Radar over any extent gives the same bits, along a void with a fringe."""
    power = np.random.default_rng(2).gamma(4, 0.02, (120, 100)).astype(np.float32)
    for row in range(120):
        start = 20 + row // 4
        power[row, :start] = 0
        power[row, start : start + 5] = FLOOR / 5
    written = write_scene(tmp_path, {"VV": power}, corner_xy=CORNER)
    path = str(written["VV"].path)
    found, asked = radar_of(path, written["VV"])
    whole = planes_of(found, ("VV",))["VV"]
    assert (whole[(whole > 0)] > FLOOR).all()
    for window in (Window(0, 0, 30, 40), Window(17, 23, 9, 31), Window(35, 60, 25, 30), Window(29, 0, 1, 90)):
        part = asked.open_band(url="0/VV", spec=SPEC).read(window)
        np.testing.assert_array_equal(part, whole[window.toslices()])


def radar_of(path: str, written: SceneFile) -> tuple[Scene, SceneStack]:
    """One band of power, and how it is read."""
    asset = BandAsset(href=path, crs=UTM, transform=written.transform, shape=written.shape)
    time = np.datetime64("2021-06-14T17:39:53", "s")
    found = Scene(
        id="a",
        collection="r",
        time=time,
        bounds=(2.9, 44.2, 3.1, 44.3),
        assets={"VV": asset},
        datatake="t",
        solar_day=time.astype("datetime64[D]"),
        quantity="sigma0",
    )
    return found, stack_of(found, ("VV",))


@pytest.mark.parametrize("far", [SOLID + 1, NEAR - 1, NEAR, NEAR + 1])
def test_the_void_is_seen_as_far_as_it_counts_from_wherever_is_read(tmp_path: Path, far: int) -> None:
    """A column of silence ``far`` pixels from the solid void is judged alone as it is in the whole."""
    power = np.full((120, 100), 0.05, np.float32)
    power[:, :20] = 0
    power[:, 19 - SOLID + far] = FLOOR / 5
    written = write_scene(tmp_path, {"VV": power}, corner_xy=CORNER)["VV"]
    found, asked = radar_of(str(written.path), written)
    whole = planes_of(found, ("VV",))["VV"]
    column = 19 - SOLID + far - 10
    np.testing.assert_array_equal(whole[:, column] == 0, far <= NEAR)
    for left in (column, column - 3):
        part = asked.open_band(url="0/VV", spec=SPEC).read(Window(left, 40, column - left + 1, 10))
        np.testing.assert_array_equal(part, whole[40:50, left : column + 1])


def test_a_power_of_0_is_no_measurement_though_no_void_is_near(tmp_path: Path) -> None:
    """Nor one below it, as where an instrument's noise was taken off: neither has a logarithm."""
    power = np.full((120, 100), 0.05, np.float32)
    power[50, 40], power[60, 44] = 0, -1e-3
    written = write_scene(tmp_path, {"VV": power}, corner_xy=CORNER, nodata=None)["VV"]
    found, _ = radar_of(str(written.path), written)
    seen = planes_of(found, ("VV",))["VV"]
    assert [tuple(place) for place in np.argwhere(seen == 0)] == [(40, 30), (50, 34)]
    assert set(np.unique(seen)) == {np.float32(0), np.float32(0.05)}


def test_readers_travel_and_serve_any_thread(scene: dict[str, SceneFile]) -> None:
    found = acquired(scene)
    expected = {band: read(found, band) for band in BANDS}
    sent = pickle.loads(pickle.dumps(stack_of(found)))
    window = Window(0, 0, GRID.shape[1], GRID.shape[0])
    failures = []

    def work() -> None:
        for _ in range(5):
            for band in BANDS:
                made = sent.open_band(url=f"0/{band}", spec=SPEC)
                if not np.array_equal(made.read(window), expected[band]):
                    failures.append(band)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_reader_serves_its_own_grid_alone(scene: dict[str, SceneFile]) -> None:
    shifted = SimpleNamespace(shape=GRID.shape, bounds=tuple(side + 1e-6 for side in GRID.bounds))
    with pytest.raises(ConfigError, match=r"500100\.000001"):
        stack_of(acquired(scene)).open_band(url="0/B2", spec=shifted)


def test_an_item_is_json(scene: dict[str, SceneFile]) -> None:
    assert json.loads(json.dumps(optical_item(scene)))["assets"]["B02"]["proj:shape"] == [120, 100]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, np.finfo(np.float32).min])
def test_reflectance_that_is_no_number_is_not_measured(tmp_path: Path, value: float) -> None:
    plane = coded((120, 100)).astype(np.float32)
    plane[20:40, 30:50] = value
    planes = {"B2": plane, "B5": coded((60, 50)), "SCL": np.full((60, 50), 4, np.uint8)}
    found = read(acquired(write_scene(tmp_path / "scene", planes, corner_xy=CORNER), dtype="float32"))
    hole = np.zeros(found.shape, bool)
    hole[10:30, 20:40] = True  # the grid begins 10 rows and columns into the file
    hole = hole[: found.shape[0], : found.shape[1]]
    np.testing.assert_array_equal(found == 0, hole)
