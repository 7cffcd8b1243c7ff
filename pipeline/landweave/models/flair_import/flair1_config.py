"""FLAIR-1's training configuration as a card's content."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import getmembers, isclass
from typing import Annotated, Any

from pydantic import ConfigDict, Field, StrictBool, StrictFloat, StrictInt
from torch import nn

from landweave.models._torchvision import smp
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

_AERIAL = ("R", "G", "B", "NIR")
HEIGHT = 5
"""Number of the band that holds height above ground, as a byte."""

LABEL = "AERIAL_LABEL"


class _OfTransformers(TrainingSection):
    org_model: str | None = None


class _OfSmp(TrainingSection):
    encoder_decoder: str | None = None


class _ModelFramework(TrainingSection):
    """Which library has the network, since June 2024: an encoder and a decoder, or a name of a hub."""

    model_config = ConfigDict(protected_namespaces=())
    model_provider: str
    HuggingFace: Annotated[_OfTransformers, NoneIsEmpty] = _OfTransformers()
    SegmentationModelsPytorch: Annotated[_OfSmp, NoneIsEmpty] = _OfSmp()


class Flair1Config(TrainingConfig):
    """Training configuration of FLAIR-1's tool: its network under ``model_framework``, or by keys of their own."""

    model_config = ConfigDict(protected_namespaces=())
    model_framework: _ModelFramework | None = None
    model_provider: str | None = "SegmentationModelsPytorch"
    model_architecture: str | None = "unet"
    encoder_name: str = ""
    use_metadata: StrictBool | None = None
    channels: list[StrictInt] = Field(min_length=1)
    use_weights: StrictBool | None = None
    classes: dict[int, tuple[StrictFloat, Text]] = Field(min_length=1)
    norm_type: NormType = "scaling"
    norm_means: list[StrictFloat] | None = None
    norm_stds: list[StrictFloat] | None = None

    def content(self) -> dict[str, Any]:
        """Return the content of a card, without its name and its weights."""
        smp_content = {"kind": "smp", "name": self._smp_class, "arguments": {"encoder_name": self._encoder}}
        return {
            "architecture": {"kind": "flair1", "metadata": True} if self.use_metadata else smp_content,
            "inputs": self._inputs(),
            "window": WINDOWS,
            "outputs": {LABEL: {"legend": self._legend(), "pixel": 0.2}},
            "numerics": NUMERICS,
        }

    def problems(self) -> Iterator[str]:
        """Yield what no network here has."""
        yield from self._network_problems()
        if self.use_metadata and self._architecture.lower() != "unet":
            yield "use_metadata goes with the architecture unet only"
        images = [each for each in self.channels if each != HEIGHT]
        repeated = len(set(self.channels)) < len(self.channels)
        if not images or repeated or any(not 1 <= each <= len(_AERIAL) for each in images):
            yield f"channels is {self.channels}: bands are numbered 1 to {HEIGHT}, each once"
        if HEIGHT in self.channels[1:-1]:
            yield f"channels is {self.channels}: band {HEIGHT} stands among the aerial ones, inputs are joined whole"
        fewest = min(len(self.norm_means or ()), len(self.norm_stds or ()))
        if self.norm_type == "custom" and fewest < len(self.channels):
            yield f"norm_means and norm_stds are too few for {len(self.channels)} channels"

    def _network_problems(self) -> Iterator[str]:
        framework = self.model_framework
        provider = framework.model_provider if framework else self.model_provider
        if provider != "SegmentationModelsPytorch":
            named = f" {framework.HuggingFace.org_model}" if framework and framework.HuggingFace.org_model else ""
            yield (
                f"model_provider is {provider}{named}: networks come from segmentation-models-pytorch. Export it with "
                f"torch.export, and write a card of architecture: {{kind: exported}}"
            )
        elif not self._encoder:
            yield "no encoder is named: model_framework.SegmentationModelsPytorch.encoder_decoder, as resnet34_unet"
        elif self._smp_class is None:
            yield f"the architecture {self._architecture!r} is not in segmentation-models-pytorch"

    @property
    def _network(self) -> tuple[str, str]:
        """Encoder and architecture: the two words of ``resnet34_unet``, or the keys of earlier versions."""
        if self.model_framework is None:
            return self.encoder_name, str(self.model_architecture)
        encoder, _, decoder = (self.model_framework.SegmentationModelsPytorch.encoder_decoder or "").rpartition("_")
        return encoder, decoder

    @property
    def _encoder(self) -> str:
        return self._network[0]

    @property
    def _architecture(self) -> str:
        return self._network[1]

    @property
    def _smp_class(self) -> str | None:
        """The class of segmentation-models-pytorch of that name, in any case."""
        wanted = self._architecture.lower()
        classes = (name for name, each in getmembers(smp, isclass) if issubclass(each, nn.Module))
        return next((name for name in classes if name.lower() == wanted), None)

    def _inputs(self) -> dict[str, Any]:
        """Return inputs in the order of their channels, which is the order in which they are concatenated."""
        inputs: dict[str, Any] = {}
        for index, number in enumerate(self.channels):
            band = self._band(index)
            if number == HEIGHT:
                inputs["DEM_ELEV"] = {"pixel": 0.2, "bands": {"NDSM": {**band, "coding": "unstated"}}}
            else:
                aerial = inputs.setdefault("AERIAL_RGBI", {"pixel": 0.2, "bands": {}})
                aerial["bands"][_AERIAL[number - 1]] = band
        return inputs

    def _band(self, index: int) -> dict[str, Any]:
        if self.norm_means and self.norm_stds and self.norm_type == "custom":
            return {"mean": self.norm_means[index], "std": self.norm_stds[index]}
        return {"scale": "1/255"} if self.norm_type == "scaling" else {}

    def _legend(self) -> str | dict[str, Any]:
        untrained = {code for code, (weight, _) in self.classes.items() if self.use_weights and not weight}
        return legend_of("flair1-own", {code: name for code, (_, name) in self.classes.items()}, untrained)
