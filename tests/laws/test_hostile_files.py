"""Files made to harm: whatever is in them, an error of this package or a result, under a gigabyte and ten seconds.

Seeded: a failure names its kind and seed. The process is not let have a gigabyte more than it had.
"""

from __future__ import annotations

import io
import json
import pickle
import resource
import struct
import time
import warnings
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import geopandas
import numpy as np
import psutil
import pytest
import shapely
import torch
from safetensors.torch import save_file
from torch import nn

from landweave.core.errors import LandweaveError
from landweave.core.grid import Grid
from landweave.formats.area import read_area
from landweave.formats.zones import read_zones
from landweave.models.exported import load_exported
from landweave.models.weights import load_weights
from landweave.sources.files import RasterFile, close_dataset, read_window
from landweave.sources.mosaic.listing import expand_vrt
from landweave.sources.mosaic.spec import BandFiles, MosaicSpec
from landweave.sources.mosaic.tile_index import index_tiles
from landweave.sources.raster_facts import facts_at_first_open
from landweave.sources.stac.catalogs import CatalogQuery, list_items
from tests.formats.test_vector import PLACES, write
from tests.helpers.damage import ODD, mutated, mutated_bytes
from tests.helpers.networks import write_pointwise
from tests.helpers.stac_items import optical
from tests.helpers.tiles import textured, write_tile
from tests.laws.test_mutated_inputs import escapes

# GDAL's log may repeat bytes of a file that are no text; rasterio's handler then prints that it cannot, and goes on.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

FAST = {"weights": 800, "programs": 150, "rasters": 400, "vectors": 100, "catalogs": 350, "vrts": 150, "zones": 50}
"""Cases of each kind in the fast suite, 2,000 together; ten times as many in the slow one."""

GIB = 2**30
LONGEST_S = 10


@pytest.fixture
def bounded() -> Iterator[None]:
    """Allocations that come to more than a gigabyte above what the process has fail."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + GIB, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


class Harm:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.fixture
def weights(tmp_path: Path) -> Iterator[Callable[[Random], None]]:
    network = nn.Conv2d(2, 3, 1)
    tensors = network.state_dict()
    torch.save(tensors, tmp_path / "zip.pth")
    torch.save({"state_dict": tensors, "epoch": 3, "optimizer": {"lr": [0.1] * 9}}, tmp_path / "training.ckpt")
    torch.save(tensors, tmp_path / "legacy.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "plain.bin").write_bytes(pickle.dumps(tensors))
    save_file(tensors, tmp_path / "own.safetensors")
    torch.save({**tensors, "weight": Harm(tmp_path / "harmed")}, tmp_path / "harm.pth")
    (tmp_path / "harm.bin").write_bytes(pickle.dumps({**tensors, "weight": Harm(tmp_path / "harmed")}))
    whole = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def attempt(random: Random) -> None:
        name = random.choice(list(whole))
        content = whole[name]
        if name in ("zip.pth", "training.ckpt", "harm.pth") and random.random() < 0.6:
            content = rezipped(content, random)
        elif name == "own.safetensors" and random.random() < 0.6:
            content = reheaded(content, random)
        elif random.random() < 0.9:
            content = mutated_bytes(content, random)
        path = tmp_path / f"case{random.choice(('.pth', '.bin', '.ckpt', '.safetensors', '.pt2', ''))}"
        path.write_bytes(content)
        load_weights(network, path)

    yield attempt
    assert not (tmp_path / "harmed").exists()


def rezipped(content: bytes, random: Random) -> bytes:
    """An archive with one part mutated, packed, renamed, repeated or left out."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        victim = random.choice(old.namelist())
        for name in old.namelist():
            part, how = old.read(name), random.randrange(6) if name == victim else 9
            if name.endswith(".json") and how < 3:
                part = json.dumps(mutated(json.loads(part), random)[0]).encode()
            elif how < 3:
                part = mutated_bytes(part, random)
            if how == 3:
                new.writestr(name, bytes(10**7), zipfile.ZIP_DEFLATED)
            elif how == 4:
                new.writestr(f"../../{name}", part)
            elif how != 5:
                new.writestr(name, part)
    return out.getvalue()


def reheaded(content: bytes, random: Random) -> bytes:
    """A file of safetensors with another header."""
    length = struct.unpack("<Q", content[:8])[0]
    header = json.dumps(mutated(json.loads(content[8:][:length]), random)[0]).encode()
    stated = random.choice((len(header), len(header), 10**8, 2**63, 0))
    return struct.pack("<Q", stated) + header + content[8 + length :]


