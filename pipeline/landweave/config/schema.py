"""The sections of a configuration: which keys there are, what each means, and which values are allowed.

The text below each field is its description in the reference of keys.
"""

from __future__ import annotations

import math
from pathlib import Path, PurePath
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from landweave.config.problems import problem_lines
from landweave.core.blending import Blend
from landweave.core.crs import canonical_crs
from landweave.core.errors import ConfigError
from landweave.core.grid import Bounds, exact
from landweave.core.majority import LARGEST as LARGEST_MAJORITY
from landweave.core.modalities import ELEVATION_BANDS
from landweave.core.paths import from_home, meant_scheme
from landweave.core.plain import as_plain
from landweave.core.secrets import without_secrets
from landweave.core.tables import as_html, fact_rows
from landweave.core.words import bullets, counted

_LONGEST_NAME = 255
"""Bytes of a file's name, on every file system."""


def _rational(value: float | str) -> float | str:
    try:
        exact(value)
    except (ValueError, ZeroDivisionError):
        raise ValueError('write a number such as 0.2, or a fraction as text such as "1/3"') from None
    return value


def _positive(value: float | str) -> float | str:
    if exact(value) <= 0:
        raise ValueError("has to be more than 0")
    return value


def _crs(text: str) -> str:
    canonical_crs(text)  # a `ConfigError` is a `ValueError`
    return text


def _path_text(path: Any) -> Any:
    return str(path) if isinstance(path, PurePath) else path


def _nameable(path: str) -> str:
    encoded = path.encode(errors="ignore")
    longest = 0 if "://" in path else max(map(len, encoded.split(b"/")))
    if "\0" in path or encoded.decode() != path or longest > _LONGEST_NAME:
        raise ValueError("no file system takes such a name")
    if scheme := meant_scheme(path):
        raise ValueError(f"a URL begins with {scheme}://")
    return path


def _writable(path: str) -> str:
    scheme = path.partition("://")[0] if "://" in path else ""
    if scheme not in ("", "s3", "gs", "az") or path.startswith("/vsi"):
        raise ValueError("only a local file, or an object at s3://, gs:// or az://, can be written here")
    return path


def _png(path: str) -> str:
    if not path.lower().endswith(".png"):
        raise ValueError("the picture is a PNG: give it a name that ends in .png")
    return path


def _not_zero(value: float) -> float:
    if not value:
        raise ValueError("a scale of 0 makes all values one")
    return value


Number = Annotated[float | str, AfterValidator(_rational)]
"""A number, or a fraction written as text: ``0.2`` or ``"1/3"``."""

Metres = Annotated[Number, AfterValidator(_positive)]
"""Side of a pixel in metres."""

CrsText = Annotated[str, AfterValidator(_crs)]
"""A coordinate reference system, such as ``EPSG:2154``."""

FilePath = Annotated[str, BeforeValidator(_path_text), AfterValidator(_nameable)]
"""A path or a URL."""

WrittenFile = Annotated[FilePath, AfterValidator(_writable)]
PngFile = Annotated[WrittenFile, AfterValidator(_png)]

# They may hold secrets: a printed configuration shows their names only.
_NamesOnly = PlainSerializer(lambda options: dict.fromkeys(options, "***"), when_used="json")
StorageOptions = Annotated[dict[str, str | bool], _NamesOnly, Field(repr=False)]
"""Options of an object store, such as its region or endpoint."""

FileList = FilePath | tuple[FilePath, ...]
Resampling = Literal["nearest", "bilinear", "cubic"]
Quantity = Literal["sigma0", "gamma0_rtc"]
DateSpan = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d/\d{4}-\d\d-\d\d$")]
"""First and last day, both included: ``2021-01-01/2021-12-31``."""


