"""FLAIR-HUB's training configuration as a card's content."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from landweave.core.errors import CardError
from landweave.core.modalities import SENTINEL2_BANDS
from landweave.models.flair_import.classes import legend_of
from landweave.models.flair_import.schema import FlairHubConfig, refuse_slips
from landweave.models.networks.flair_hub import MODALITIES

_BANDS: Mapping[str, tuple[str, ...]] = {
    "AERIAL_RGBI": ("R", "G", "B", "NIR"),
    "AERIAL-RLT_PAN": ("PAN",),
    "SPOT_RGBI": ("R", "G", "B", "NIR"),
    "SENTINEL2_TS": SENTINEL2_BANDS,
    "SENTINEL1-ASC_TS": ("VV", "VH"),
    "SENTINEL1-DESC_TS": ("VV", "VH"),
}
"""Bands of the dataset's files, from the first."""

_PIXELS = {"AERIAL-RLT_PAN": 0.4, "SPOT_RGBI": 1.6}
_SERIES_PIXEL = 10.24
_PIXEL = 0.2
_WHITE = {"AERIAL_RGBI": "1/255", "AERIAL-RLT_PAN": "1/255", "SPOT_RGBI": "1/65535"}
"""What ``scaling`` multiplies by: the largest value of the files' type becomes 1."""

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
"""The one shape of a U-TAE that the networks here have."""

WINDOW, OVERLAP, OVERLAP_WITH_SERIES = 512, 128, 256


def flair_hub_content(config: Mapping[str, Any]) -> dict[str, Any]:
    """Content of a card, but for its name and its weights.

    Raises
    ------
    CardError
        With everything that no network of ours is.
    """
    refuse_slips(FlairHubConfig, config)
    read = _Configuration(config)
    if problems := list(read.problems()):
        raise CardError(
            "The training configuration describes a network that cannot be built here:\n"
            + "\n".join(f"  - {each}" for each in problems)
        )
    overlap = OVERLAP_WITH_SERIES if read.series else OVERLAP
    return {
        "unverified": list(read.unverified()),
        "architecture": {"kind": "flair_hub", "encoder": read.encoder},
        "inputs": {name: read.input(name) for name in read.inputs},
        "window": {"size": WINDOW, "overlap": overlap, "blend": "cosine", "trained": [WINDOW], "multiple": 32},
        "outputs": {name: {"legend": read.legend(name), "pixel": _PIXEL} for name in read.tasks},
        "numerics": {"bfloat16": True, "batch": 4},
    }


