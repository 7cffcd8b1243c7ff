"""Memory of a block and decode time: arithmetic on sizes, without pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

from landweave.core.blending import DEVICE_PART_PIXELS, PART_PIXELS
from landweave.core.errors import BudgetError, LatticeError
from landweave.core.lattice import nearest_multiples

GIB = 1 << 30

THREADS_A_WORKER = 2
"""While one block computes, another reads or writes."""

SENT_AHEAD = 1
"""Batches of a block that are cut and copied to a GPU while the next waits for the network, and one is computed."""

MOST_DECODERS = 8
"""Threads that decode the files of one block: beyond them a file system is the limit, or another worker's cores."""

PROCESS_BYTES = 800 << 20
"""An idle worker: interpreter, Dask, GDAL, torch, what a U-Net of segmentation_models_pytorch imports, and the kernels
compiled. Measured after a first block, once freed memory was returned to the system: 743 MiB where the kernels were
compiled in it and 715 where they came from numba's cache, 340 of them pages of libraries, which vary with the
machine."""

GPU_PROCESS_BYTES = 1700 << 20
"""The same of a worker that computes on a GPU, with the host memory of CUDA and cuDNN: measured on an H200, with
torch 2.11 for CUDA 13."""

ALLOCATOR_SLACK = 1.25
"""Resident memory of a process over its live arrays: freed pieces that wait for the next batch. Measured in
batches of four: 1.26 for U-Net ResNet-34 in windows of 512 pixels over 16 blocks; 1.16 to 1.28 for ResNet-18 in windows
of 256 over 256."""

PART_COPIES = 3
"""Of the pixels that are classified together: divided, renormalised over trained classes, coarsened."""

ENCODE_FACTOR = 2.2
"""Bytes in memory while a shard is encoded, over its decoded bytes: compressed chunks, and the shard made of them.
Measured on land cover and confidence of the demo scene."""


@dataclass(frozen=True, kw_only=True)
class InputMemory:
    """Sizes of one input of a block.

    Attributes
    ----------
    factor
        Base pixels a side of one of its pixels; a fraction where the input has a grid of its own.
    bands, itemsize
        Number of bands, and bytes of a value.
    dates
        Number of dates of a series; 1 for a raster.
    around
        Base pixels that its window footprint extends beyond a window, on every side.
    """

    factor: Fraction | int
    bands: int
    itemsize: int
    dates: int = 1
    around: int = 0

    def bytes(self, height: int, width: int) -> float:
        """Bytes of values and validity over ``height`` by ``width`` base pixels."""
        rows, columns = (float(side + 2 * self.around) / float(self.factor) for side in (height, width))
        return rows * columns * self.dates * (self.bands * self.itemsize + 1)


@dataclass(frozen=True, kw_only=True)
class ModelMemory:
    """Sizes of a model and of its predictions.

    Attributes
    ----------
    bytes
        `landweave.core.protocols.Model.memory_bytes`.
    loading
        Bytes of host memory while the model is loaded onto a GPU; counted only where one runs it.
    window
        Base pixels a side.
    classes
        Channels of a prediction, float32.
    batch
        Windows of one call: their predictions stay in memory until the last of them is added.
    on_gpu
        Whether a GPU runs it: the sums of probabilities are in its memory too.
    """

    bytes: int
    window: int
    classes: int
    batch: int
    loading: int = 0
    on_gpu: bool = False

    def blending_bytes(self, height: int, width: int) -> int:
        """Bytes of sums of probabilities, of predictions, and of the pixels being classified, of a block."""
        sums = min(self.window, height) * width
        # Added class by class; on a GPU a weighted window at a time, while the next batch is predicted.
        windows = 2 * self.batch + 1 if self.on_gpu else self.batch
        part = DEVICE_PART_PIXELS if self.on_gpu else PART_PIXELS
        return 4 * self.classes * (sums + windows * self.window**2 + PART_COPIES * part)