class Section(BaseModel):
    """A part of the configuration: unknown keys are refused, values cannot change."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    def __repr__(self) -> str:
        return without_secrets(super().__repr__())


def known_keys(section: type[Section]) -> set[str]:
    """Keys of a section class and of every class that is made from it."""
    return set(section.model_fields).union(*map(known_keys, section.__subclasses__()))


class AreaSection(Section):
    """The area that is mapped: bounds, or the polygons of a vector file. Without this section, all the imagery."""

    bounds: Bounds | None = None
    """x0, y0, x1, y1 in the CRS of the grid."""
    file: FilePath | None = None
    """Vector file with polygons, in any CRS that it states: any format of GDAL, or a zip of one."""
    layer: str | None = None
    """Layer of the file; needed where it has several."""
    where: str | None = None
    """SQL filter (SQLite's) on the columns of the file, such as "code = '31'"; all features by default."""

    @model_validator(mode="after")
    def _bounds_or_file(self) -> AreaSection:
        if (self.bounds is None) == (self.file is None):
            raise ValueError("give either bounds or file")
        if self.file is None and (self.layer or self.where):
            raise ValueError("layer and where go with file")
        if self.bounds and not all(map(math.isfinite, self.bounds)):
            raise ValueError("bounds have to be finite numbers")
        if self.bounds and not (self.bounds[0] < self.bounds[2] and self.bounds[1] < self.bounds[3]):
            raise ValueError(f"bounds are x0, y0, x1, y1 with x0 < x1 and y0 < y1, not {list(self.bounds)}")
        return self


class GridSection(Section):
    """The pixel grid of the map: CRS, resolution and anchor."""

    crs: CrsText | None = None
    """CRS of the map, in metres."""
    resolution: Metres | None = None
    """Side of a pixel in metres; that of the model card by default."""
    anchor: tuple[Number, Number] = ("0", "0")
    """CRS coordinates (x, y) of a pixel corner."""
    own: str | None = None
    """Name of a mosaic whose own pixel grid is used, instead of crs, resolution and anchor."""

    @model_validator(mode="after")
    def _own_or_stated(self) -> GridSection:
        if (self.own is None) == (self.crs is None):
            raise ValueError("give either crs (and resolution), or own: NAME of the mosaic whose grid is used")
        if self.own and (self.resolution is not None or self.anchor != ("0", "0")):
            raise ValueError("own takes resolution and anchor from the mosaic: leave them out")
        return self


class CampaignYear(Section):
    """Civil year of a series, taken from the mosaic graph that comes with the aerial images."""

    file: FilePath
    """Vector file with the footprint of each aerial image."""
    column: str
    """Column with the date, or the year, of each image."""
    layer: str | None = None
    """Layer of the file; needed where it has several."""


class InputSection(Section):
    """One input of the model, by the name of its modality."""

    kind: str
    """Kind of the input."""
    accept_range: bool = False
    """Whether values far from those of the model's training are fed all the same."""

    has_dates: ClassVar[bool] = False
    """Whether the input, where it is read straight from its files, is a series."""

    @property
    def is_aligned(self) -> bool:
        """Whether `landweave align` writes the input into the cube: series always, rasters where they say so."""
        return self.has_dates or bool(self.stated("align"))

    @property
    def own_bands(self) -> tuple[str, ...]:
        """Bands that the section names; empty where the model card or the store says which."""
        return tuple(self.stated("bands") or ())

    def stated(self, key: str) -> Any:
        """The value of a key; None where it is left out, or this kind of input has no such key."""
        return getattr(self, key, None)


class MosaicBand(Section):
    """Files of one band of a mosaic."""

    files: FileList
    """File, folder, glob or VRT, or a list of them."""
    band: int = Field(default=1, ge=1)
    """Number of the band in each file, from 1."""


class TileSection(Section):
    """How the tiles of a mosaic are read."""

    crs: CrsText | None = None
    """CRS of tiles whose own CRS is missing, cannot be read or has no known datum."""
    nodata: float | None = None
    """Stored number that means no data, instead of the nodata tags of the files."""
    nodata_rule: Literal["any", "file", "every"] = "file"
    """Where a pixel is no data: file by file, where any band that the model needs holds a number that cannot be data
    (-9999, 65535) or all bands of the file hold one of 0 to 255, files of one band of a tile together; where any holds
    it; or only where every one does."""
    scale: Annotated[float, AfterValidator(_not_zero)] | None = Field(default=None, allow_inf_nan=False)
    """Values are stored number x scale + offset, instead of the tags of the files; 1 for stored numbers, -1 for a
    negative, with its number of black as offset."""
    offset: float | None = None
    """Added to the scaled numbers, instead of the tags of the files; 0 where only the scale is stated."""
    nodata_border: bool = False
    """Whether black pixels connected to the edge of a tile are no data, in any file; in one of a single band only where
    the tile's other files are black too."""
    nodata_border_level: float = Field(default=8, ge=0)
    """Brightest stored number of a pixel of the nodata border."""
    resampling: Resampling = "bilinear"
    """Kernel, used where tiles do not lie on the grid and have to be resampled."""
    order: Literal["name", "newest", "listed"] = "name"
    """Which tile wins where tiles overlap: the first by name, the newest by the date in names or tags, or the first
    listed."""
    nodes: Literal["corner", "centre"] = "corner"
    """Whether the origin in the file headers is the corner or the centre of the first pixel."""
    storage_options: StorageOptions = Field(default_factory=dict)
    """Options of the object store that holds the files, where they are at s3://, gs:// or az://."""
    checksums: bool | FilePath | None = None
    """Whether files are held against the checksums of lists beside them (SHA256SUMS, MD5SUMS, a.tif.md5), or the list
    that states them, each read whole for it, once by every worker; by default those of this machine, as one on the web
    or in an object store has to be fetched whole."""


class RasterSection(InputSection):
    """An input without dates, read from files."""

    resolution: Metres | None = None
    """Side of a pixel in metres in the cube; that of the model card by default."""
    align: bool = False
    """Whether the input is written into the cube too; it is read straight from its files otherwise."""


class MosaicInput(TileSection, RasterSection):
    """Aerial or satellite tiles; each band may come from files of its own."""

    kind: Literal["mosaic"]
    """Kind of the input."""
    bands: dict[str, MosaicBand] = Field(min_length=1)
    """Files of each band, by the band's name."""


class ElevationModel(MosaicBand, TileSection):
    """Files of one elevation model."""


class ElevationInput(RasterSection):
    """A surface and a terrain model, which give DSM, DTM and their difference NDSM in metres."""

    kind: Literal["elevation"]
    """Kind of the input."""
    accept_range: bool = False
    """Whether values far from those of the model's training are fed all the same, and with them heights beyond -500 to
    9,000 m, which no ground has and which are no data otherwise. State nodata where files hold -9999 without a tag."""
    dsm: ElevationModel
    """The surface model."""
    dtm: ElevationModel
    """The terrain model."""

    @property
    def own_bands(self) -> tuple[str, ...]:
        """DSM, DTM and NDSM."""
        return ELEVATION_BANDS


class CloudMask(Section):
    """What the pixel classes of a series (clear, cloud, snow, shadow) are read from."""

    source: Literal["scl", "probability"] = "scl"
    """The scene classification, or cloud and snow probabilities."""
    cloud_max: float = Field(default=1, ge=0, le=100)
    """Largest cloud probability of a clear pixel, 0 to 100."""
    snow_max: float = Field(default=1, ge=0, le=100)
    """Largest snow probability of a clear pixel, 0 to 100."""


class SeriesSection(InputSection):
    """An input that may have dates."""

    quantity: Quantity | None = None
    """Radar quantity of the scenes; that of the model card by default. Another one than the card's is accepted."""
    year: int | CampaignYear | None = None
    """Civil year of the dates that the model is fed, or the mosaic graph that gives it; all dates by default."""


class StacInput(SeriesSection):
    """A satellite series from a STAC catalog, API or item file."""

    has_dates: ClassVar[bool] = True

    kind: Literal["stac"]
    """Kind of the input."""
    catalog: FilePath
    """A catalog, collection or item file, or the address of an API."""
    collections: tuple[str, ...] = ()
    """Ids of the collections that are searched; all by default."""
    dates: DateSpan
    """First and last day, both included: 2021-01-01/2021-12-31."""
    bands: tuple[str, ...] | None = None
    """Bands in order; those of the model card by default."""
    resolution: Metres | None = None
    """Side of a pixel in metres; that of the model card by default."""
    orbit: Literal["ascending", "descending"] | None = None
    """Orbit state of the scenes; for Sentinel-1 that of the modality's name by default."""
    decibels: bool = False
    """Whether radar is given in decibels instead of linear power, whatever its files store."""
    stored_as: Literal["power", "decibels"] | None = None
    """What radar files store; decibels are made power. By default power, and what is named decibels is refused."""
    skip_items: tuple[str, ...] = ()
    """Ids of items that are left out, as those whose files are gone or wrong."""
    cloud_mask: CloudMask = CloudMask()
    """What the pixel classes are read from."""
    resampling: Resampling = "bilinear"
    """Kernel with which scenes are brought onto the grid."""
    checksums: bool | None = None
    """Whether files are held against the checksums that their items state, each read whole for it, once by every
    worker; by default those of this machine, as one on the web has to be fetched whole."""
    sign: Literal["planetary-computer"] | None = None
    """Service that signs file addresses when they are read."""
    storage_options: StorageOptions = Field(default_factory=dict)
    """Options of the object store that holds the files, where they are at s3://, gs:// or az://."""


class CubeInput(SeriesSection):
    """One modality of a cube that `landweave align` wrote."""

    kind: Literal["cube"]
    """Kind of the input."""
    store: FilePath
    """Path or URL of the cube."""
    storage_options: StorageOptions = Field(default_factory=dict)
    """Options of the object store that holds the cube."""
    dates: DateSpan | None = None
    """First and last day, both included; all dates by default."""


class PatchesInput(SeriesSection):
    """A satellite series as FLAIR-HUB publishes it: patches whose bands are dates."""

    has_dates: ClassVar[bool] = True

    kind: Literal["patches"]
    """Kind of the input."""
    files: FileList
    """Patches: file, folder or glob, or a list of them."""
    masks: FileList = ()
    """Their masks of snow and cloud probability."""
    dates_file: FilePath
    """GeoPackage with the dates of each patch: GLOBAL_ALL_MTD/GLOBAL_SENTINEL2_MTD_DATES.gpkg."""
    cloud_mask: CloudMask = CloudMask(source="probability")
    """Largest probabilities of a clear pixel."""


class SuperareaInput(SeriesSection):
    """A Sentinel-2 series as FLAIR#2 publishes it: one array of all dates over an area."""

    has_dates: ClassVar[bool] = True

    kind: Literal["superarea"]
    """Kind of the input."""
    values: FilePath
    """The array: SEN2_sp_D012_2019-Z1_AA_data.npy."""
    masks: FilePath
    """The array of snow and cloud probability: SEN2_sp_D012_2019-Z1_AA_masks.npy."""
    products: FilePath
    """The list of products, which has the dates: SEN2_sp_D012_2019-Z1_AA_products.txt."""
    centroids: FilePath
    """Where the centres of patches lie in the arrays: flair-2_centroids_sp_to_patch.json."""
    images: FileList
    """The aerial patches of the area, which place the arrays: files, a folder or a glob, or a list of them."""
    cloud_mask: CloudMask = CloudMask(source="probability")
    """Largest probabilities of a clear pixel."""

    @property
    def is_aligned(self) -> bool:
        """Never: the pixels of a cube begin at the anchor, and these beside it."""
        return False


Input = Annotated[
    MosaicInput | ElevationInput | StacInput | CubeInput | PatchesInput | SuperareaInput, Field(discriminator="kind")
]


class CubeSection(Section):
    """The cube that `landweave align` writes."""

    store: FilePath
    """Path or URL of the cube, a Zarr store."""
    storage_options: StorageOptions = Field(default_factory=dict)
    """Options of the object store that holds the cube."""
    tile: int = Field(default=1024, gt=0)
    """Side of a stored object, in pixels of each modality."""
    chunk: int = Field(default=128, gt=0)
    """Side of an inner chunk, in pixels of each modality."""
    time_shard: int = Field(default=32, gt=0)
    """Dates of a stored object; full objects are never rewritten."""
    margin_m: float = Field(default=512, ge=0)
    """Metres around the area that are aligned too, for windows that reach across its edge."""


class CodingSection(Section):
    """How heights were stored as bytes for training: clip(round(metres * scale + offset), 0, 255)."""

    scale: float = Field(gt=0, allow_inf_nan=False)
    """Bytes a metre."""
    offset: float = Field(default=0.0, allow_inf_nan=False)
    """Byte of a height of 0 m."""


class ModelSection(Section):
    """The model, its weights, and how it computes."""

    card: FilePath
    """Name of a model card, or path of one (.yaml)."""
    weights: FilePath | None = None
    """File or URL (s3://, gs://, az://) of the weights; that of the card by default."""
    sha256: str | None = None
    """Checksum that the weights must have; that of the card by default for the card's own weights."""
    output: str | None = None
    """Which output of the card is mapped; needed where it has several."""
    pixel: Metres | None = None
    """Side in metres of the pixels that the model is fed, where they are others than those of its training."""
    coding: CodingSection | Literal["delivered"] | None = None
    """How heights were stored as bytes for training; needed where the card leaves it open."""
    resize_tables: bool = False
    """Whether position tables are interpolated for windows that they do not fit, which makes another model."""
    keep_untrained: bool = False
    """Whether classes that the model was never trained on may appear in the map."""
    device: str = "auto"
    """Device of the workers: auto, cpu, cuda or cuda:0."""
    batch_size: int | None = Field(default=None, ge=1)
    """Windows in a batch; that of the card by default. Changes the last bits of the result."""
    torch_threads: int = Field(default=2, ge=1)
    """Threads of torch in a worker. Changes the last bits of the result, so it never depends on the machine."""
    bfloat16: bool = False
    """Whether to compute in bfloat16, where the device has it and the card allows it."""
    engine: Literal["eager", "compile", "onnxruntime", "openvino"] = "eager"
    """What runs the network on a CPU: torch as it is, compiled by it, or an exported graph (landweave[engines])."""


class WindowsSection(Section):
    """Windows of the model and their blending; those of the card by default."""

    size: int | None = Field(default=None, ge=1)
    """Side of a window in base pixels."""
    overlap: int | None = Field(default=None, ge=0)
    """Overlap of neighbouring windows in base pixels."""
    blend: Blend | None = None
    """Weight profile with which overlapping windows are blended."""


class OutputSection(Section):
    """The map that is written."""

    store: FilePath
    """Path or URL of the map, a Zarr store."""
    storage_options: StorageOptions = Field(default_factory=dict)
    """Options of the object store that holds the map, its COG and its picture."""
    resolution: Metres | None = None
    """Side of an output pixel in metres, a whole number of base pixels; the base pixel by default."""
    confidence: bool = True
    """Whether the probability of the mapped class is stored."""
    probability: bool = False
    """Whether the probabilities of all classes are stored."""
    block: int | None = None
    """Side of a block in output pixels, one stored object each; by default chosen by area, workers and memory, and so
    that at most 15 % of the windows are computed twice. A smaller side lets more workers share a small area: with 2048
    four of them map 16 Mpx in two thirds of the time, and compute 17 % more."""
    chunk: int = Field(default=512, gt=0)
    """Side of an inner chunk in output pixels."""
    shards: bool = True
    """Whether a block is stored as one object of many chunks, which GDAL reads from 3.13 on. False makes it one chunk,
    for QGIS of today: then give block a small side, as 1024."""
    cog: WrittenFile | None = None
    """Cloud-optimised GeoTIFF of the area, on disk or at a URL of an object store; an earlier one of this map is
    replaced, no other file."""
    picture: PngFile | None = None
    """PNG picture of the area, on disk or at a URL of an object store; an earlier one of this map is replaced, no other
    file."""


class SecuritySection(Section):
    """Certificates of a Dask cluster with TLS; those of Dask's own configuration by default."""

    ca: str
    """File of the authority that signed the certificates of scheduler and workers (PEM)."""
    cert: str
    """File of this client's certificate."""
    key: str
    """File of its private key."""


class ClusterSection(Section):
    """A Dask cluster that is started for a run, and ended after it."""

    kind: Literal["local", "local-gpus", "slurm", "pbs", "kubernetes", "gateway"]
    """What starts it: Dask itself, dask-cuda, dask-jobqueue, dask-kubernetes' operator, or dask-gateway."""
    min_workers: int = Field(default=0, ge=0)
    """Workers that are kept as long as the run goes on."""
    max_workers: int = Field(ge=1)
    """Workers at most; there are fewer where fewer blocks wait."""
    cores: int | None = Field(default=None, ge=1)
    """CPU cores of a worker; model.torch_threads by default. One that decodes JPEG 2000 beside a GPU wants more."""
    settings: Annotated[dict[str, Any], _NamesOnly] = Field(default_factory=dict, repr=False)
    """Arguments of the cluster's class: `queue` and `walltime` of a batch system, `image` of Kubernetes, …"""

    @model_validator(mode="after")
    def _limits_in_order(self) -> ClusterSection:
        if self.min_workers > self.max_workers:
            raise ValueError(f"min_workers {self.min_workers} is more than max_workers {self.max_workers}")
        return self


class ZonesSection(Section):
    """Zones whose hectares by class are counted: the polygons of a vector file."""

    file: FilePath
    """Vector file with polygons, in any CRS that it states: any format of GDAL, or a zip of one."""
    layer: str | None = None
    """Layer of the file; needed where it has several."""
    where: str | None = None
    """SQL filter (SQLite's) on the columns of the file, such as "code = '31'"; all features by default."""


class PublishSection(Section):
    """What the map is published as: files for each dalle of IGN's kilometre grid, and a catalog over them."""

    folder: FilePath
    """Folder or URL that is published to, empty at first."""
    storage_options: StorageOptions = Field(default_factory=dict)
    """Options of the object store that holds it."""
    dalle_m: int = Field(default=1000, gt=0)
    """Side of a dalle in metres, counted from the origin of the CRS."""
    name: str = "{x}_{y}"
    """Name of a dalle by its upper-left corner: in kilometres as 0770_6278, in metres where the side is not whole
    kilometres. Files are named by product and dalle: landcover_0770_6278.tif."""
    confidence: bool = True
    """Whether the probability of the class shown is published, where the map has it."""
    crosswalk: FilePath | None = None
    """Name of a crosswalk, or path of one (.yaml), to the classes of another legend; probabilities are summed where
    the map has them."""
    majority: int = Field(default=0, ge=0, le=LARGEST_MAJORITY)
    """Odd side in pixels of the majority filter that smooths classes, before the minimum mapping unit; 0 for none."""
    minimum_unit_m2: float | dict[str, float] = 0
    """Smallest patch in square metres, of all classes or by class name, where default is of all that are not named;
    smaller ones take the class of their surroundings."""
    polygons: bool = False
    """Whether the regions of each class are published as polygons too, in GeoParquet and GeoPackage."""
    simplify_m: float = Field(default=0.0, ge=0)
    """Bends of polygons are straightened whose triangle is smaller than the square of this side in metres; 0: none."""
    zones: ZonesSection | None = None
    """Communes, parcels or other zones whose hectares by class are published, as CSV and GeoParquet."""
    dates: DateSpan | None = None
    """First and last day of the imagery, for the catalog: 2021-06-01/2021-08-31; as names of files say by default."""

    @model_validator(mode="after")
    def _units_and_majority(self) -> PublishSection:
        if self.majority and (self.majority % 2 == 0 or self.majority == 1):
            raise ValueError("majority is an odd number of pixels from 3 on, or 0")
        units = self.minimum_unit_m2.values() if isinstance(self.minimum_unit_m2, dict) else [self.minimum_unit_m2]
        if not all(0 <= unit < math.inf for unit in units):
            raise ValueError("minimum_unit_m2 is an area in square metres, or one by class name")
        return self


class EngineSection(Section):
    """What runs the blocks."""

    kind: Literal["inline", "dask"] = "dask"
    """This process, or Dask workers."""
    workers: int | None = Field(default=None, ge=1)
    """Local worker processes; cores / torch_threads by default."""
    address: str | None = None
    """Address of a running Dask scheduler, instead of local workers."""
    memory_gib: float | None = Field(default=None, gt=0)
    """Memory of a worker in GiB; by default what running workers have, else an even share of this machine's."""
    patience: float | None = Field(default=None, gt=0)
    """Seconds to wait for a worker, at first or when all are lost; 60 for local workers, else no limit by default."""
    mixed_workers: bool = False
    """Whether workers may differ in CPU and library versions; the bits of a map then depend on which maps a block."""
    security: SecuritySection | None = None
    """Certificates of a scheduler with TLS (``tls://host:8786``)."""
    cluster: ClusterSection | None = None
    """A cluster that is started for the run, instead of local workers; `--cluster` names a file with it."""
    cost_per_hour: float | None = Field(default=None, ge=0)
    """Cost of one worker for an hour, in any currency: the plan then gives that of a run."""
    power_watts: float | None = Field(default=None, ge=0)
    """Power that one worker draws: the plan then gives the energy of a run."""

    @model_validator(mode="after")
    def _address_of_dask(self) -> EngineSection:
        if self.address is not None and self.kind != "dask":
            raise ValueError("an address goes with kind: dask")
        if self.cluster is None:
            return self
        if self.kind != "dask" or self.address is not None or self.workers is not None:
            raise ValueError("a cluster goes with kind: dask, and without address and workers")
        if self.security is not None and self.cluster.kind in ("kubernetes", "gateway"):
            raise ValueError(f"a cluster of kind {self.cluster.kind} has its own ways to TLS: leave out security")
        if self.memory_gib is None:
            raise ValueError("a cluster needs memory_gib: what a worker is given")
        return self


class CubeConfig(Section):
    """A configuration for `landweave.align`, which needs neither a model nor an output.

    Parameters
    ----------
    sections
        Sections by name, as mappings of plain values or as the classes of this module.

    Raises
    ------
    ConfigError
        With every problem, each with its key.
    """

    area: AreaSection | None = None
    """The area that is mapped; all the imagery by default."""
    grid: GridSection
    """The pixel grid of the map."""
    inputs: dict[str, Input] = Field(min_length=1)
    """Inputs by the name of their modality."""
    cube: CubeSection | None = None
    """The cube that `landweave align` writes, and a run reads."""
    model: ModelSection | None = None
    """The model, its weights, and how it computes."""
    windows: WindowsSection = WindowsSection()
    """Windows of the model and their blending."""
    output: OutputSection | None = None
    """The map that is written."""
    publish: PublishSection | None = None
    """What `landweave publish` makes of the map."""
    engine: EngineSection = EngineSection()
    """What runs the blocks."""
    root: Path = Field(default_factory=Path.cwd, exclude=True)
    """Folder that relative paths count from: that of the file, or the working directory."""

    def __init__(self, /, **sections: Any) -> None:
        try:
            super().__init__(**sections)
        except ValidationError as error:
            lines = problem_lines(error, known_keys(Section) - {"root"})
            problems = counted(len(lines), "problem")
            raise ConfigError(f"{problems} in the configuration:{bullets(lines)}") from None

    def path(self, text: str) -> str:
        """``text`` as a path from the configuration's folder; URLs stay as they are."""
        return text if "://" in text or text.startswith("/vsi") else str(self.root / from_home(text))

    def _given(self) -> dict[str, Any]:
        shown: dict[str, Any] = as_plain(self.model_dump(mode="json", exclude_unset=True))
        return shown

    def __str__(self) -> str:
        return yaml.safe_dump(self._given(), sort_keys=False, allow_unicode=True)

    def _repr_html_(self) -> str:
        return as_html([*fact_rows(self._given()), ("paths count from", str(self.root))])


class Config(CubeConfig):
    """A whole configuration: what `landweave.align` needs, and the model and the output of a map.

    Parameters
    ----------
    sections
        Sections by name (``grid``, ``inputs``, ``model``, ``output``, …), as mappings of plain values. ``root`` is the
        folder that relative paths count from: the working directory by default.

    Raises
    ------
    ConfigError
        With every problem, each with its key.

    Examples
    --------
    >>> Config(
    ...     grid={"crs": "EPSG:2154"},
    ...     inputs={"AERIAL_RGBI": {"kind": "mosaic", "bands": {"R": {"files": "rvb"}}}},
    ...     model={"card": "LC-A"},
    ...     output={"stor": "map.zarr"},
    ... )
    Traceback (most recent call last):
        ...
    landweave.core.errors.ConfigError: ...
    """

    model: ModelSection
    """The model, its weights, and how it computes."""
    output: OutputSection
    """The map that is written."""

    def __init__(self, /, **sections: Any) -> None:
        super().__init__(**sections)  # stated again for type checkers: sections may be plain mappings
