import numpy as np
import pytest
import rasterio

from landweave.core.errors import InputError
from landweave.sources.mosaic.listing import expand_vrt, list_products, tile_id
from landweave.sources.mosaic.spec import BandFiles, MosaicSpec
from tests.helpers.tiles import write_tile


def products(root, *files, band=1, **settings):
    bands = {"R": BandFiles(files=files, band=band)}
    return list_products(MosaicSpec(modality="A", bands=bands, root=str(root), **settings))


@pytest.fixture
def folder(tmp_path):
    for name in ("b.tif", "a.TIF", "c.jp2", "c.jp2.aux.xml", "notes.txt", "deep/er/d.tif"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("in", ["a.TIF", "b.tif", "c.jp2"]),
        ("in/*.tif", ["b.tif"]),
        ("in/**/*.tif", ["b.tif", "d.tif"]),
        ("in/b.tif", ["b.tif"]),
    ],
)
def test_folders_globs_and_files_name_tiles(folder, pattern, names):
    (product,) = products(folder, pattern)
    assert [path.rsplit("/", 1)[1] for path in product.paths] == names


@pytest.mark.parametrize("name", ["tiles [1]", "2?", "a*"])
def test_a_folder_whose_name_looks_like_a_pattern_is_that_folder(tmp_path, name):
    for each in (name, "tiles 1", "21", "ab"):
        (tmp_path / each / "rgb").mkdir(parents=True)
        (tmp_path / each / "rgb" / "1.tif").write_bytes(b"")
    own = tmp_path / name / "rgb" / "1.tif"
    for pattern, root in (("rgb/*.tif", tmp_path / name), (f"{tmp_path / name}/r?b/*.tif", tmp_path)):
        spec = MosaicSpec(modality="rgb", bands={"R": BandFiles(files=(pattern,))}, root=str(root))
        assert list_products(spec)[0].paths == (str(own),)


def test_a_name_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "caf\udce9.tif").touch()
    with pytest.raises(InputError, match=r"caf\\udce9\.tif' has a name that is no text"):
        products(tmp_path, "*.tif")


def test_tiles_are_read_by_name_or_as_listed(folder):
    (by_name,) = products(folder, "in/c.jp2", "in/b.tif")
    (listed,) = products(folder, "in/c.jp2", "in/b.tif", order="listed")
    assert by_name.paths == tuple(reversed(listed.paths))


def test_bands_with_the_same_files_are_one_product(folder):
    files = ("in/*.tif",)
    bands = {"R": BandFiles(files=files), "G": BandFiles(files=files, band=2), "N": BandFiles(files=("in/c.jp2",))}
    first, second = list_products(MosaicSpec(modality="A", bands=bands, root=str(folder)))
    assert list(first.bands.items()) == [("R", 1), ("G", 2)]
    assert second.bands == {"N": 1}


@pytest.mark.parametrize("pattern", ["in/*.png", "nowhere", "in/deep"])
def test_a_pattern_without_files_is_an_error(folder, pattern):
    with pytest.raises(InputError, match=r"0 (files|tiles)"):
        products(folder, pattern)


def test_a_vrt_stands_for_its_files_topmost_first(shared):
    band = expand_vrt(str(shared("data/bd_ortho/rgb") / "D30-2021.vrt"), 3)
    assert [path[-6:] for path in band.files] == ["1.tiff", "0.tiff"]
    assert band.number == 3


VRT = """<VRTDataset rasterXSize="9" rasterYSize="9"{kind}><VRTRasterBand band="1"{band}><{source}>
<SourceFilename relativeToVRT="1">a.tif</SourceFilename><SourceBand>2</SourceBand>{more}
<SrcRect xOff="0" yOff="0" xSize="9" ySize="9"/><DstRect xOff="0" yOff="0" xSize="{size}" ySize="9"/>
</{source}></VRTRasterBand></VRTDataset>"""
PLAIN = {"kind": "", "band": "", "source": "SimpleSource", "more": "", "size": "9"}


