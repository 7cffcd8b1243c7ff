"""Kinds of network that a card may ask for, each with its settings; `landweave.models.factory` makes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from landweave.models.cards.inputs import CardPart


def _refuse_taken(arguments: Mapping[str, Any]) -> None:
    if taken := {"in_channels", "classes", "encoder_weights"} & set(arguments):
        raise ValueError(f"{', '.join(sorted(taken))}: follows from the inputs, the legend and the weights")


class SmpArchitecture(CardPart):
    """A network of segmentation-models-pytorch; inputs are joined on channels, in the card's order.

    ``arguments`` go to its class; ``in_channels``, ``classes`` and ``encoder_weights`` follow from the card.
    """

    kind: Literal["smp"]
    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _free(self) -> SmpArchitecture:
        _refuse_taken(self.arguments)
        return self


class ExportedArchitecture(CardPart):
    """A program of `torch.export` (``.pt2``, weights inside): joined inputs ``(n, channel, y, x)`` to logits."""

    kind: Literal["exported"]


class FlairHubArchitecture(CardPart):
    """A network of FLAIR-HUB over the card's inputs and outputs.

    With ``resize_tables``, weights of another window are interpolated where they depend on it: another model than the
    one that was trained.
    """

    kind: Literal["flair_hub"]
    encoder: str = "swin_base_patch4_window12_384"
    resize_tables: bool = False


class Flair1Architecture(CardPart):
    """The U-Net of FLAIR#1, with or without the network for its acquisition metadata."""

    kind: Literal["flair1"]
    metadata: bool = False


class Flair2Architecture(CardPart):
    """U-T&T of FLAIR#2, with or without the network for its acquisition metadata."""

    kind: Literal["flair2"]
    metadata: bool = True


class SeriesShape(CardPart):
    """The U-TAE of every series of a fused network.

    Attributes
    ----------
    widths
        Channels of its stages, from the finest to the deepest.
    heads, model_width
        Of the attention over dates.
    answer
        Channels of the map that joins the encoder.
    """

    widths: tuple[int, ...] = (32, 32)
    heads: int = 4
    model_width: int = 64
    answer: int = Field(default=32, gt=0)


class UnetUtaeArchitecture(CardPart):
    """A network of segmentation-models-pytorch whose encoder ``stages`` are joined with a U-TAE for each series.

    ``name`` and ``arguments`` as for ``smp``; inputs without dates are joined on channels, in the card's order.
    """

    kind: Literal["unet_utae"]
    name: str = "Unet"
    arguments: dict[str, Any] = Field(default_factory=dict)
    stages: tuple[int, ...] = (3, 4, 5)
    series: SeriesShape = SeriesShape()

    @model_validator(mode="after")
    def _free(self) -> UnetUtaeArchitecture:
        _refuse_taken(self.arguments)
        return self


Architecture = Annotated[
    SmpArchitecture
    | ExportedArchitecture
    | FlairHubArchitecture
    | Flair1Architecture
    | Flair2Architecture
    | UnetUtaeArchitecture,
    Field(discriminator="kind"),
]
"""What a card's `architecture` may be."""
