"""What kinds of value a training configuration may hold, key by key: a slip is told by its place.

Keys that no card needs are left alone, and values are read elsewhere, from the configuration itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, ValidationError

from landweave.core.errors import CardError

_Text = Annotated[str, BeforeValidator(lambda value: value if isinstance(value, str) else str(value))]
_Normalisation = Literal["custom", "scaling", "without"]
_Average = Literal["monthly", "semi-monthly", False] | None


def _statistics(section: Any) -> Any:
    """A section whose keys that end in ``_means`` and ``_stds`` list numbers."""
    for key, listed in section.items() if isinstance(section, Mapping) else ():
        wanted = str(key).endswith(("_means", "_stds")) and listed is not None
        if wanted and not (isinstance(listed, list) and all(_is_number(each) for each in listed)):
            raise ValueError(f"{key} is {listed!r}, not a list of numbers")
    return section


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class _Section(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Normalization(_Section):
    norm_type: _Normalisation | None = None


class _PreProcessings(_Section):
    filter_sentinel2: StrictBool | None = None
    filter_sentinel2_max_cloud: StrictFloat = 1
    filter_sentinel2_max_snow: StrictFloat = 1
    filter_sentinel2_max_frac_cover: StrictFloat = 0.05
    temporal_average_sentinel2: _Average = None
    temporal_average_sentinel1: _Average = None
    calc_elevation: StrictBool | None = None
    calc_elevation_stack_dsm: StrictBool | None = None
    use_metadata: StrictBool | None = None


class _Modalities(_Section):
    inputs: dict[str, StrictBool | None]
    inputs_channels: dict[str, list[StrictInt] | None] | None = None
    pre_processings: _PreProcessings | None = None
    normalization: Annotated[_Normalization, BeforeValidator(_statistics)] | None = None


class _Series(_Section):
    ref_date: str | None = None
    out_conv: list[StrictInt] | None = None


class _Models(_Section):
    multitemp_model: _Series | None = None


class _Weights(_Section):
    default: StrictFloat = 1
    default_exceptions: dict[int, StrictFloat] | None = None


class _Label(_Section):
    value_name: dict[int, _Text] | None = None
    value_weights: _Weights | None = None


class FlairHubConfig(_Section):
    """Of FLAIR-HUB's tool."""

    modalities: _Modalities
    models: _Models | None = None
    labels: list[str] | None = None
    labels_configs: dict[str, _Label | None] | None = None


class Flair1Config(_Section):
    """Of FLAIR-1's."""

    model_provider: str | None = None
    model_architecture: str | None = None
    encoder_name: str
    use_metadata: StrictBool | None = None
    channels: list[StrictInt] = Field(min_length=1)
    use_weights: StrictBool | None = None
    classes: dict[int, tuple[StrictFloat, _Text]] = Field(min_length=1)
    norm_type: _Normalisation = "scaling"
    norm_means: list[StrictFloat] | None = None
    norm_stds: list[StrictFloat] | None = None


def refuse_slips(kind: type[FlairHubConfig | Flair1Config], config: Mapping[str, Any]) -> None:
    """Refuse values of another kind than the tool's own.

    Raises
    ------
    CardError
        With every one of them, by its place.
    """
    try:
        kind.model_validate(config)
    except ValidationError as error:
        slips = dict.fromkeys(f"  - {'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise CardError("The training configuration says what its tool would not take:\n" + "\n".join(slips)) from error