def test_a_vrt_tells_the_band_of_its_files(tmp_path):
    (tmp_path / "m.vrt").write_text(VRT.format(**PLAIN))
    band = expand_vrt(str(tmp_path / "m.vrt"), 1)
    assert (band.files, band.number, band.nodata, band.scale) == ((str(tmp_path / "a.tif"),), 2, (), None)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": ' subClass="VRTWarpedDataset"'},
        {"band": ' subClass="VRTDerivedRasterBand"'},
        {"source": "KernelFilteredSource"},
        {"source": "ComplexSource", "more": "<ScaleRatio>2</ScaleRatio>"},
        {"size": "18"},
    ],
)
def test_a_vrt_that_does_more_is_refused(tmp_path, change):
    (tmp_path / "m.vrt").write_text(VRT.format(**PLAIN | change))
    with pytest.raises(InputError, match=r"[Ll]ist the files"):
        expand_vrt(str(tmp_path / "m.vrt"), 1)


def test_a_band_beyond_the_vrt_is_refused(tmp_path):
    (tmp_path / "m.vrt").write_text(VRT.format(**PLAIN))
    with pytest.raises(InputError, match="band 4 asked, 1 present"):
        expand_vrt(str(tmp_path / "m.vrt"), 4)


@pytest.mark.parametrize("path", ["/vsistdin/", "/vsizip//vsistdin/", "/vsimem/a.tif", "/vsis3_streaming/b/a.tif"])
def test_what_only_one_process_can_read_is_refused_at_once(tmp_path, path):
    """Named by a VRT or by the settings: it would be opened again and again, and may wait for an input."""
    (tmp_path / "m.vrt").write_text(VRT.format(**PLAIN).replace("a.tif", path))
    for files in (str(tmp_path / "m.vrt"), path):
        spec = MosaicSpec(modality="A", bands={"R": BandFiles(files=(files,))}, root=str(tmp_path))
        with pytest.raises(InputError, match=rf"^{path} is no file for several readers: give a path, .* /vsicurl"):
            list_products(spec)


def test_ids_stay_when_everything_moves(tmp_path):
    assert tile_id(f"{tmp_path}/in/a.tif", str(tmp_path)) == "in/a.tif"
    assert tile_id("/elsewhere/a.tif", str(tmp_path)) == "/elsewhere/a.tif"
    assert tile_id("s3://bucket/a.tif", str(tmp_path)) == "s3://bucket/a.tif"


@pytest.fixture
def beside_a_map(tmp_path):
    """Two tiles, a map of this program named before them, what lies beside it, a VRT of all, and stores."""
    for name in ("a_map", "tile1", "tile2"):
        write_tile(tmp_path / f"in/{name}.tif", np.ones((1, 8, 8), np.uint8), corner_xy=(int(name[-1], 36) * 1.6, 0))
    with rasterio.open(tmp_path / "in/a_map.tif", "r+") as file:
        file.update_tags(LANDWEAVE_MAP="1f" * 32)
    (tmp_path / "in/a_map.tif.aux.xml").write_text("<PAMDataset/>")
    (tmp_path / "in/out.zarr").mkdir()
    (tmp_path / "in/out.zarr/zarr.json").write_text("{}")
    (tmp_path / "in/out.zarr.lease").touch()
    source = (
        '<{0}><SourceFilename relativeToVRT="1">in/{1}.tif</SourceFilename><SourceBand>1</SourceBand>'
        '<SrcRect xOff="0" yOff="0" xSize="8" ySize="8"/><DstRect xOff="{2}" yOff="0" xSize="8" ySize="8"/></{0}>'
    )
    sources = "".join(source.format("SimpleSource", name, x) for x, name in enumerate(("tile1", "tile2", "a_map")))
    band = f'<VRTRasterBand dataType="Byte" band="1">{sources}</VRTRasterBand>'
    (tmp_path / "all.vrt").write_text(f'<VRTDataset rasterXSize="24" rasterYSize="8">{band}</VRTDataset>')
    return tmp_path


@pytest.mark.parametrize("pattern", ["in", "in/*.tif", "in/*", "in/**/*.tif", "all.vrt"])
def test_a_map_beside_tiles_is_none_of_them(beside_a_map, pattern):
    (product,) = products(beside_a_map, pattern)
    assert [path[-9:] for path in product.paths] == ["tile1.tif", "tile2.tif"]
    assert [path[-9:] for path in product.maps] == ["a_map.tif"]


def test_a_map_that_is_named_itself_is_meant(beside_a_map):
    (product,) = products(beside_a_map, "in/a_map.tif")
    assert (len(product.paths), product.maps) == (1, ())
    with pytest.raises(InputError, match=r"maps of this program alone, .*in/a_map\.tif the first: 0 tiles"):
        products(beside_a_map, "in/a_*.tif")
