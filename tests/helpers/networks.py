"""Small networks as a user brings them: a card, and weights drawn from a fixed seed; no tests here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor, nn

from landweave.models.cards.registry import read_card
from landweave.models.factory import build, core
from tests.helpers.tiles import textured

RGBI = ("R", "G", "B", "NIR")


def unet() -> dict[str, Any]:
    """A U-Net of a few thousand weights."""
    arguments = {"encoder_name": "tu-test_resnet", "encoder_depth": 3, "decoder_channels": [16, 16, 8]}
    return {"kind": "smp", "name": "Unet", "arguments": arguments}


def swin(window: int) -> dict[str, Any]:
    """A small Swin with UPerNet: layers that see the whole window, so that no margin hides anything."""
    arguments = {
        "encoder_name": "tu-swin_tiny_patch4_window7_224",
        "decoder_channels": 16,
        "img_size": window,
        "embed_dim": 24,
        "depths": [1, 1, 1, 1],
        "num_heads": [1, 2, 2, 4],
    }
    return {"kind": "smp", "name": "UPerNet", "arguments": arguments}


def write_card(path: Path, architecture: Mapping[str, Any], *, window: int, overlap: int, **changes: Any) -> Path:
    """A card over R, G, B and NIR with five classes; ``changes`` replace whole fields."""
    classes = [{"code": code, "name": f"class {code}", "color": f"#{40 * code:02x}8060"} for code in range(5)]
    content = {
        "name": path.stem,
        "title": f"A small {path.stem}",
        "architecture": dict(architecture),
        "inputs": {"AERIAL_RGBI": {"pixel": 0.2, "bands": {name: {"mean": 110, "std": 50} for name in RGBI}}},
        "window": {"size": window, "overlap": overlap, "multiple": 32},
        "outputs": {"LABEL": {"legend": {"name": "five", "classes": classes}, "pixel": 0.2}},
        "numerics": {"batch": 2},
        **changes,
    }
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def write_weights(card: Path, seed: int = 7) -> Path:
    """Weights that fit the card, beside it: drawn, with a last layer balanced so that every class wins somewhere."""
    window = read_card(card).window.size
    network = core(build(read_card(card), window))
    tensors = drawn(network, seed=seed, scale=2)
    network.load_state_dict(tensors)
    scene = torch.from_numpy(textured((window, window), len(RGBI)).astype("float32"))
    with torch.inference_mode():
        logits = network((scene[None] - 110) / 50)
    spread = logits.std((0, 2, 3)) / 2
    head = "segmentation_head.0."
    tensors[head + "bias"] = (tensors[head + "bias"] - logits.mean((0, 2, 3))) / spread
    tensors[head + "weight"] = tensors[head + "weight"] / spread[:, None, None, None]
    path = card.with_suffix(".safetensors")
    save_file(tensors, path)
    return path


def write_pointwise(path: Path, *, weights: Any, biases: Any, shape_nchw: tuple[int, int, int, int]) -> Path:
    """A `torch.export` program whose logits are linear in the bands of each pixel: ``weights (class, band)``."""
    matrix = torch.as_tensor(weights, dtype=torch.float32)
    layer = torch.nn.Conv2d(matrix.shape[1], matrix.shape[0], 1)
    with torch.no_grad():
        layer.weight.copy_(matrix[:, :, None, None])
        layer.bias.copy_(torch.as_tensor(biases, dtype=torch.float32))
    torch.export.save(torch.export.export(layer.eval(), (torch.zeros(shape_nchw),)), path)
    return path


def drawn(network: nn.Module, *, seed: int = 7, scale: float = 1) -> dict[str, Tensor]:
    """Values for every tensor of a network, norm layers' statistics too; ``scale`` widens the layers' weights."""
    generator = torch.Generator().manual_seed(seed)
    return {name: _drawn(name, tensor, generator, scale) for name, tensor in network.state_dict().items()}


def _drawn(name: str, tensor: Tensor, generator: torch.Generator, scale: float) -> Tensor:
    if not tensor.is_floating_point():
        return tensor.clone()
    values = torch.randn(tensor.shape, generator=generator)
    if name.endswith("running_var"):
        return 1 + values.abs() / 10
    return scale * values / max(tensor[0].numel(), 1) ** 0.5 if tensor.ndim > 1 else 1 + values / 10
