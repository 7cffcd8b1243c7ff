"""Export of models for other software: a STAC item, a program of `torch.export`, an ONNX file."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from landweave.core.errors import CardError, ConfigError, WeightsError
from landweave.core.grid import Bounds
from landweave.core.whole_files import part_folder
from landweave.core.words import bullets
from landweave.models.cards.card import ModelCard, WeightsFile
from landweave.models.cards.registry import card_content, find_card, write_card, write_new
from landweave.models.checksums import file_sha256
from landweave.models.exported import load_exported
from landweave.models.factory import load
from landweave.models.networks.architectures import ExportedArchitecture
from landweave.models.onnx_export import export_onnx, onnx_problems
from landweave.models.stac import export_stac


def export_model(
    name: str | Path,
    *,
    stac: str | Path | None = None,
    program: str | Path | None = None,
    onnx: str | Path | None = None,
    weights: str | Path | None = None,
    bounds: Bounds | None = None,
) -> list[Path]:
    """Write a STAC item, a program of `torch.export` with a card beside it, or an ONNX file, and return their paths.

    Parameters
    ----------
    name
        Of a card, or the path of one.
    stac, program, onnx
        New files: the item (``.json``), the program (``.pt2``), the network for QGIS's plugin Deepness (``.onnx``).
    weights
        Their file; the card's by default. All but the item need them.
    bounds
        West, south, east and north in degrees of the area that the model is meant for.

    Returns
    -------
    list of pathlib.Path
        The program, its card, the ONNX file, the item.

    Raises
    ------
    ConfigError
        When no file is named, or a program without weights.
    CardError
        When the model does not allow it, or a file exists already or cannot be written.
    """
    card = find_card(name)
    file = weights or card.weights.file
    if stac is None and program is None and onnx is None:
        raise ConfigError("Nothing to export: name the file of a STAC item, of a program, or of ONNX.")
    if (program is not None or onnx is not None) and file is None:
        raise ConfigError(f"A program holds the weights of {card.name}: give their file.")
    programs = [Path(program), Path(program).with_suffix(".yaml")] if program is not None else []
    graphs = [Path(onnx)] if onnx is not None else []
    items = [Path(stac)] if stac is not None else []
    _refuse_occupied([*programs, *graphs, *items])
    for path in graphs:
        _check_onnx(card, path)
    if programs and file is not None:
        made = export_program(card, Path(file), programs[0])
        try:
            write_card(card_content(made), programs[1])
        except CardError:
            programs[0].unlink()  # of no use without its card
            raise
    for path in graphs:
        export_onnx(card, Path(str(file)), path)
    for path in items:
        item = export_stac(card, weights=Path(file) if file else None, bounds=bounds)
        write_new(path, json.dumps(item, indent=2, ensure_ascii=False) + "\n")
    return programs + graphs + items


def _refuse_occupied(paths: Sequence[Path]) -> None:
    """Refuse files that are there already, links to nothing too, and one file that is named twice."""
    for path in paths:
        if os.path.lexists(path):
            raise CardError(f"{path} is there already: name another file, or remove it.")
    if len({path.absolute() for path in paths}) < len(paths):
        raise ConfigError(f"{paths[-1]} is named twice: a program has its card beside it, name other files.")


def export_program(card: ModelCard, weights: Path, path: Path) -> ModelCard:
    """Write the network of ``card`` with its weights to ``path`` (``.pt2``), and return the card of that program.

    The program takes one float32 tensor ``(batch, band, y, x)``, the inputs normalised and concatenated on bands in the
    card's order, and returns logits ``(batch, class, y, x)``. Its sizes are fixed: the card's window and batch.

    Parameters
    ----------
    card, weights
        The network.
    path
        A new file.

    Raises
    ------
    CardError
        When the model does not allow it: it reads time series, several pixel sizes or metadata, has several outputs,
        or an operation that a program cannot have.
    WeightsError
        When the weights do not fit.
    """
    _check_exportable(card, path)
    window, batch = card.window.size, card.numerics.batch
    network = _SplitInputs(load(card, window, weights, batch_size=batch), card)
    example = torch.zeros(batch, card.image_channels, window, window)
    try:
        with torch.no_grad(), part_folder(path) as folder:
            written = folder / path.name
            torch.export.save(torch.export.export(network.eval(), (example,)), written)
            load_exported(written)
            _refuse_occupied([path])  # an export takes minutes
            written.replace(path)
    except (WeightsError, RuntimeError, ValueError, TypeError, AssertionError) as error:
        if isinstance(error, CardError):
            raise
        raise CardError(f"Model {card.name} cannot be made a program of torch.export: {error}") from error
    except OSError as error:
        raise CardError(f"{path} cannot be written: {error.strerror or error}.") from error
    return _program_card(card, path)


def _check_onnx(card: ModelCard, path: Path) -> None:
    if reasons := onnx_problems(card):
        raise CardError(
            f"Model {card.name} cannot be made an ONNX file for Deepness, which reads one raster layer:"
            + bullets(reasons)
        )
    if path.suffix != ".onnx":
        raise CardError(f"ONNX goes to a file ending in .onnx, not {path.name}.")


class _SplitInputs(nn.Module):
    """A network called with one tensor, which is split into its inputs in the card's order."""

    def __init__(self, network: nn.Module, card: ModelCard) -> None:
        super().__init__()
        self.network = network
        self.names = tuple(card.inputs)
        self.bands = [len(spec.bands) for spec in card.inputs.values()]
        self.output = card.output_name()

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``(b, class, y, x)``, as high and wide as ``x (b, band, y, x)``."""
        parts = torch.split(x, self.bands, dim=1)
        outputs = self.network(dict(zip(self.names, parts, strict=True)), (x.shape[-2], x.shape[-1]))
        return cast(Tensor, outputs[self.output])


def _check_exportable(card: ModelCard, path: Path) -> None:
    reasons = [
        *(["it is one already"] if isinstance(card.architecture, ExportedArchitecture) else ()),
        *(["it reads metadata beside its images"] if card.reads_metadata else ()),
        *(f"{name} is a time series" for name in card.series),
        *(
            f"{name} has pixels of {float(spec.pixel):g} m, the output {float(card.base_pixel):g}"
            for name, spec in card.images.items()
            if spec.pixel != card.base_pixel or spec.centred_size is not None
        ),
    ]
    if reasons:
        raise CardError(
            f"Model {card.name} cannot be made a program of torch.export, which takes one tensor of images:"
            + bullets(reasons)
        )
    if path.suffix != ".pt2":
        raise CardError(f"A program goes to a file ending in .pt2, not {path.name}.")
    _refuse_occupied([path])


def _program_card(card: ModelCard, path: Path) -> ModelCard:
    window = card.window.model_copy(update={"trained": (card.window.size,), "min_untrained_size": None})
    return card.model_copy(
        update={
            "name": path.stem,
            "title": f"{card.title}, as a program",
            "architecture": ExportedArchitecture(kind="exported"),
            "weights": WeightsFile(file=path.name, sha256=file_sha256(path)),
            "window": window,
        }
    )
