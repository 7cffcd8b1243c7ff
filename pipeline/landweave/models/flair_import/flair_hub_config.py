"""FLAIR-HUB's training configuration as a card's content."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StrictBool, StrictFloat, StrictInt, model_validator

from landweave.core.modalities import SENTINEL1_BANDS, SENTINEL2_BANDS, is_radar
from landweave.models.flair_import.classes import legend_of
from landweave.models.flair_import.schema import (
    NUMERICS,
    WINDOWS,
    NoneIsEmpty,
    NormType,
    Text,
    TrainingConfig,
    TrainingSection,
)
from landweave.models.networks.flair_hub import MODALITY_ORDER

_BANDS: Mapping[str, tuple[str, ...]] = {
    "AERIAL_RGBI": ("R", "G", "B", "NIR"),
    "AERIAL-RLT_PAN": ("PAN",),
    "SPOT_RGBI": ("R", "G", "B", "NIR"),
    "SENTINEL2_TS": SENTINEL2_BANDS,
    "SENTINEL1-ASC_TS": SENTINEL1_BANDS,
    "SENTINEL1-DESC_TS": SENTINEL1_BANDS,
}
"""Bands of the dataset's files, from the first."""

_PIXEL = 0.2
_PIXELS = {
    "AERIAL-RLT_PAN": 0.4,
    "SPOT_RGBI": 1.6,
    **dict.fromkeys(("SENTINEL2_TS", "SENTINEL1-ASC_TS", "SENTINEL1-DESC_TS"), 10.24),
}
_SCALES = {"AERIAL_RGBI": "1/255", "AERIAL-RLT_PAN": "1/255", "SPOT_RGBI": "1/65535"}
"""Factors of ``scaling``: the largest value of the files' type becomes 1."""

_COMPOSITES = {"monthly": "month", "semi-monthly": "half-month"}
_FIXED = {
    "encoder_widths": [64, 64, 64, 128],
    "decoder_widths": [32, 32, 64, 128],
    "str_conv_k": 3,
    "str_conv_s": 1,
    "str_conv_p": 1,
    "agg_mode": "att_group",
    "encoder_norm": "group",
    "n_head": 16,
    "d_model": 256,
    "d_k": 4,
    "padding_mode": "reflect",
}
"""Settings of the only U-TAE that the networks here have."""

_OVERLAP_WITH_SERIES = 256


class _HubNormalization(TrainingSection):
    """Statistics are under ``NAME_means`` and ``NAME_stds``."""

    model_config = ConfigDict(extra="allow")
    norm_type: NormType | None = None

    @model_validator(mode="before")
    @classmethod
    def _lists_of_numbers(cls, section: Any) -> Any:
        for key, listed in section.items() if isinstance(section, Mapping) else ():
            wanted = str(key).endswith(("_means", "_stds")) and listed is not None
            if wanted and not (isinstance(listed, list) and all(type(each) in (int, float) for each in listed)):
                raise ValueError(f"{key} is {listed!r}, not a list of numbers")
        return section

    def statistics(self, name: str, kind: str) -> list[float]:
        """Return the ``means`` or ``stds`` of a modality, as listed."""
        return (self.model_extra or {}).get(f"{name}_{kind}") or []


class _HubPreProcessings(TrainingSection):
    filter_sentinel2: StrictBool | None = None
    filter_sentinel2_max_cloud: StrictFloat = 1
    filter_sentinel2_max_snow: StrictFloat = 1
    filter_sentinel2_max_frac_cover: StrictFloat = 0.05
    temporal_average_sentinel2: Literal["monthly", "semi-monthly", False] | None = None
    temporal_average_sentinel1: Literal["monthly", "semi-monthly", False] | None = None
    calc_elevation: StrictBool | None = None
    calc_elevation_stack_dsm: StrictBool | None = None
    use_metadata: StrictBool | None = None


class _HubModalities(TrainingSection):
    inputs: dict[str, StrictBool | None]
    inputs_channels: Annotated[dict[str, list[StrictInt] | None], NoneIsEmpty] = Field(default_factory=dict)
    pre_processings: Annotated[_HubPreProcessings, NoneIsEmpty] = _HubPreProcessings()
    normalization: Annotated[_HubNormalization, NoneIsEmpty] = _HubNormalization()