@pytest.fixture
def programs(tmp_path: Path) -> Callable[[Random], None]:
    whole = write_pointwise(tmp_path / "a.pt2", weights=np.eye(3), biases=[0, 1, 2], shape_nchw=(1, 3, 8, 8))
    content = whole.read_bytes()

    def attempt(random: Random) -> None:
        whole.write_bytes((rezipped if random.random() < 0.6 else mutated_bytes)(content, random))
        load_exported(whole)

    return attempt


@pytest.fixture
def rasters(tmp_path: Path) -> Callable[[Random], None]:
    values = textured((96, 96), 3)
    lossless = {"tiled": False, "compress": None, "blockxsize": 64, "blockysize": 64, "REVERSIBLE": "YES"}
    forms: dict[str, dict[str, Any]] = {
        "deflate.tif": {"blockxsize": 64, "blockysize": 64},
        "jpeg.tif": {"compress": "jpeg", "blockxsize": 64, "blockysize": 64},
        "big.tif": {"BIGTIFF": "YES", "tiled": False, "compress": "lzw", "blockxsize": 96, "blockysize": 8},
        "a.jp2": {"driver": "JP2OpenJPEG", **lossless},
        "a.png": {"driver": "PNG", "tiled": False, "compress": None},
        "a.img": {"driver": "HFA", "tiled": False, "compress": None},
    }
    with warnings.catch_warnings(action="ignore"):
        whole = {
            n: write_tile(tmp_path / n, values, corner_xy=(0, 0), **form).read_bytes() for n, form in forms.items()
        }
    sidecars = (".msk", ".ovr", ".aux.xml", ".tfw")
    count = iter(range(10**6))

    def attempt(random: Random) -> None:
        name = random.choice(list(whole))
        path = tmp_path / f"{next(count)}{random.choice((Path(name).suffix, '.tif'))}"
        beside = Path(f"{path}{random.choice(sidecars)}") if random.random() < 0.3 else None
        if beside:
            beside.write_bytes(mutated_bytes(random.choice(list(whole.values())), random, within=400))
        path.write_bytes(mutated_bytes(whole[name], random, within=random.choice((200, 800, 10**6))))
        try:
            facts = facts_at_first_open(RasterFile(href=str(path)))
            part = facts.extent.intersect(facts.extent.of((0, 200), (0, 200)))
            read_window(RasterFile(href=str(path)), [1], part, masks=[number for number in facts.masks[:1] if number])
        finally:
            close_dataset(str(path))
            path.unlink()
            if beside:
                beside.unlink()

    return attempt


@pytest.fixture
def vectors(tmp_path: Path) -> Callable[[Random], None]:
    kinds = ("gpkg", "fgb", "geojson", "zip", "kml")
    for kind in kinds:
        write(tmp_path / f"area.{kind}", PLACES)
    whole = {kind: (tmp_path / f"area.{kind}").read_bytes() for kind in kinds}

    def attempt(random: Random) -> None:
        kind = random.choice(kinds)
        path = tmp_path / f"case.{random.choice((kind, kind, *kinds))}"
        path.write_bytes(mutated_bytes(whole[kind], random))
        read_area(str(path), where=random.choice((None, "code = '31'")), crs="EPSG:2154")

    return attempt


@pytest.fixture
def catalogs(tmp_path: Path) -> Callable[[Random], None]:
    query = CatalogQuery(
        first=np.datetime64("2000-01-01"), last=np.datetime64("2099-12-31"), bounds=(-180, -90, 180, 90)
    )
    links = [{"rel": rel, "href": f"{rel}.json"} for rel in ("child", "item", "search", "data", "root", "self")]
    documents = [
        {"type": "Catalog", "stac_version": "1.0.0", "id": "a", "links": links[:2]},
        {
            "type": "Collection",
            "stac_version": "1.0.0",
            "id": "b",
            "links": links,
            "extent": {"spatial": {"bbox": [[]]}},
        },
        {"type": "FeatureCollection", "features": [optical("20210614")], "links": links},
    ]
    (tmp_path / "item.json").write_text(json.dumps(optical("20210704")))

    def attempt(random: Random) -> None:
        for name in ("child", "root"):
            (tmp_path / f"{name}.json").write_text(json.dumps(mutated(random.choice(documents), random)[0]))
        content = json.dumps(mutated(random.choice(documents), random)[0]).encode()
        path = tmp_path / "catalog.json"
        path.write_bytes(mutated_bytes(content, random) if random.random() < 0.2 else content)
        list_items(str(path), query)

    return attempt


