"""Export of a network as ONNX, with what QGIS's plugin Deepness reads of it.

Deepness cuts tiles from one raster layer, divides its numbers by 255, subtracts ``standardization_mean`` and divides by
``standardization_std``, and takes the largest channel; a single one counts from ``seg_thresh`` on. So a card's
normalisation is in the metadata, and where it is more than that (a height coded as a byte) it is in the graph.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from landweave.core.errors import CardError, WeightsError
from landweave.core.whole_files import part_folder
from landweave.models.cards.card import ModelCard
from landweave.models.cards.inputs import HeightCoding
from landweave.models.factory import load
from landweave.models.inference import Normalisation, output_probabilities
from landweave.models.networks.architectures import ExportedArchitecture
from landweave.models.onnx_graph import export_graph

TOLERANCE = 1e-4
"""Largest difference of a probability between the network and its ONNX file."""

_IR = 8
"""Of the file: the onnxruntime of 2023, which QGIS often has, reads no newer one."""

_WHITE = 255.0
"""What Deepness divides the numbers of any raster by."""


def onnx_problems(card: ModelCard) -> list[str]:
    """Why Deepness cannot run a card, a phrase each; empty where it can."""
    inputs = card.inputs
    return [
        *(["it is a program already: export the card that it was made of"] if _is_program(card) else ()),
        *(["it reads metadata beside its images"] if card.reads_metadata else ()),
        *([f"it reads {len(inputs)} inputs, {', '.join(inputs)}, and a layer is one"] if len(inputs) > 1 else ()),
        *(f"{name} is a time series" for name in card.series),
        *([f"it has {len(card.outputs)} outputs, {', '.join(card.outputs)}"] if len(card.outputs) > 1 else ()),
        *(f"{name} leaves the byte coding of {band} open" for name, spec in inputs.items() for band in spec.unstated),
        *(
            f"{name} has pixels of {float(spec.pixel):g} m, the output {float(card.base_pixel):g}"
            for name, spec in card.images.items()
            if spec.pixel != card.base_pixel or spec.centred_size is not None
        ),
    ]


def export_onnx(card: ModelCard, weights: Path, path: Path) -> None:
    """Write the network of ``card`` to a new file, once onnxruntime gives what the network gives.

    The graph takes one float32 tensor ``(1, band, y, x)`` of the card's window, standardised as its metadata say, and
    returns probabilities ``(1, class, y, x)``: 0 for classes that the model was not trained on; of a card with a
    threshold one channel, that of the second class.

    Parameters
    ----------
    card, weights
        The network; `onnx_problems` has none of it.
    path
        Ending in ``.onnx``.

    Raises
    ------
    CardError
        When an operation has no form in ONNX, results differ, the libraries are missing, or it cannot be written.
    WeightsError
        When the weights do not fit.
    """
    onnx, _ = _libraries()
    window = card.window.size
    network = _Standalone(load(card, window, weights, batch_size=1), card).eval()
    example = torch.rand(1, card.image_channels, window, window, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad(), part_folder(path) as folder:
            graph = export_graph(network, (example,), ["image"], output_names=["probabilities"])
            written = folder / path.name
            onnx.save(_with_metadata(graph, network, card), written)
            onnx.checker.check_model(str(written))
            _compare(written, network, example)
            written.replace(path)
    except (CardError, WeightsError):
        raise
    except OSError as error:
        raise CardError(f"{path} cannot be written: {error.strerror or error}.") from error
    except Exception as error:  # the exporter and onnxruntime have classes of their own, which share no other base
        raise CardError(f"Model {card.name} cannot be made an ONNX file: {error}") from error


class _Standalone(nn.Module):
    """A network with probabilities, and with the part of its normalisation that metadata cannot say."""

    def __init__(self, network: nn.Module, card: ModelCard) -> None:
        super().__init__()
        ((self.name, spec),) = card.inputs.items()
        self.network, self.output_name = network, card.output_name()
        self.output = card.outputs[self.output_name]
        codes = any(isinstance(band.coding, HeightCoding) for band in spec.bands.values())
        self.normalise = Normalisation(spec, torch.device("cpu")) if codes else None
        statistics = [(0.0, 1.0) if codes else band.statistics for band in spec.bands.values()]
        scale = 1.0 if codes else _WHITE
        self.mean, self.std = ([each[part] / scale for each in statistics] for part in (0, 1))
        self.trained: Tensor
        self.register_buffer("trained", torch.tensor(self.output.legend.trained)[:, None, None].float())

    def forward(self, x: Tensor) -> Tensor:
        """Return probabilities ``(1, class, y, x)`` of ``x (1, band, y, x)``."""
        if self.normalise is not None:
            x = self.normalise(x * _WHITE, torch.ones_like(x[:, 0], dtype=torch.bool))
        values = self.network({self.name: x}, (x.shape[-2], x.shape[-1]))[self.output_name]
        probabilities = output_probabilities(values, self.output)
        return probabilities * self.trained if self.output.threshold is None else probabilities[:, 1:]


def _with_metadata(model: Any, network: _Standalone, card: ModelCard) -> Any:
    """The ONNX model with the metadata of Deepness, each as JSON, and nothing that older runtimes do not know."""
    rule, output = card.window, network.output
    stated = {
        "model_type": "Segmentor",
        "class_names": {str(channel): each.name for channel, each in enumerate(output.legend.classes)},
        "resolution": float(card.base_pixel * 100),  # centimetres
        "tile_size": rule.size,
        "tiles_overlap": -(-100 * rule.overlap // rule.size),  # per cent
        "standardization_mean": network.mean,
        "standardization_std": network.std,
        "seg_thresh": output.threshold or 0.0,
        "seg_small_segment": 0,
        # Of Landweave: what no key of Deepness says.
        "landweave_model": card.name,
        "landweave_card_sha256": card.sha256,
        "landweave_bands": [*next(iter(card.inputs.values())).names],
        "landweave_class_codes": list(output.legend.codes),
        "license": card.licence,
    }
    model.ir_version = _IR
    for node in model.graph.node:
        del node.metadata_props[:]
    del model.metadata_props[:]
    for key, value in stated.items():
        model.metadata_props.add(key=key, value=json.dumps(value, ensure_ascii=False))
    return model


def _compare(path: Path, network: nn.Module, example: Tensor) -> None:
    """Make sure that onnxruntime gives what the network gives.

    Raises
    ------
    CardError
        With both numbers.
    """
    session = _libraries()[1].InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"image": example.numpy()})
    off = float((torch.from_numpy(found) - network(example)).abs().max())
    if not off <= TOLERANCE:
        raise CardError(f"{path.name} gives probabilities that are up to {off:.2g} off, {TOLERANCE:g} is the most.")


def _is_program(card: ModelCard) -> bool:
    return isinstance(card.architecture, ExportedArchitecture)


def _libraries() -> tuple[Any, Any]:
    """``onnx`` and ``onnxruntime``, of the extra ``engines``."""
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401  the exporter's
    except ImportError as error:
        raise CardError(f"ONNX files need {error.name}: pip install 'landweave[engines]'.") from error
    return onnx, onnxruntime
