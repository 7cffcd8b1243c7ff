"""What runs a network on a CPU: eager torch, or a compiled form of the same network with the same inputs and outputs.

`with_engine` is the one seam: `landweave.models.inference.TorchPredictor` calls what it returns as it calls a network.
A graph for onnxruntime and OpenVINO is exported once for weights, window and batch, and kept in the user's cache, with
its checksum in its name: where the engine was tried on it before, `kept_engine` opens it, and no network is built.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from landweave.core.errors import CardError, ConfigError
from landweave.core.source_digest import source_digest
from landweave.core.user_cache import cache_folder
from landweave.core.whole_files import write_whole
from landweave.models.inference import numerics
from landweave.models.onnx_graph import OPSET, export_graph
from landweave.models.settings import InferenceSettings
from landweave.models.trial import noise_inputs

TOLERANCE, BFLOAT16_TOLERANCE = 1e-4, 0.1
"""Largest difference of a logit from eager torch's, in standard deviations of the logits."""

GRAPHS_KEPT = 4
"""In the user's cache, the newest: each is as large as the weights."""

Session = Callable[[list[Tensor]], Tensor]
"""From the tensors of a batch, in the network's order, to logits ``(n, class, y, x)``."""


def with_engine(network: nn.Module, settings: InferenceSettings, weights_sha256: str) -> tuple[nn.Module, str]:
    """Return what runs ``network`` by ``settings.engine``, which is not eager, and a note for a person.

    Parameters
    ----------
    network
        Loaded and tried.
    settings
        Which output, and how it is computed.
    weights_sha256
        Names the exported graph.

    Raises
    ------
    ConfigError
        When a library is missing on this machine.
    CardError
        When the network cannot be exported, or its logits differ from eager torch's by more than `TOLERANCE`.
    """
    inputs, started = noise_inputs(settings, settings.batch_size), time.perf_counter()
    size = (settings.window, settings.window)
    with _failures(settings), numerics(settings):
        runner: nn.Module
        if settings.engine == "compile":
            runner = cast(nn.Module, torch.compile(network, dynamic=False))
        else:
            kept = _kept_session(settings, weights_sha256)
            session = kept or _new_session(network, settings, weights_sha256, inputs)
            runner = _GraphNetwork(session, settings.output)
        found = runner(inputs, size)[settings.output].float()  # a network is compiled at its first call
        seconds = time.perf_counter() - started
        wanted = network(inputs, size)[settings.output].float()
    off = float((found - wanted).abs().max() / wanted.std())
    if not off <= (most := BFLOAT16_TOLERANCE if settings.bfloat16 else TOLERANCE):
        raise CardError(
            f"model.engine {settings.engine}: logits of {settings.card.name} differ from eager torch's by {off:.2g} of "
            f"their standard deviation, {most:g} is the most. Use another engine."
        )
    return (
        runner.eval(),
        f"engine {settings.engine}: ready in {seconds:.1f} s, logits within {off:.1g} of their deviation",
    )


def kept_engine(settings: InferenceSettings, weights_sha256: str) -> nn.Module | None:
    """Return what runs the graph that was exported before; None where none is kept, or the engine runs none.

    Parameters
    ----------
    settings, weights_sha256
        As of `with_engine`, which has compared this engine's logits with eager torch's.

    Raises
    ------
    ConfigError
        When a library is missing on this machine.
    """
    if not settings.runs_graph:
        return None
    with _failures(settings):
        session = _kept_session(settings, weights_sha256)
    return None if session is None else _GraphNetwork(session, settings.output).eval()


class _GraphNetwork(nn.Module):
    """A session called as a network is."""

    def __init__(self, session: Session, output: str) -> None:
        super().__init__()
        self._session, self._output = session, output

    def forward(self, inputs: Mapping[str, Tensor], size: tuple[int, int]) -> dict[str, Tensor]:
        """Return logits by name of the output."""
        return {self._output: self._session(list(inputs.values()))}