@pytest.fixture
def vrts(tmp_path: Path) -> Callable[[Random], None]:
    for number in range(2):
        tile = write_tile(tmp_path / f"{number}.tif", textured((64, 64), 3), corner_xy=(number * 12.8, 12.8))
    sources = "".join(
        f'<SimpleSource><SourceFilename relativeToVRT="1">{number}.tif</SourceFilename><SourceBand>1</SourceBand>'
        f'<SrcRect xOff="0" yOff="0" xSize="64" ySize="64"/><DstRect xOff="{64 * number}" yOff="0" xSize="64" '
        'ySize="64"/></SimpleSource>'
        for number in range(2)
    )
    whole = (
        '<VRTDataset rasterXSize="128" rasterYSize="64"><SRS>EPSG:2154</SRS><VRTRasterBand dataType="Byte" band="1">'
        f"<Scale>1</Scale><Offset>0</Offset>{sources}</VRTRasterBand></VRTDataset>"
    )
    elsewhere = (
        "/etc/hostname",
        "/vsistdin/",
        "case.vrt",
        "../" * 9 + "etc/passwd",
        "ftp://127.0.0.1/a.tif",
        str(tile),
    )

    def attempt(random: Random) -> None:
        path = tmp_path / "case.vrt"
        content = (
            strange_xml(whole, random, elsewhere) if random.random() < 0.7 else mutated_bytes(whole.encode(), random)
        )
        path.write_bytes(content)
        index_tiles(MosaicSpec(modality="A", bands={"R": BandFiles(files=(str(path),))}, root=str(tmp_path)))

    return attempt


def strange_xml(text: str, random: Random, odd: Sequence[str]) -> bytes:
    """XML with one to three elements or attributes changed, repeated or left out."""
    root = ET.fromstring(text)
    words = [*odd, *(str(each) for each in ODD if isinstance(each, str | int | float) and str(each).isprintable())]
    for _ in range(random.choice((1, 1, 2, 3))):
        node, how = random.choice(list(root.iter())), random.randrange(4)
        if how == 0 and node.attrib:
            node.set(random.choice(list(node.attrib)), random.choice(words))
        elif how == 1 and len(node):
            node.remove(random.choice(list(node)))
        elif how == 2:
            node.append(ET.fromstring(ET.tostring(random.choice(list(root.iter())))))
        else:
            node.text = random.choice(words)
    return ET.tostring(root)


@pytest.fixture
def zones(tmp_path: Path) -> Callable[[Random], None]:
    grid = Grid.from_bounds((620000, 6430000, 640000, 6440000), crs="EPSG:2154", resolution=0.2)
    boxes = [shapely.box(620000 + 3000 * step, 6430000, 623000 + 3000 * step, 6440000) for step in range(3)]
    frame = geopandas.GeoDataFrame({"nom": ["a", "b", "c"], "zone": 1}, geometry=boxes, crs="EPSG:2154")
    frame.to_file(tmp_path / "whole.gpkg")
    package, document = (tmp_path / "whole.gpkg").read_bytes(), json.loads(frame.to_crs(4326).to_json())

    def attempt(random: Random) -> None:
        path = tmp_path / random.choice(("case.gpkg", "case.geojson"))
        path.write_bytes(mutated_bytes(package, random))
        if path.suffix == ".geojson":
            path.write_text(json.dumps(mutated(document, random)[0]))
        table = read_zones(str(path), grid)
        table.frame({"hectares": np.zeros(table.zones.polygons.size)}, grid.crs)

    return attempt


def check(kind: str, attempt: Callable[[Random], None], seeds: range) -> None:
    slowest = [0.0]

    def timed(random: Random) -> None:
        start = time.perf_counter()
        try:
            attempt(random)
        finally:
            slowest.append(time.perf_counter() - start)

    found, ends = escapes(kind, timed, seeds)
    assert not found, f"{len(found)} of {len(seeds)} got out:\n" + "\n".join(found[:40])
    assert ends["refusal"] > len(seeds) / 50, ends
    assert max(slowest) < LONGEST_S


@pytest.mark.parametrize("kind", FAST)
def test_law_a_hostile_file_is_refused_or_read(kind: str, request, bounded) -> None:
    check(kind, request.getfixturevalue(kind), range(FAST[kind]))


@pytest.mark.slow
@pytest.mark.parametrize("kind", FAST)
def test_law_so_are_ten_times_as_many(kind: str, request, bounded) -> None:
    check(kind, request.getfixturevalue(kind), range(FAST[kind], 11 * FAST[kind]))


