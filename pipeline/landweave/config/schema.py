"""A run's configuration: YAML that cannot be misspelt, with every path taken from the file's own folder."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from landweave.core.blending import Blend
from landweave.core.errors import ConfigError
from landweave.core.grid import Bounds, exact


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


Number = Annotated[float | str, AfterValidator(_rational)]
"""A number, or a fraction written as text: ``0.2`` or ``"1/3"``."""

Metres = Annotated[Number, AfterValidator(_positive)]
"""Side of a pixel."""


def _local(path: str) -> str:
    if "://" in path:
        raise ValueError("it is written to a local file")
    return path


def _png(path: str) -> str:
    if not path.lower().endswith(".png"):
        raise ValueError("it is a PNG: let its name end in .png")
    return path


LocalFile = Annotated[str, AfterValidator(_local)]
Picture = Annotated[LocalFile, AfterValidator(_png)]

Quantity = Literal["sigma0", "gamma0_rtc"]

_DATES = r"^\d{4}-\d\d-\d\d/\d{4}-\d\d-\d\d$"


class Section(BaseModel):
    """A part of the configuration: unknown keys are refused, values cannot change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Area(Section):
    """What is mapped: bounds in the grid's CRS, or the polygons of a vector file; neither: all the imagery."""

    bounds: Bounds | None = None
    file: str | None = None
    layer: str | None = None
    where: str | None = Field(default=None, description="SQL filter on the file's columns, such as \"code = '31'\"")

    @model_validator(mode="after")
    def _one_of_them(self) -> Area:
        if (self.bounds is None) == (self.file is None):
            raise ValueError("give either bounds or file")
        if self.file is None and (self.layer or self.where):
            raise ValueError("layer and where go with file")
        if self.bounds and not all(map(math.isfinite, self.bounds)):
            raise ValueError("bounds have to be finite numbers")
        if self.bounds and not (self.bounds[0] < self.bounds[2] and self.bounds[1] < self.bounds[3]):
            raise ValueError("bounds are x0, y0, x1, y1 with x0 < x1 and y0 < y1")
        return self


class GridSection(Section):
    """The pixels of the map: a CRS, a resolution, and where pixels are counted from."""

    crs: str | None = None
    resolution: Metres | None = Field(default=None, description="metres; the card's pixel by default")
    anchor: tuple[Number, Number] = Field(default=("0", "0"), description="CRS coordinates of a pixel corner")
    own: str | None = Field(default=None, description="map on this mosaic's own pixels instead")

    @model_validator(mode="after")
    def _own_or_stated(self) -> GridSection:
        if (self.own is None) == (self.crs is None):
            raise ValueError("give either crs (and resolution), or own: NAME of the mosaic whose grid is used")
        if self.own and (self.resolution is not None or self.anchor != ("0", "0")):
            raise ValueError("own takes resolution and anchor from the mosaic: leave them out")
        return self


class Files(Section):
    """Files of one band: a path, folder or glob, or several; and which band of them."""

    files: str | tuple[str, ...]
    band: int = Field(default=1, ge=1)


class Delivery(Section):
    """How tiles of one delivery are read."""

    crs: str | None = Field(default=None, description="used where a tile's own CRS is missing or cannot be read")
    nodata: float | None = Field(default=None, description="value without data, instead of the files' own tag")
    nodata_border: bool = Field(default=False, description="black pixels connected to a tile's edge are no data")
    nodata_border_level: float = Field(default=8, ge=0, description="brightest value of a pixel of that border")
    resampling: Literal["nearest", "bilinear", "cubic"] = "bilinear"
    order: Literal["name", "listed"] = Field(default="name", description="which tile wins where tiles overlap")
    nodes: Literal["corner", "centre"] = Field(default="corner", description="what the origin in the headers names")


class MosaicInput(Delivery):
    """Aerial or satellite tiles; each band may come from files of its own."""

    kind: Literal["mosaic"]
    bands: dict[str, Files] = Field(min_length=1)
    resolution: Metres | None = Field(default=None, description="metres in the cube; the card's pixel by default")
    align: bool = Field(default=False, description="kept in the cube too; read straight from its files otherwise")


class ElevationInput(Section):
    """A surface and a terrain model; gives DSM, DTM and their difference NDSM."""

    class Model(Delivery):
        """One elevation model."""

        files: str | tuple[str, ...]
        band: int = Field(default=1, ge=1)

    kind: Literal["elevation"]
    dsm: Model
    dtm: Model
    resolution: Metres | None = Field(default=None, description="metres in the cube; the card's pixel by default")
    align: bool = Field(default=False, description="kept in the cube too; read straight from its files otherwise")


class CloudMask(Section):
    """What the pixel classes of a series (clear, cloud, snow, shadow) are read from."""

    source: Literal["scl", "probability"] = Field(
        default="scl", description="the scene classification, or cloud and snow probabilities"
    )
    cloud_max: float = Field(default=1, ge=0, le=100, description="largest probability of a clear pixel")
    snow_max: float = Field(default=1, ge=0, le=100)