class _Positional(nn.Module):
    """A network called with its tensors in order, of one size and one output: what a graph can say."""

    def __init__(self, network: nn.Module, settings: InferenceSettings) -> None:
        super().__init__()
        self.network, self.names, self.output = network, tuple(settings.card.inputs), settings.output
        self.size = (settings.window, settings.window)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return logits ``(n, class, y, x)``."""
        logits: Tensor = self.network(dict(zip(self.names, inputs, strict=True)), self.size)[self.output]
        return logits


def _kept_session(settings: InferenceSettings, weights_sha256: str) -> Session | None:
    """Return a session of a graph that the user's cache has, whole; None without one."""
    for file in _graphs().glob(f"{_graph_name(settings, weights_sha256)}-*.onnx"):
        with suppress(OSError):  # gone meanwhile
            graph = file.read_bytes()
            if file.stem.endswith(hashlib.sha256(graph).hexdigest()):
                return _SESSIONS[settings.engine](graph, settings)
    return None


def _new_session(
    network: nn.Module, settings: InferenceSettings, weights_sha256: str, inputs: Mapping[str, Tensor]
) -> Session:
    """Return a session of the graph of a network, which is kept in the user's cache."""
    names = [f"input_{number}" for number in range(len(inputs))]
    exported = export_graph(_Positional(network, settings).eval(), tuple(inputs.values()), names)
    graph: bytes = exported.SerializeToString()
    del exported  # as large as the weights, which are in memory often enough
    _keep(graph, f"{_graph_name(settings, weights_sha256)}-{hashlib.sha256(graph).hexdigest()}.onnx")
    return _SESSIONS[settings.engine](graph, settings)


def _keep(graph: bytes, name: str) -> None:
    """Write a graph, whole or not at all; where there is no home that may be written to it is this process's own."""
    folder = _graphs()
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(folder, {name: graph})
        newest = sorted(folder.glob("*.onnx"), key=lambda file: file.stat().st_mtime, reverse=True)
        for file in newest[GRAPHS_KEPT:]:
            file.unlink(missing_ok=True)


def _graphs() -> Path:
    return cache_folder() / "graphs"


def _graph_name(settings: InferenceSettings, weights_sha256: str) -> str:
    """Return what a graph is found by: all that decides it, sources and libraries included."""
    parts = [weights_sha256, settings.card.sha256, settings.output, settings.window, settings.batch_size, OPSET]
    software = [source_digest(), *(version(name) for name in ("torch", "onnx", "onnxscript"))]
    return hashlib.sha256(json.dumps([*parts, *software]).encode()).hexdigest()[:32]


def _onnxruntime(graph: bytes, settings: InferenceSettings) -> Session:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = settings.torch_threads, 1
    # Threads that wait would take the cores of another worker, or of what blends meanwhile.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]

    def run(inputs: list[Tensor]) -> Tensor:
        fed = {name: tensor.contiguous().numpy() for name, tensor in zip(names, inputs, strict=True)}
        return torch.from_numpy(session.run(None, fed)[0])

    return run


def _openvino(graph: bytes, settings: InferenceSettings) -> Session:
    import openvino

    core = openvino.Core()
    # Where the CPU has bfloat16 it is this library's default; pinned threads of two workers would share cores.
    compiled = core.compile_model(
        core.read_model(graph),
        "CPU",
        {
            "INFERENCE_NUM_THREADS": settings.torch_threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": "bf16" if settings.bfloat16 else "f32",
        },
    )
    request = compiled.create_infer_request()

    def run(inputs: list[Tensor]) -> Tensor:
        fed = [tensor.contiguous().numpy() for tensor in inputs]
        # A copy: the next batch is written to the same memory while windows of this one are blended.
        return torch.from_numpy(request.infer(fed)[0].copy())

    return run


_SESSIONS: Mapping[str, Callable[[bytes, InferenceSettings], Session]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
}


@contextmanager
def _failures(settings: InferenceSettings) -> Iterator[None]:
    """Raise what exporters, compilers and runtimes raise as this project's own errors."""
    asked = f"model.engine {settings.engine} was asked for"
    try:
        yield
    except (CardError, ConfigError):
        raise
    except ImportError as error:
        raise ConfigError(f"{asked}, and {error.name} is missing: pip install 'landweave[engines]'.") from error
    except Exception as error:  # each library has classes of its own, which share no other base
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        hint = " It needs a C++ compiler, such as g++." if "compiler" in str(error).lower() else ""
        raise CardError(f"{asked}, and it cannot run {settings.card.name}: {first.strip()}{hint}") from error