def test_a_planted_bug_and_a_planted_hog_get_out(weights, bounded) -> None:
    def planted(random: Random) -> None:
        weights(random)
        if random.random() < 0.3:
            raise KeyError("planted")
        bytearray(2 * GIB)

    found, _ = escapes("weights", planted, range(100))
    assert any("KeyError" in each for each in found)
    assert any("MemoryError" in each for each in found)


def packed(path: Path) -> None:
    """64 MiB of zeros as the numbers of a tensor, in 64 kB."""
    content = io.BytesIO()
    torch.save({"weight": torch.zeros(4)}, content)
    with zipfile.ZipFile(content) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            with new.open(name, "w", force_zip64=True) as part:
                pieces = [bytes(2**24)] * 4 if name.endswith("/data/0") else [old.read(name)]
                part.writelines(pieces)


def legacy_with(numbers: int) -> Callable[[Path], None]:
    def made(path: Path) -> None:
        content = io.BytesIO()
        torch.save({"weight": torch.zeros(77)}, content, _use_new_zipfile_serialization=False)
        path.write_bytes(content.getvalue().replace(b"KM", b"\x8a\x06" + numbers.to_bytes(6, "little")))

    return made


def stated(path: Path) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [10**11], "data_offsets": [0, 4 * 10**11]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(100))


def laughs(path: Path) -> None:
    """A text of ten characters, ten to the ninth times."""
    entities = "".join(f'<!ENTITY a{each} "{f"&a{each - 1};" * 10}">' for each in range(1, 10))
    path.write_text(f'<!DOCTYPE a [<!ENTITY a0 "abcdefghij">{entities}]><VRTDataset>&a9;</VRTDataset>')


def outlined(steps: Sequence[int]) -> Callable[[Path], None]:
    """An outline that goes to and fro between two continents; where it goes down as well, it crosses itself."""
    ring = [[-60 + 1e-3 * place, 40] if place % 2 else [60, 50 - 1e-3 * step] for place, step in enumerate(steps)]

    def made(path: Path) -> None:
        polygon = {"type": "Polygon", "coordinates": [[*ring, [60, 60], ring[0]]]}
        feature = {"type": "Feature", "properties": {}, "geometry": polygon}
        path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))

    return made


BOMBS: dict[str, tuple[Callable[[Path], object], str]] = {
    "packed.pth": (packed, "parts that are compressed"),
    "view.pth": (lambda path: torch.save({"weight": torch.zeros(1).expand(10**11)}, path), "400,000,000,000 bytes for"),
    "legacy.pth": (legacy_with(10**11), "a tensor of 100,000,000,000 numbers"),
    "brackets.pth": (lambda path: path.write_bytes(b"\x80\x02" + b"]" * 1_100_000 + b"."), "1,000,000 operations"),
    "stated.safetensors": (stated, "not fully covered"),
    "header.safetensors": (
        lambda path: path.write_bytes(struct.pack("<Q", 9 * 10**7) + b"{" * 99),
        "a header of 90,000",
    ),
    "packed.pt2": (packed, "compressed|is a file of tensors"),
    "deep.vrt": (lambda path: path.write_bytes(b"<a>" * 10**6), "more than 16 deep"),
    "large.vrt": (lambda path: path.write_bytes(b"<a>" + bytes(2**26)), "a VRT at most 67,108,864"),
    "laughs.vrt": (laughs, "not a readable VRT"),
    "far.geojson": (outlined(range(0, 3000)), "would need 3"),
    "tangled.geojson": (outlined(range(0, 90_000, 30)), "crosses itself about"),
}
"""What is made, and what is said of it."""

LOADERS: dict[str, Callable[[Path], object]] = {
    ".pt2": load_exported,
    ".vrt": lambda path: expand_vrt(str(path), 1),
    ".geojson": lambda path: read_zones(str(path), Grid.from_bounds((0, 0, 9, 9), crs="EPSG:2154", resolution=0.2)),
}
"""By the ending; anything else is taken for weights."""


@pytest.mark.parametrize("name", BOMBS)
def test_what_asks_for_more_than_it_holds_is_refused_before_it_is_read(tmp_path: Path, name: str, bounded) -> None:
    make, words = BOMBS[name]
    make(tmp_path / name)
    load = LOADERS.get(Path(name).suffix, partial(load_weights, nn.Conv2d(2, 3, 1)))
    with pytest.raises(LandweaveError, match=words):
        load(tmp_path / name)