class CampaignYear(Section):
    """The civil year of a series, told by the mosaic graph that comes with the aerial images."""

    file: str
    column: str = Field(description="with the date, or the year, of each image")
    layer: str | None = None


class StacInput(Section):
    """Dates of a satellite from a STAC catalog, API or item file, brought onto the grid."""

    kind: Literal["stac"]
    catalog: str = Field(description="a catalog, collection or item file, or the address of an API")
    collections: tuple[str, ...] = ()
    dates: str = Field(pattern=_DATES, description="first and last day, both taken")
    bands: tuple[str, ...] | None = Field(default=None, description="the card's by default")
    resolution: Metres | None = Field(default=None, description="metres; the card's pixel by default")
    orbit: Literal["ascending", "descending"] | None = None
    quantity: Quantity | None = Field(
        default=None, description="what is wanted of radar scenes; the card's by default, which another one overrules"
    )
    decibels: bool = False
    cloud_mask: CloudMask = CloudMask()
    resampling: Literal["nearest", "bilinear", "cubic"] = "bilinear"
    sign: Literal["planetary-computer"] | None = Field(default=None, description="who signs addresses, when read")
    year: int | CampaignYear | None = Field(
        default=None, description="civil year of the dates that the model is given, or who tells it"
    )


class CubeInput(Section):
    """One modality of a cube that `align` made."""

    kind: Literal["cube"]
    store: str
    storage_options: dict[str, str | bool] = Field(default_factory=dict, description="of the object store")
    dates: str | None = Field(
        default=None, pattern=_DATES, description="first and last day, both taken; all by default"
    )
    quantity: Quantity | None = Field(default=None, description="what the radar holds, where the card wants another")
    year: int | CampaignYear | None = Field(
        default=None, description="civil year of the dates that the model is given, or who tells it"
    )


Input = Annotated[MosaicInput | ElevationInput | StacInput | CubeInput, Field(discriminator="kind")]
INPUT_KINDS = ("mosaic", "elevation", "stac", "cube")


class CubeSection(Section):
    """Where `align` keeps what it brought onto the grid, and how it is cut."""

    store: str
    storage_options: dict[str, str | bool] = Field(default_factory=dict, description="of the object store")
    tile: int = Field(default=1024, gt=0, description="pixels a side of a stored object, of each modality's own pixel")
    chunk: int = Field(default=128, gt=0, description="pixels a side of an inner chunk")
    time_shard: int = Field(default=32, gt=0, description="dates of a stored object; full ones are never written again")
    margin_m: float = Field(default=512, ge=0, description="ground kept around the area, for windows across its edge")


class Coding(Section):
    """How metres became a byte: ``clip(round(metres * scale + offset), 0, 255)``."""

    scale: float
    offset: float = 0.0


class ModelSection(Section):
    """Which model answers, with which weights, and how it computes."""

    card: str
    weights: str | None = None
    sha256: str | None = None
    output: str | None = Field(default=None, description="which of the card's outputs; the first by default")
    pixel: Metres | None = Field(
        default=None, description="feed pixels of this size although the card was trained on others"
    )
    coding: Coding | Literal["delivered"] | None = Field(default=None, description="how heights became bytes")
    resize_tables: bool = Field(
        default=False, description="allow windows that position tables do not fit: they are interpolated, another model"
    )
    keep_untrained: bool = False
    device: str = "auto"
    batch_size: int | None = Field(default=None, ge=1)
    torch_threads: int = Field(
        default=2, ge=1, description="part of the result's bits, so never derived from the machine"
    )
    bfloat16: bool = Field(default=False, description="on a GPU, when the card allows it")


class Windows(Section):
    """How windows lie and blend; the card's own by default."""

    size: int | None = Field(default=None, ge=1)
    overlap: int | None = Field(default=None, ge=0)
    blend: Blend | None = None


class Output(Section):
    """Where the map goes and what it holds."""

    store: str
    storage_options: dict[str, str | bool] = Field(
        default_factory=dict, description="of the object store: endpoint, region, …"
    )
    resolution: Metres | None = None
    confidence: bool = True
    probability: bool = False
    block: int | None = Field(default=None, description="output pixels a side of a block, one object each")
    chunk: int = Field(default=512, gt=0, description="output pixels a side of an inner chunk")
    cog: LocalFile | None = None
    picture: Picture | None = None


class EngineSection(Section):
    """Who runs the blocks."""

    kind: Literal["inline", "dask"] = "dask"
    workers: int | None = Field(
        default=None, ge=1, description="local worker processes; cores / torch_threads by default"
    )
    address: str | None = Field(default=None, description="a running scheduler instead of local workers")
    memory_gib: float | None = Field(
        default=None, gt=0, description="a worker's memory; an even share of this machine's by default"
    )

    @model_validator(mode="after")
    def _address_of_dask(self) -> EngineSection:
        if self.address is not None and self.kind != "dask":
            raise ValueError("an address goes with kind: dask")
        return self


