"""A card's network as a program of `torch.export`: one file with its weights, that needs none of this code to run."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from landweave.core.errors import CardError, WeightsError
from landweave.models.cards.card import ModelCard, Weights, WindowRule
from landweave.models.exported import load_exported
from landweave.models.factory import load
from landweave.models.networks.architectures import ExportedArchitecture
from landweave.models.weights import file_sha256


def export_program(
    card: ModelCard,
    weights: Path,
    path: Path,
    *,
    task: str | None = None,
    window: int | None = None,
    batch_size: int | None = None,
) -> ModelCard:
    """Write the network of ``card`` with its weights to ``path`` (``.pt2``), and give the card of that program.

    The program takes one float32 tensor ``(batch, band, y, x)``, the inputs normalised and joined on bands in the
    card's order, and gives logits ``(batch, class, y, x)``. Its sizes are fixed.

    Parameters
    ----------
    card, weights
        The network.
    path
        A new file.
    task
        Which output, where the card has several.
    window, batch_size
        Base pixels a side, and windows in every call; the card's by default.

    Raises
    ------
    CardError
        When the model does not allow it: it reads time series, several pixel sizes or metadata, or holds an operation
        that a program cannot.
    WeightsError
        When the weights do not fit.
    """
    task, window, batch = card.task(task), window or card.window.size, batch_size or card.numerics.batch
    _check(card, path)
    network = _OneTensor(load(card, window, weights, batch_size=batch), card, task)
    example = torch.zeros(batch, sum(network.bands), window, window)
    try:
        with torch.no_grad():
            torch.export.save(torch.export.export(network.eval(), (example,)), path)
        load_exported(path)
    except (WeightsError, RuntimeError, ValueError, TypeError, AssertionError) as error:
        path.unlink(missing_ok=True)
        raise CardError(f"Model {card.name} cannot be made a program of torch.export: {error}") from error
    return _program_card(card, task, path, window, batch)


class _OneTensor(nn.Module):
    """A network called with one tensor: its inputs joined on bands, in the card's order."""

    def __init__(self, network: nn.Module, card: ModelCard, task: str) -> None:
        super().__init__()
        self.network = network
        self.names = tuple(card.inputs)
        self.bands = [len(spec.bands) for spec in card.inputs.values()]
        self.task = task

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(b, class, y, x)``, as high and wide as ``x (b, band, y, x)``."""
        parts = torch.split(x, self.bands, dim=1)
        answers = self.network(dict(zip(self.names, parts, strict=True)), (x.shape[-2], x.shape[-1]))
        logits: Tensor = answers[self.task]
        return logits


def _check(card: ModelCard, path: Path) -> None:
    reasons = [
        *(["it is one already"] if isinstance(card.architecture, ExportedArchitecture) else ()),
        *(["it reads metadata beside its images"] if getattr(card.architecture, "metadata", False) else ()),
        *(f"{name} is a time series" for name, spec in card.inputs.items() if spec.dates is not None),
        *(
            f"{name} has pixels of {float(spec.pixel):g} m, the output {float(card.base_pixel):g}"
            for name, spec in card.inputs.items()
            if spec.dates is None and (spec.pixel != card.base_pixel or spec.footprint.size is not None)
        ),
    ]
    if reasons:
        raise CardError(
            f"Model {card.name} cannot be made a program of torch.export, which takes one tensor of images:\n"
            + "\n".join(f"  - {each}" for each in reasons)
        )
    if path.suffix != ".pt2":
        raise CardError(f"A program goes to a file ending in .pt2, not {path.name}.")
    if path.exists():
        raise CardError(f"Program {path} is there already: name another file, or remove it.")


def _program_card(card: ModelCard, task: str, path: Path, window: int, batch: int) -> ModelCard:
    return card.model_copy(
        update={
            "name": path.stem,
            "title": f"{card.title}, as a program",
            "architecture": ExportedArchitecture(kind="exported"),
            "weights": Weights(file=path.name, sha256=file_sha256(path)),
            "window": WindowRule(
                size=window,
                overlap=card.window.overlap * window // card.window.size // card.unit_px * card.unit_px,
                blend=card.window.blend,
                multiple=card.window.multiple,
            ),
            "outputs": {task: card.outputs[task]},
            "numerics": card.numerics.model_copy(update={"batch": batch}),
        }
    )
