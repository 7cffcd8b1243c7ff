"""Kinds of network that a card may name, each with its settings and how it is built from a card.

``summary`` is the architecture and encoder, with the version of the library that has them. ``build(card, window)``
returns the network of a card, which gives the inputs and outputs, for windows of ``window`` base pixels (already
checked), with random weights; it raises `CardError` when the libraries have no such network. Networks are imported
inside the methods: cards are read without torch.
"""

from __future__ import annotations

import inspect
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from landweave.core.errors import CardError
from landweave.models.cards.inputs import CardPart

if TYPE_CHECKING:
    from torch import nn

    from landweave.models.cards.card import ModelCard
    from landweave.models.networks.flair1 import FlairSpec


class SmpSettings(CardPart):
    """An architecture of segmentation-models-pytorch and the arguments of its class.

    ``in_channels``, ``classes`` and ``encoder_weights`` follow from the card and cannot be given.
    """

    kind: str  # first, as in the checksums of cards
    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)

    @field_validator("arguments")
    @classmethod
    def _refuse_derived(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        if derived := {"in_channels", "classes", "encoder_weights"} & set(arguments):
            raise ValueError(f"{', '.join(sorted(derived))}: follows from the inputs, the legend and the weights")
        return arguments

    @property
    def summary(self) -> str:
        """Architecture and encoder, with the version of the library."""
        library = "segmentation-models-pytorch"
        return f"{self.name} with {self.arguments.get('encoder_name', 'resnet34')} ({library} {version(library)})"

    def smp_network(self, card: ModelCard) -> nn.Module:
        """Return the library's network over the images of ``card``, with random weights.

        Raises
        ------
        CardError
            When the library has no such architecture, or refuses the arguments.
        """
        from torch import nn

        from landweave.models._torchvision import smp

        architecture = getattr(smp, self.name, None)
        if not (isinstance(architecture, type) and issubclass(architecture, nn.Module)):
            raise CardError(
                f"Model {card.name} names the architecture {self.name!r}, which "
                f"segmentation-models-pytorch {smp.__version__} does not have; Unet is one."
            )
        # What the architecture does not know goes to its encoder, and encoders that are not timm's drop it in silence.
        unknown = sorted(set(self.arguments) - set(inspect.signature(architecture).parameters))
        if unknown and not str(self.arguments.get("encoder_name")).startswith("tu-"):
            raise CardError(f"Model {card.name} gives {self.name} arguments it has not: {', '.join(unknown)}.")
        sizes = {"in_channels": card.image_channels, "classes": card.outputs[card.output_name()].channels}
        try:
            network: nn.Module = architecture(encoder_weights=None, **sizes, **self.arguments)
        except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RuntimeError) as error:
            raise CardError(f"Model {card.name} cannot be built as {self.name}: {error}") from error
        if any(tensor.numel() == 0 for tensor in network.parameters()):
            raise CardError(f"Model {card.name} has a layer without channels: correct its architecture.arguments.")
        return network


class SmpArchitecture(SmpSettings):
    """A network of segmentation-models-pytorch; inputs are concatenated on channels, in the card's order."""

    kind: Literal["smp"]

    def build(self, card: ModelCard, window: int) -> nn.Module:
        """Return the network of ``card``, with random weights."""
        from landweave.models.networks._layers import StackedInputs

        return StackedInputs(self.smp_network(card), tuple(card.inputs), card.output_name())


class ExportedArchitecture(CardPart):
    """A program of `torch.export` (``.pt2``, weights inside): stacked inputs ``(n, channel, y, x)`` to logits."""

    summary: ClassVar[str] = "program of torch.export"
    kind: Literal["exported"]

    def build(self, card: ModelCard, window: int) -> nn.Module:
        """Raise `CardError`: `landweave.models.factory.load` reads the network from its file."""
        raise CardError(f"Model {card.name} is a program of torch.export: it is loaded from its .pt2 file, not built.")