@dataclass(frozen=True, kw_only=True)
class BlockMemory:
    """Bytes of host memory (`gpu`: of a GPU's) while a block is computed.

    Attributes
    ----------
    inputs
        Every input over the block and its halo; for a GPU also the batches of windows that are sent to it.
    blending
        Sums of probabilities, predictions, and the pixels being classified; 0 where a GPU holds them.
    outputs
        Arrays of the block.
    model
        The model and one batch, or what loading onto a GPU takes; once a worker.
    files
        Caches of open files; once a worker.
    process
        An idle worker.
    gpu
        Memory of its GPU that a worker takes; 0 without one. An estimate that is shown, never checked. Measured for
        U-Net ResNet-34 in bfloat16, batches of 16 and blocks of 3840 pixels: 4.2 GiB with the context, where this said
        4.5 (batches were not sent ahead then). In float32 cuDNN's working space is larger: a batch took a third more
        than is counted.
    """

    inputs: int
    blending: int
    outputs: int
    model: int
    files: int = 0
    process: int = PROCESS_BYTES
    gpu: int = 0

    @property
    def thread(self) -> int:
        """Peak of one thread: inputs, sums and outputs, or, once these are freed, the outputs being encoded."""
        return max(self.inputs + self.blending + self.outputs, int(ENCODE_FACTOR * self.outputs))

    @property
    def work(self) -> int:
        """Peak of a worker's two threads beyond the process itself."""
        return int(ALLOCATOR_SLACK * (THREADS_A_WORKER * self.thread + self.model + self.files))

    @property
    def worker(self) -> int:
        """Peak of a worker with two threads, its interpreter and libraries included."""
        return self.process + self.work


def block_memory(
    height: int, width: int, *, inputs: Sequence[InputMemory], model: ModelMemory, output_bytes: float
) -> BlockMemory:
    """Memory of one block, without caches of files.

    Parameters
    ----------
    height, width
        Base pixels of the block.
    inputs
        Every input that is read.
    model
        The model that is run.
    output_bytes
        Bytes of all output arrays together for one base pixel.
    """
    halo = model.window - 1
    read = sum(item.bytes(height + 2 * halo, width + 2 * halo) for item in inputs)
    blending, outputs = model.blending_bytes(height, width), int(height * width * output_bytes)
    if not model.on_gpu:
        return BlockMemory(inputs=int(read), blending=blending, outputs=outputs, model=model.bytes)
    cut = model.batch * sum(item.bytes(model.window, model.window) for item in inputs)
    sent = int((SENT_AHEAD + 2) * cut)
    return BlockMemory(
        inputs=int(read + cut + sent),  # one as it is cut, the others in page-locked memory
        blending=0,
        outputs=outputs,
        model=model.loading,
        process=GPU_PROCESS_BYTES,
        gpu=int(ALLOCATOR_SLACK * (THREADS_A_WORKER * (blending + sent) + model.bytes)),
    )


def block_step(*, unit: int, chunk: int, factor: int) -> int:
    """Base pixels of which the side of a block is a multiple: whole chunks of output and whole units of the card.

    Parameters
    ----------
    unit
        Base pixels after which the pixels of all nested inputs coincide.
    chunk
        Output pixels a side of a chunk.
    factor
        Base pixels a side of an output pixel.
    """
    return lcm(chunk * factor, unit)


def check_block(block: int, step: int) -> None:
    """Refuse a block that cuts a chunk of output or a unit of the card.

    Parameters
    ----------
    block
        Base pixels a side.
    step
        As `block_step` gives it.

    Raises
    ------
    LatticeError
        When ``block`` is not a positive multiple of ``step``; the nearest valid sizes are named.
    """
    if block <= 0 or block % step:
        raise LatticeError(
            f"A block of {block} base pixels does not lie on multiples of {step} "
            f"(whole chunks of output and whole units of the card): use {nearest_multiples(max(block, 1), step)}."
        )


def check_memory(needed: int, available: int, blocks: str, key: str) -> None:
    """Refuse a plan that does not fit into the memory of a worker.

    Parameters
    ----------
    needed, available
        Bytes.
    blocks
        What is computed, with its size, for the message.
    key
        Of the configuration, that makes it smaller.

    Raises
    ------
    BudgetError
        When ``needed`` is more than ``available``.
    """
    if needed > available:
        raise BudgetError(
            f"A worker needs {needed / GIB:.2f} GiB for {blocks} but has {available / GIB:.2f} GiB: make {key} "
            f"smaller, give engine.memory_gib more, or use fewer workers."
        )


DECODED_MPX_PER_SECOND = {"JP2OpenJPEG": 7.0, "GTiff": 109.0}
"""Million pixels x bands that one core decodes in a second, by GDAL driver; measured on BD ORTHO-like tiles."""


def decoding_threads(cores: int) -> int:
    """Threads that decode for each block of a worker whose network is on a GPU, and leaves its cores to them."""
    return max(1, min(MOST_DECODERS, cores // THREADS_A_WORKER))


def decode_seconds(decoded_pixels: Mapping[str, int]) -> float:
    """Seconds of one core to decode, from pixels x bands by GDAL driver; others count as deflate TIFF."""
    return sum(
        pixels / 1e6 / DECODED_MPX_PER_SECOND.get(name, DECODED_MPX_PER_SECOND["GTiff"])
        for name, pixels in decoded_pixels.items()
    )