class CubeConfig(Section):
    """What `align` needs of a configuration; `root` is the folder its paths count from."""

    area: Area | None = None
    grid: GridSection
    inputs: dict[str, Input] = Field(min_length=1)
    cube: CubeSection | None = None
    model: ModelSection | None = None
    windows: Windows = Windows()
    output: Output | None = None
    engine: EngineSection = EngineSection()
    root: Path = Field(default=Path(), exclude=True)

    def path(self, text: str) -> str:
        """``text`` as a path from the configuration's folder; URLs stay as they are."""
        return text if "://" in text or text.startswith("/vsi") else str(self.root / Path(text).expanduser())


class Config(CubeConfig):
    """A whole configuration: what `align` needs, and the model and the output of a map."""

    model: ModelSection
    output: Output


def load_config(path: str | Path, *, overrides: Mapping[str, Any] | None = None) -> Config:
    """The configuration in a YAML file.

    Parameters
    ----------
    path
        The file; relative paths in it count from its folder.
    overrides
        Values by dotted key, such as ``{"output.store": "out.zarr"}``, that replace the file's.

    Raises
    ------
    ConfigError
        With every problem found, each with its key and what would be right.
    """
    return parse_config(_content(Path(path)), root=Path(path).parent, overrides=overrides, origin=str(path))


def load_cube_config(path: str | Path, *, overrides: Mapping[str, Any] | None = None) -> CubeConfig:
    """What `align` needs of the configuration in a YAML file: it may have no model and no output.

    Otherwise as `load_config`.
    """
    content = _content(Path(path))
    return _parsed(CubeConfig, content, root=Path(path).parent, overrides=overrides, origin=str(path))


def parse_config(
    content: Mapping[str, Any],
    *,
    root: Path,
    overrides: Mapping[str, Any] | None = None,
    origin: str = "The configuration",
) -> Config:
    """The configuration in a mapping, for notebooks; ``root`` is the folder its paths count from."""
    return _parsed(Config, content, root=root, overrides=overrides, origin=origin)


C = TypeVar("C", bound=CubeConfig)


def _parsed(
    kind: type[C], content: Mapping[str, Any], *, root: Path, overrides: Mapping[str, Any] | None, origin: str
) -> C:
    merged = _overridden(dict(content), overrides or {})
    try:
        return kind(**{**merged, "root": root.absolute()})
    except ValidationError as error:
        lines = [_problem(problem) for problem in error.errors()]
        raise ConfigError(
            f"{origin} has {len(lines)} problem(s):\n" + "\n".join(f"- {line}" for line in lines)
        ) from None


def _content(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"Configuration {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"Configuration {path} is not UTF-8 text: byte {error.object[error.start]:#x} at position {error.start}. "
            "Save it as UTF-8."
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"Configuration {path} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"Configuration {path} holds {type(content).__name__}, not keys and values.")
    return content


def _overridden(content: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    for dotted, value in overrides.items():
        *parents, last = dotted.split(".")
        section = content
        for parent in parents:
            inner = section.get(parent) or {}
            if not isinstance(inner, Mapping):
                raise ConfigError(f"{dotted} cannot be set: {parent} is {inner!r}, which has no keys of its own.")
            section[parent] = dict(inner)
            section = section[parent]
        section[last] = value
    return content


def _problem(problem: Any) -> str:
    place = ".".join(str(part) for part in problem["loc"] if part not in INPUT_KINDS)
    if problem["type"] == "extra_forbidden":
        key = str(problem["loc"][-1])
        # A key that is known elsewhere is no better here for that.
        close = difflib.get_close_matches(key, [known for known in _all_keys() if known != key], n=1)
        return f"{place}: unknown key" + (f"; did you mean {close[0]!r}?" if close else ".")
    if problem["type"] == "union_tag_not_found":
        return f"{place}.kind: give one of {', '.join(INPUT_KINDS)}."
    if problem["type"] == "union_tag_invalid":
        given = str(problem["ctx"]["tag"])
        close = difflib.get_close_matches(given, INPUT_KINDS, n=1)
        return f"{place}.kind: {given!r} is none of {', '.join(INPUT_KINDS)}" + (
            f"; did you mean {close[0]!r}?" if close else "."
        )
    return f"{place or 'the whole'}: {problem['msg']} (got {problem['input']!r:.80})"


def _all_keys() -> Iterable[str]:
    sections = (Config, Area, GridSection, Files, MosaicInput, ElevationInput, ElevationInput.Model, StacInput)
    more = (CampaignYear, CloudMask, CubeInput, CubeSection, Coding, ModelSection, Windows, Output, EngineSection)
    return sorted({key for part in (*sections, *more) for key in part.model_fields} - {"root"})