class FlairHubArchitecture(CardPart):
    """A network of FLAIR-HUB over the card's inputs and outputs.

    With ``resize_tables``, weights of another window are interpolated where they depend on it: another model than the
    one that was trained.
    """

    kind: Literal["flair_hub"]
    encoder: str = "swin_base_patch4_window12_384"
    resize_tables: bool = False

    @property
    def summary(self) -> str:
        """Architecture and encoder, with the version of the library."""
        return f"FLAIR-HUB: UPerNet with {self.encoder} (timm {version('timm')})"

    def build(self, card: ModelCard, window: int) -> nn.Module:
        """Return the network of ``card``, with random weights."""
        from landweave.models.networks.flair_hub import FlairHub, FlairHubSpec, Modality

        modalities = tuple(
            Modality(
                name=name,
                channels=len(spec.bands),
                window=card.input_size(name, window),
                scale=spec.pixel / card.base_pixel,
            )
            for name, spec in card.inputs.items()
        )
        classes = {name: output.channels for name, output in card.outputs.items()}
        return FlairHub(FlairHubSpec(modalities=modalities, classes=classes, encoder=self.encoder))


def _flair_spec(card: ModelCard, metadata: bool) -> FlairSpec:
    from landweave.models.networks.flair1 import FlairSpec

    return FlairSpec(
        images=tuple(card.images),
        channels=card.image_channels,
        classes=card.outputs[card.output_name()].channels,
        metadata=metadata,
        output=card.output_name(),
    )


class Flair1Architecture(CardPart):
    """The U-Net of FLAIR#1, with or without the branch for its acquisition metadata."""

    summary: ClassVar[str] = "U-Net with ResNet-34"
    kind: Literal["flair1"]
    metadata: bool = False

    def build(self, card: ModelCard, window: int) -> nn.Module:
        """Return the network of ``card``, with random weights."""
        from landweave.models.networks.flair1 import Flair1

        return Flair1(_flair_spec(card, self.metadata))


class Flair2Architecture(CardPart):
    """U-T&T of FLAIR#2, with or without the branch for its acquisition metadata."""

    summary: ClassVar[str] = "U-T&T"
    kind: Literal["flair2"]
    metadata: bool = True

    def build(self, card: ModelCard, window: int) -> nn.Module:
        """Return the network of ``card``, with random weights."""
        from landweave.models.networks.flair2 import Flair2

        return Flair2(_flair_spec(card, self.metadata))


class SeriesBranch(CardPart):
    """The U-TAE of every series of a U-Net with series.

    Attributes
    ----------
    widths
        Channels of its stages, from the finest to the deepest.
    heads, model_width
        Of the attention over dates.
    map_width
        Channels of the map that is added to the encoder.
    """

    widths: tuple[Annotated[int, Field(gt=0)], ...] = (32, 32)
    heads: int = Field(default=4, gt=0)
    model_width: int = Field(default=64, gt=0)
    map_width: int = Field(default=32, gt=0)


class UnetUtaeArchitecture(SmpSettings):
    """A network of segmentation-models-pytorch whose encoder ``stages`` are summed with a U-TAE for each series.

    ``name`` and ``arguments`` as for ``smp``; inputs without dates are concatenated on channels, in the card's order.
    """

    kind: Literal["unet_utae"]
    name: str = "Unet"
    stages: tuple[Annotated[int, Field(ge=0)], ...] = (3, 4, 5)
    series: SeriesBranch = SeriesBranch()

    def build(self, card: ModelCard, window: int) -> nn.Module:
        """Return the network of ``card``, with random weights."""
        from landweave.models.networks.unet_utae import UnetUtae, UnetUtaeSpec
        from landweave.models.networks.utae import UtaeSpec

        branch = self.series
        series = {
            name: UtaeSpec(
                channels=len(spec.bands),
                encoder_widths=branch.widths,
                decoder_widths=branch.widths,
                score_widths=(branch.map_width,),
                heads=branch.heads,
                model_width=branch.model_width,
            )
            for name, spec in card.series.items()
        }
        spec = UnetUtaeSpec(images=tuple(card.images), series=series, stages=self.stages, output=card.output_name())
        return UnetUtae(self.smp_network(card), spec)


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
