"""Configurations of the FLAIR tools' detections: what they map, and the training configurations that they imply.

FLAIR-HUB's is one of a zonal detection with several modalities; FLAIR-1's is one image (`flair1_detection`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Field, StrictBool, StrictFloat, StrictInt

from landweave.models.cards.outputs import named_legends
from landweave.models.flair_import.classes import same_name
from landweave.models.flair_import.flair_hub_config import FlairHubConfig
from landweave.models.flair_import.schema import NoneIsEmpty, NormType, Text, TrainingConfig, TrainingSection
from landweave.models.networks.flair_hub import MODALITY_ORDER

_KEYS = {"img_pixels_detection", "margin", "model_weights"}
"""Keys that every configuration of a detection has, and none of a training."""


NoneIsNothing = BeforeValidator(lambda value: [] if value is None else value)
"""Reads a list without content as an empty one."""


class _Normalization(TrainingSection):
    type: NormType = "custom"
    means: Annotated[list[StrictFloat], NoneIsNothing] = Field(default_factory=list)
    stds: Annotated[list[StrictFloat], NoneIsNothing] = Field(default_factory=list)


class ZonalInput(TrainingSection):
    """One modality: its file, the numbers of the bands that are read, and how they are normalised."""

    input_img_path: str | None = None
    channels: Annotated[list[StrictInt], NoneIsNothing] = Field(default_factory=list)
    normalization: Annotated[_Normalization, NoneIsEmpty] = _Normalization()
    calc_elevation: StrictBool | None = None
    calc_elevation_stack_dsm: StrictBool | None = None


class _ZonalModalities(TrainingSection):
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Annotated[ZonalInput, NoneIsEmpty]]
    inputs: dict[str, StrictBool | None]


class _ZonalTask(TrainingSection):
    name: str
    active: StrictBool = True
    class_names: dict[int, Text] = Field(min_length=1)

    @property
    def label(self) -> dict[str, Any]:
        """The classes as a training has them; those that a known legend of the same names has untrained weigh 0."""
        known = next((each for each in named_legends().values() if same_name(each.names, self.class_names)), None)
        untrained = [each.code for each in known.classes if not each.trained] if known else []
        return {"value_name": self.class_names, "value_weights": {"default_exceptions": dict.fromkeys(untrained, 0)}}


class Detection(TrainingSection):
    """What the detections of both tools say; keys that decide nothing here are ignored."""

    model_config = ConfigDict(protected_namespaces=())
    tool: ClassVar[str]
    card_schema: ClassVar[type[TrainingConfig]]
    output_path: str
    output_name: str
    output_type: Literal["argmax", "class_prob"] = "argmax"
    model_weights: str
    use_gpu: StrictBool = False
    batch_size: StrictInt | None = Field(default=None, gt=0)
    img_pixels_detection: StrictInt = Field(gt=0)
    margin: StrictInt = Field(ge=0)
    output_px_meters: StrictFloat | None = Field(default=None, gt=0)
    reference_modality_for_slicing: str | None = None

    @property
    def images(self) -> dict[str, ZonalInput]:
        """Modalities that are on, in the order of a network's inputs."""
        raise NotImplementedError

    @property
    def label_names(self) -> tuple[str, ...]:
        """Outputs that are mapped."""
        raise NotImplementedError

    @property
    def training(self) -> dict[str, Any]:
        """The keys of a training configuration that say the same of the network."""
        raise NotImplementedError

    def problems(self) -> Iterator[str]:
        """Yield what no run here has."""
        if 2 * self.margin >= self.img_pixels_detection:
            window = self.img_pixels_detection
            yield f"margin: {self.margin} on both sides leaves nothing of img_pixels_detection: {window}"

    def notes(self) -> Iterator[str]:
        """Yield what a reader has to decide."""
        yield from ()


class ZonalConfig(Detection):
    """Configuration of FLAIR-HUB's zonal detection."""

    tool = "FLAIR-HUB's zonal detection"
    card_schema = FlairHubConfig
    monotemp_arch: str | None = None
    modalities: _ZonalModalities
    tasks: list[_ZonalTask] = Field(min_length=1)

    @property
    def images(self) -> dict[str, ZonalInput]:
        """Modalities that are on, in the order of a network's inputs."""
        on = [name for name in MODALITY_ORDER if self.modalities.inputs.get(name)]
        return {name: self.modalities.__pydantic_extra__.get(name, ZonalInput()) for name in on}

    @property
    def _active_tasks(self) -> list[_ZonalTask]:
        return [task for task in self.tasks if task.active]

    @property
    def label_names(self) -> tuple[str, ...]:
        """Tasks that are active."""
        return tuple(task.name for task in self._active_tasks)

    def problems(self) -> Iterator[str]:
        """Yield what no run here has."""
        yield from super().problems()
        switched = [name for name, on in self.modalities.inputs.items() if on]
        yield from (f"modality {name} is not known" for name in switched if name not in MODALITY_ORDER)
        unnamed = [name for name, each in self.images.items() if not each.input_img_path]
        yield from (f"modalities.{name}.input_img_path names no file" for name in unnamed)
        for name in switched:
            if name.endswith("_TS"):
                yield (
                    f"{name} is one file of stacked dates (input_img_path, dates_txt), which is not read here: give "
                    f"the series as a STAC catalog or a cube, as configs/flair-hub/LC-L.yaml does"
                )
        kinds = {each.normalization.type for name, each in self.images.items() if not name.endswith("_TS")}
        if len(kinds) > 1:
            yield f"normalization.type differs between modalities: {', '.join(sorted(kinds))}"
        if not switched:
            yield "no modality is on (modalities.inputs)"
        if not self._active_tasks:
            yield "no task is active (tasks)"

    @property
    def training(self) -> dict[str, Any]:
        """The keys of a training configuration that say the same of the network."""
        images = self.images
        kinds = [each.normalization.type for each in images.values()]
        statistics = {
            f"{name}_{kind}": getattr(each.normalization, kind)
            for name, each in images.items()
            for kind in ("means", "stds")
        }
        elevation = images.get("DEM_ELEV")
        return {
            "modalities": {
                "inputs": self.modalities.inputs,
                "inputs_channels": {name: each.channels for name, each in images.items() if name != "DEM_ELEV"},
                "pre_processings": {
                    "calc_elevation": elevation and elevation.calc_elevation,
                    "calc_elevation_stack_dsm": elevation and elevation.calc_elevation_stack_dsm,
                },
                "normalization": {"norm_type": kinds[0], **statistics},
            },
            "models": {"monotemp_model": {"arch": self.monotemp_arch}},
            "labels": list(self.label_names),
            "labels_configs": {task.name: task.label for task in self._active_tasks},
        }


def is_detection(config: Mapping[str, Any]) -> bool:
    """Return whether keys and values are of a detection, FLAIR-HUB's or FLAIR-1's, and not of a training."""
    return set(config) >= _KEYS
