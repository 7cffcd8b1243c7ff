"""What a block costs in memory, and the block size that suits an area: pure arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

from landweave.core.blending import DEVICE_STRIP_PIXELS, STRIP_PIXELS
from landweave.core.errors import BudgetError, LatticeError
from landweave.core.lattice import nearest_multiples

GIB = 1 << 30

THREADS_A_WORKER = 2
"""While one block computes, another reads or writes."""

PROCESS_BYTES = 600 << 20
"""A worker that has nothing in hand: interpreter, Dask, GDAL, torch with the kernels it has compiled. Measured after
a first block, once what it no longer needed was given back to the system."""

GPU_PROCESS_BYTES = 1700 << 20
"""The same of a worker that computes on a GPU, with what CUDA and cuDNN hold of the machine's memory: on an H200, with
torch 2.11 for CUDA 13."""

HEAP_SLACK = 1.25
"""Memory that a process holds over what is at work in it: freed pieces that wait for the next batch. Measured in
batches of four: 1.26 for U-Net ResNet-34 in windows of 512 pixels over 16 blocks; 1.16 to 1.28 for ResNet-18 in windows
of 256 over 256."""

STRIP_COPIES = 3
"""A strip divided, without its untrained classes, and coarsened."""

ENCODE_FACTOR = 2.2
"""Bytes at work while a shard is encoded, over its decoded bytes: compressed chunks, and the shard they join.
Measured on land cover and confidence of the demo scene."""


@dataclass(frozen=True, kw_only=True)
class InputMemory:
    """One input of a block.

    Attributes
    ----------
    factor
        Base pixels a side of one pixel of it; not whole where it lies on a grid of its own.
    bands, itemsize
        How many, and the bytes of a value.
    dates
        Of a series; 1 otherwise.
    around
        Base pixels that its footprint reaches beyond a window, on every side.
    """

    factor: Fraction | int
    bands: int
    itemsize: int
    dates: int = 1
    around: int = 0

    def bytes(self, side: int) -> float:
        """Values and validity over ground of ``side`` base pixels a side."""
        pixels = (float(side + 2 * self.around) / float(self.factor)) ** 2
        return pixels * self.dates * (self.bands * self.itemsize + 1)


@dataclass(frozen=True, kw_only=True)
class ModelMemory:
    """A model at work.

    Attributes
    ----------
    bytes
        `landweave.core.protocols.Model.memory_bytes`.
    loading
        Bytes of the machine's memory that loading takes before a GPU has it; counted where one runs it.
    window
        Base pixels a side.
    classes
        Channels of its answer, float32.
    batch
        Windows that are answered together: the answers are held until the last of them is added.
    on_gpu
        Whether a GPU runs it: the sums of its answers lie there too.
    """

    bytes: int
    window: int
    classes: int
    batch: int
    loading: int = 0
    on_gpu: bool = False

    def band(self, block: int) -> int:
        """Weighted sums of the rows that windows can still touch, answers, and the strip being decided; in bytes."""
        sums = min(self.window, block) * block
        answers = self.batch + self.on_gpu  # added plane by plane, or, on a GPU, a weighted window at a time
        strip = DEVICE_STRIP_PIXELS if self.on_gpu else STRIP_PIXELS
        return 4 * self.classes * (sums + answers * self.window**2 + STRIP_COPIES * strip)


@dataclass(frozen=True, kw_only=True)
class BlockMemory:
    """Bytes of one block at work, of the machine's memory but for `gpu`.

    Attributes
    ----------
    inputs
        Every input over the block and its halo; for a GPU also a batch of windows cut from it.
    band
        Weighted sums of the rows that windows can still touch, the answers being added, and the strip being decided.
    outputs
        The block's arrays.
    model
        The model and one batch, or what loading takes before a GPU has it; once a worker.
    files
        What is kept of open files; once a worker.
    process
        A worker that has nothing in hand.
    gpu
        What a worker takes of its GPU's memory; 0 without one. An estimate that is told, never checked. Measured for
        U-Net ResNet-34 in bfloat16, batches of 16 and blocks of 3840 pixels: 4.2 GiB with the context, where this says
        4.5. In float32 cuDNN's working space is larger: a batch took a third more than is counted.
    """

    inputs: int
    band: int
    outputs: int
    model: int
    files: int = 0
    process: int = PROCESS_BYTES
    gpu: int = 0

    @property
    def thread(self) -> int:
        """What a thread holds: inputs, sums and arrays, or, once these are let go, the arrays being encoded."""
        return max(self.inputs + self.band + self.outputs, int(ENCODE_FACTOR * self.outputs))

    @property
    def work(self) -> int:
        """What two threads take beyond the process itself."""
        return int(HEAP_SLACK * (THREADS_A_WORKER * self.thread + self.model + self.files))

    @property
    def worker(self) -> int:
        """What a worker with two threads needs, its interpreter and libraries included."""
        return self.process + self.work


def block_memory(*, block: int, inputs: Sequence[InputMemory], model: ModelMemory, output_bytes: float) -> BlockMemory:
    """Memory of one block of ``block`` base pixels a side, but for what is kept of files.

    Parameters
    ----------
    block
        In base pixels.
    inputs
        What is read.
    model
        What answers.
    output_bytes
        Bytes a base pixel of all output arrays together.
    """
    halo = model.window - 1
    read = sum(item.bytes(block + 2 * halo) for item in inputs)
    band, outputs = model.band(block), int(block**2 * output_bytes)
    if not model.on_gpu:
        return BlockMemory(inputs=int(read), band=band, outputs=outputs, model=model.bytes)
    cut = model.batch * sum(item.bytes(model.window) for item in inputs)
    return BlockMemory(
        inputs=int(read + cut),
        band=0,
        outputs=outputs,
        model=model.loading,
        process=GPU_PROCESS_BYTES,
        gpu=int(HEAP_SLACK * (THREADS_A_WORKER * band + model.bytes)),
    )


def block_step(*, unit: int, chunk: int, factor: int) -> int:
    """Base pixels that a block must be a multiple of: whole inner chunks of output, whole units of the card."""
    return lcm(chunk * factor, unit)


def default_block(extent_px: int, *, step: int, stride: int, largest: int) -> int:
    """A block size, in base pixels, for an area of ``extent_px`` base pixels on its longer side.

    A block of ``n`` strides computes ``(n + 1) ** 2`` windows for the ground of ``n ** 2``, and one that is no whole
    number of strides cuts windows besides: so whole strides, as large as ``largest`` for a big area; about three
    blocks a side for a small one, so that several threads have work; one block's worth of steps for a tiny one.

    >>> [default_block(px, step=512, stride=384, largest=8192) for px in (300, 1200, 4700, 400_000)]
    [512, 1536, 1536, 7680]
    """
    whole = lcm(step, stride)
    if whole > largest:
        return max(step, min(largest, extent_px) // step * step)
    if extent_px < whole:
        return -(-extent_px // step) * step
    return max(whole, min(largest, extent_px // 3) // whole * whole)


def check_block(block: int, step: int) -> None:
    """Refuse a block that cuts a chunk or a unit, naming the valid neighbours.

    Raises
    ------
    LatticeError
        When ``block`` is not a positive multiple of ``step``.
    """
    if block <= 0 or block % step:
        raise LatticeError(
            f"A block of {block} base pixels does not lie on multiples of {step} "
            f"(whole chunks of output and whole units of the card): use {nearest_multiples(max(block, 1), step)}."
        )


def check_memory(needed: int, available: int, block: int) -> None:
    """Refuse a plan whose worker needs more than it has.

    Raises
    ------
    BudgetError
        With both numbers, and what to change.
    """
    if needed > available:
        raise BudgetError(
            f"A worker needs {needed / GIB:.2f} GiB for blocks of {block} base pixels but has {available / GIB:.2f} "
            f"GiB: make output.block smaller, give engine.memory_gib more, or use fewer workers."
        )


DECODED_MPX_PER_SECOND = {"JP2OpenJPEG": 7.0, "GTiff": 109.0}
"""Million pixels x bands that one core decodes in a second, by GDAL driver; measured on BD ORTHO-like tiles."""


def decode_seconds(decoded_pixels: Mapping[str, int]) -> float:
    """Core seconds of decoding, from pixels x bands by format; formats not measured count as deflate TIFF."""
    return sum(
        pixels / 1e6 / DECODED_MPX_PER_SECOND.get(name, DECODED_MPX_PER_SECOND["GTiff"])
        for name, pixels in decoded_pixels.items()
    )