class _HubImageModel(TrainingSection):
    arch: str | None = None


class _HubSeriesModel(TrainingSection):
    model_config = ConfigDict(extra="allow")
    ref_date: str | None = None
    out_conv: list[StrictInt] | None = None


class _HubModels(TrainingSection):
    monotemp_model: Annotated[_HubImageModel, NoneIsEmpty] = _HubImageModel()
    multitemp_model: Annotated[_HubSeriesModel, NoneIsEmpty] = _HubSeriesModel()


class _HubClassWeights(TrainingSection):
    default: StrictFloat = 1
    default_exceptions: Annotated[dict[int, StrictFloat], NoneIsEmpty] = Field(default_factory=dict)


class _HubLabel(TrainingSection):
    value_name: Annotated[dict[int, Text], NoneIsEmpty] = Field(default_factory=dict)
    value_weights: Annotated[_HubClassWeights, NoneIsEmpty] = _HubClassWeights()

    def legend(self, name: str) -> str | dict[str, Any]:
        """Return the card's legend; classes without weight in the loss were not trained."""
        weights = self.value_weights
        weight_of = {code: weights.default_exceptions.get(code, weights.default) for code in self.value_name}
        return legend_of(name, self.value_name, {code for code, weight in weight_of.items() if not weight})


class FlairHubConfig(TrainingConfig):
    """Training configuration of FLAIR-HUB's tool."""

    modalities: _HubModalities
    models: Annotated[_HubModels, NoneIsEmpty] = _HubModels()
    labels: list[str] | None = None
    labels_configs: Annotated[dict[str, Annotated[_HubLabel, NoneIsEmpty]], NoneIsEmpty] = Field(default_factory=dict)

    def content(self) -> dict[str, Any]:
        """Return the content of a card, without its name and its weights."""
        return {
            "unverified": list(self._unverified()),
            "architecture": {"kind": "flair_hub", "encoder": self._architecture[0]},
            "inputs": {name: self._input(name) for name in self._inputs},
            "window": WINDOWS | ({"overlap": _OVERLAP_WITH_SERIES} if self._series else {}),
            "outputs": {
                name: {"legend": label.legend(name.lower()), "pixel": _PIXEL} for name, label in self._outputs.items()
            },
            "numerics": NUMERICS,
        }

    @property
    def _inputs(self) -> tuple[str, ...]:
        """Modalities that are on, in the order in which a network concatenates them."""
        return tuple(name for name in MODALITY_ORDER if self.modalities.inputs.get(name))

    @property
    def _series(self) -> tuple[str, ...]:
        return tuple(name for name in self._inputs if name.endswith("_TS"))

    @property
    def _images(self) -> tuple[str, ...]:
        return tuple(name for name in self._inputs if not name.endswith("_TS"))

    @property
    def _outputs(self) -> dict[str, _HubLabel]:
        return {name: self.labels_configs.get(name, _HubLabel()) for name in self.labels or ()}

    @property
    def _architecture(self) -> tuple[str, str]:
        """Encoder and decoder of images: the two words of ``swin_base_patch4_window12_384-upernet``."""
        encoder, _, decoder = (self.models.monotemp_model.arch or "").rpartition("-")
        return encoder, decoder

    @property
    def _norm_type(self) -> NormType | None:
        return self.modalities.normalization.norm_type

    def problems(self) -> Iterator[str]:
        """Yield what no network here has."""
        switched = self.modalities.inputs
        yield from (
            f"modality {name} is not known" for name in sorted(set(switched) - {*MODALITY_ORDER}) if switched[name]
        )
        if not self._inputs:
            yield "no modality is on (modalities.inputs)"
        unnamed = [name for name, label in self._outputs.items() if not label.value_name]
        yield from (f"labels_configs.{name}.value_name names no classes" for name in unnamed)
        if not self._outputs:
            yield "no label is learnt (labels)"
        if self._images and (self._architecture[1] != "upernet" or not self._architecture[0]):
            yield f"models.monotemp_model.arch is {self.models.monotemp_model.arch!r}, not ENCODER-upernet"
        if self._images and self._norm_type is None:
            yield "modalities.normalization.norm_type is not said: custom, scaling or without"
        if self._series:
            yield from self._series_problems()
        yield from (problem for name in self._inputs for problem in self._band_problems(name))
        if self.modalities.pre_processings.use_metadata:
            yield "modalities.pre_processings.use_metadata is on"

    def _series_problems(self) -> Iterator[str]:
        model = self.models.multitemp_model
        for key, wanted in _FIXED.items():
            found = (model.model_extra or {}).get(key)
            if found is not None and found != wanted:
                yield f"models.multitemp_model.{key} is {found}, not {wanted}"
        classes = sum(len(label.value_name) for label in self._outputs.values())
        widths = model.out_conv or [32, 19]
        # The tool adds the classes where the last width is another: 32, 19 becomes 32, 19, 23.
        built = widths if widths[-1] == classes else [*widths, classes]
        if built != ([32, 19] if classes == 19 else [32, 19, classes]):
            yield f"models.multitemp_model.out_conv is {widths}, not [32, 19]"

    def _band_problems(self, name: str) -> Iterator[str]:
        there, numbers = _BANDS.get(name), self._channels(name)
        if there and not (numbers and all(1 <= each <= len(there) for each in numbers)):
            yield f"modalities.inputs_channels.{name} is {numbers}; files have bands 1 to {len(there)}"
        elif name in self._images and self._norm_type == "custom":
            means, stds = (self.modalities.normalization.statistics(name, kind) for kind in ("means", "stds"))
            if min(len(means), len(stds)) < len(self._bands(name)):
                yield f"modalities.normalization.{name}_means and _stds are too few for {len(self._bands(name))} bands"

    def _channels(self, name: str) -> list[int]:
        """Return the numbers of the bands, from 1, as the tool reads them."""
        return self.modalities.inputs_channels.get(name) or list(range(1, len(_BANDS.get(name, ())) + 1))

    def _bands(self, name: str) -> tuple[str, ...]:
        """Return the names of the bands, in the order in which the network takes them."""
        if name != "DEM_ELEV":
            return tuple(_BANDS[name][number - 1] for number in self._channels(name))
        steps = self.modalities.pre_processings
        if not steps.calc_elevation:
            return "DSM", "DTM"
        return ("DSM", "NDSM") if steps.calc_elevation_stack_dsm else ("NDSM",)

    def _input(self, name: str) -> dict[str, Any]:
        content: dict[str, Any] = {
            "pixel": _PIXELS.get(name, _PIXEL),
            "bands": {band: self._band(name, index) for index, band in enumerate(self._bands(name))},
        }
        if name in self._series:
            content["dates"] = self._dates(name)
        if is_radar(name):
            content["quantity"] = "sigma0"
        return content

    def _band(self, name: str, index: int) -> dict[str, Any]:
        if name in self._series or self._norm_type == "without":
            return {}
        if self._norm_type == "scaling":
            return {"scale": _SCALES[name]} if name in _SCALES else {}
        normalization = self.modalities.normalization
        return {kind[:-1]: normalization.statistics(name, kind)[index] for kind in ("means", "stds")}

    def _dates(self, name: str) -> dict[str, Any]:
        steps = self.modalities.pre_processings
        content: dict[str, Any] = {"reference": self.models.multitemp_model.ref_date or "05-15"}
        optical = name == "SENTINEL2_TS"
        if optical and steps.filter_sentinel2:
            content["filter"] = {
                "min_clear_fraction": round(1 - steps.filter_sentinel2_max_frac_cover, 6),
                "cloud_max": steps.filter_sentinel2_max_cloud,
                "snow_max": steps.filter_sentinel2_max_snow,
            }
        average = steps.temporal_average_sentinel2 if optical else steps.temporal_average_sentinel1
        return content | ({"composite": _COMPOSITES[average]} if average else {})

    def _unverified(self) -> Iterator[str]:
        """Yield what the card takes on trust, each in a sentence."""
        for name in self._images:
            listed = len(self.modalities.normalization.statistics(name, "means"))
            if self._norm_type == "custom" and listed > len(self._bands(name)):
                yield (
                    f"{name}: {listed} means are listed for the bands {', '.join(self._bands(name))}; as the training "
                    f"tool does, the first ones were taken in order."
                )
        if self._norm_type == "scaling" and "DEM_ELEV" in self._images:
            yield "DEM_ELEV: metres are fed as they are; the training tool's scaling leaves float values alone."