@dataclass(frozen=True)
class _Configuration:
    """What the tool's configuration says, by question."""

    config: Mapping[str, Any]

    def at(self, *keys: str) -> Any:
        """The value under nested ``keys``; None where it is not."""
        found: Any = self.config
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        return found

    @property
    def inputs(self) -> tuple[str, ...]:
        """Modalities that are on, in the order in which a network joins them."""
        switched = self.at("modalities", "inputs") or {}
        return tuple(name for name in MODALITIES if switched.get(name))

    @property
    def series(self) -> tuple[str, ...]:
        """Those that have dates."""
        return tuple(name for name in self.inputs if MODALITIES[name].is_series)

    @property
    def images(self) -> tuple[str, ...]:
        """Those of a single date."""
        return tuple(name for name in self.inputs if not MODALITIES[name].is_series)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Labels that are learnt."""
        return tuple(self.at("labels") or ())

    @property
    def architecture(self) -> tuple[str, str]:
        """Encoder and decoder of images: the two words of ``swin_base_patch4_window12_384-upernet``."""
        encoder, _, decoder = str(self.at("models", "monotemp_model", "arch") or "").rpartition("-")
        return encoder, decoder

    @property
    def encoder(self) -> str:
        """Of images."""
        return self.architecture[0]

    def problems(self) -> Iterator[str]:
        """What no network of ours is."""
        unknown = sorted(set(self.at("modalities", "inputs") or {}) - set(MODALITIES))
        switched = [name for name in unknown if self.at("modalities", "inputs", name)]
        yield from (f"modality {name} is not known" for name in switched)
        if not self.inputs:
            yield "no modality is on (modalities.inputs)"
        yield from (f"labels_configs.{name}.value_name names no classes" for name in self.tasks if not self.names(name))
        if not self.tasks:
            yield "no label is learnt (labels)"
        if self.images and (self.architecture[1] != "upernet" or not self.encoder):
            yield f"models.monotemp_model.arch is {self.at('models', 'monotemp_model', 'arch')!r}, not ENCODER-upernet"
        if self.images and self.scaling is None:
            yield "modalities.normalization.norm_type is not said: custom, scaling or without"
        if self.series:
            yield from self._series_problems()
        yield from (problem for name in self.inputs for problem in self._band_problems(name))
        if self.at("modalities", "pre_processings", "use_metadata"):
            yield "modalities.pre_processings.use_metadata is on"

    def _series_problems(self) -> Iterator[str]:
        for key, wanted in _FIXED.items():
            found = self.at("models", "multitemp_model", key)
            if found is not None and found != wanted:
                yield f"models.multitemp_model.{key} is {found}, not {wanted}"
        classes = sum(len(self.names(name)) for name in self.tasks)
        widths = list(self.at("models", "multitemp_model", "out_conv") or [32, 19])
        # The tool adds the classes where the last width is another: 32, 19 becomes 32, 19, 23.
        built = widths if widths[-1] == classes else [*widths, classes]
        if built != ([32, 19] if classes == 19 else [32, 19, classes]):
            yield f"models.multitemp_model.out_conv is {widths}, not [32, 19]"

    def _band_problems(self, name: str) -> Iterator[str]:
        there = _BANDS.get(name)
        chosen = self.channels(name)
        if there and not (chosen and all(1 <= each <= len(there) for each in chosen)):
            yield f"modalities.inputs_channels.{name} is {chosen}; files have bands 1 to {len(there)}"
        elif name in self.images and self.scaling == "custom":
            means, stds = (self.statistics(name, kind) for kind in ("means", "stds"))
            if min(len(means), len(stds)) < len(self.bands(name)):
                yield f"modalities.normalization.{name}_means and _stds are too few for {len(self.bands(name))} bands"

    def channels(self, name: str) -> list[int]:
        """Numbers of the bands, from 1, as the tool reads them."""
        stated = self.at("modalities", "inputs_channels", name)
        return list(stated) if stated else list(range(1, len(_BANDS.get(name, ())) + 1))

    def bands(self, name: str) -> tuple[str, ...]:
        """Names of the bands, in the order in which the network takes them."""
        if name != "DEM_ELEV":
            return tuple(_BANDS[name][number - 1] for number in self.channels(name))
        if not self.at("modalities", "pre_processings", "calc_elevation"):
            return "DSM", "DTM"
        stacked = self.at("modalities", "pre_processings", "calc_elevation_stack_dsm")
        return ("DSM", "NDSM") if stacked else ("NDSM",)

    @property
    def scaling(self) -> str | None:
        """How values are normalised: ``custom``, ``scaling`` or ``without``; None where it is not said."""
        stated = self.at("modalities", "normalization", "norm_type")
        return None if stated is None else str(stated)

    def statistics(self, name: str, kind: str) -> Sequence[float]:
        """Means or standard deviations, as listed."""
        return self.at("modalities", "normalization", f"{name}_{kind}") or ()

    def input(self, name: str) -> dict[str, Any]:
        """What the card says of one input."""
        content: dict[str, Any] = {
            "pixel": _SERIES_PIXEL if name in self.series else _PIXELS.get(name, _PIXEL),
            "bands": {band: self._band(name, place) for place, band in enumerate(self.bands(name))},
        }
        if name in self.series:
            content["dates"] = self._dates(name)
        if name.startswith("SENTINEL1"):
            content["quantity"] = "sigma0"
        return content

    def _band(self, name: str, place: int) -> dict[str, Any]:
        if name in self.series or self.scaling == "without":
            return {}
        if self.scaling == "scaling":
            return {"scale": _WHITE[name]} if name in _WHITE else {}
        means, stds = self.statistics(name, "means"), self.statistics(name, "stds")
        return {"mean": means[place], "std": stds[place]}

    def _dates(self, name: str) -> dict[str, Any]:
        pre = self.at("modalities", "pre_processings") or {}
        content: dict[str, Any] = {"reference": str(self.at("models", "multitemp_model", "ref_date") or "05-15")}
        optical = name == "SENTINEL2_TS"
        if optical and pre.get("filter_sentinel2"):
            content["filter"] = {
                "min_clear_fraction": round(1 - float(pre.get("filter_sentinel2_max_frac_cover", 0.05)), 6),
                "cloud_max": pre.get("filter_sentinel2_max_cloud", 1),
                "snow_max": pre.get("filter_sentinel2_max_snow", 1),
            }
        average = pre.get("temporal_average_sentinel2" if optical else "temporal_average_sentinel1")
        return content | ({"composite": _COMPOSITES[average]} if average else {})

    def names(self, task: str) -> dict[int, str]:
        """Names of a label's classes, by code."""
        stated = self.at("labels_configs", task, "value_name") or {}
        return {int(code): str(name) for code, name in stated.items()}

    def legend(self, task: str) -> str | dict[str, Any]:
        """What the card says of a label's classes; those without weight in the loss were not trained."""
        weights = self.at("labels_configs", task, "value_weights") or {}
        default, exceptions = weights.get("default", 1), weights.get("default_exceptions") or {}
        untrained = {code for code in self.names(task) if not exceptions.get(code, default)}
        return legend_of(task.lower(), self.names(task), frozenset(untrained))

    def unverified(self) -> Iterator[str]:
        """What the card takes on trust, each in a sentence."""
        for name in self.images:
            listed = len(self.statistics(name, "means"))
            if self.scaling == "custom" and listed > len(self.bands(name)):
                yield (
                    f"{name}: {listed} means are listed for the bands {', '.join(self.bands(name))}; as the training "
                    f"tool does, the first ones were taken in order."
                )
        if self.scaling == "scaling" and "DEM_ELEV" in self.images:
            yield "DEM_ELEV: metres are fed as they are; the training tool's scaling leaves float values alone."
