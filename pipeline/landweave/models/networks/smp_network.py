"""Networks of segmentation-models-pytorch as cards name them."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from torch import nn

from landweave.core.errors import CardError
from landweave.models._torchvision import smp

if TYPE_CHECKING:
    from landweave.models.cards.card import ModelCard
    from landweave.models.networks.architectures import SmpSettings


def build_smp(card: ModelCard, settings: SmpSettings) -> nn.Module:
    """Return the network that ``settings`` name, over the images of ``card``, with random weights.

    Parameters
    ----------
    card
        Gives the number of channels and classes.
    settings
        The architecture's class and its arguments.

    Raises
    ------
    CardError
        When the library has no such architecture, or refuses the arguments.
    """
    architecture = getattr(smp, settings.name, None)
    if not (isinstance(architecture, type) and issubclass(architecture, nn.Module)):
        raise CardError(
            f"Model {card.name} names the architecture {settings.name!r}, which "
            f"segmentation-models-pytorch {smp.__version__} does not have; Unet is one."
        )
    # What the architecture does not know goes to its encoder, and encoders that are not timm's drop it in silence.
    unknown = sorted(set(settings.arguments) - set(inspect.signature(architecture).parameters))
    if unknown and not str(settings.arguments.get("encoder_name")).startswith("tu-"):
        raise CardError(f"Model {card.name} gives {settings.name} arguments it has not: {', '.join(unknown)}.")
    sizes = {"in_channels": card.image_channels, "classes": len(card.legend())}
    try:
        network: nn.Module = architecture(encoder_weights=None, **sizes, **settings.arguments)
    except (TypeError, ValueError, KeyError, RuntimeError) as error:
        raise CardError(f"Model {card.name} cannot be built as {settings.name}: {error}") from error
    return network
