"""Block sizes and memory: numbers worked out by hand, and refusals that name the way out."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from landweave.core.budget import (
    ENCODE_FACTOR,
    GIB,
    MOST_DECODERS,
    SENT_AHEAD,
    BlockMemory,
    InputMemory,
    ModelMemory,
    block_memory,
    block_step,
    check_block,
    check_memory,
    decode_seconds,
    decoding_threads,
)
from landweave.core.errors import BudgetError, LatticeError

BIG = ModelMemory(bytes=7, window=512, classes=19, batch=4)


def memory(block: int, *, inputs: Sequence[InputMemory] = (), output_bytes: float = 2.0, **model: Any) -> BlockMemory:
    return block_memory(block, block, inputs=inputs, model=replace(BIG, **model), output_bytes=output_bytes)


def test_an_input_costs_its_values_and_its_validity() -> None:
    assert InputMemory(factor=1, bands=4, itemsize=1).bytes(10, 10) == 500
    assert InputMemory(factor=8, bands=4, itemsize=2).bytes(80, 80) == 900


def test_a_series_costs_its_dates_and_the_ground_around() -> None:
    nested = InputMemory(factor=Fraction(256, 5), bands=10, itemsize=2, dates=30)
    assert nested.bytes(512, 512) == 10 * 10 * 30 * 21
    assert replace(nested, factor=50, around=744).bytes(512, 512) == 40 * 40 * 30 * 21


def test_a_block_reads_its_halo_and_holds_a_band_of_sums() -> None:
    read = memory(1024, inputs=[InputMemory(factor=1, bands=3, itemsize=1)])
    assert read.inputs == (1024 + 2 * 511) ** 2 * 4
    assert read.model == 7
    # The sums of one row of windows are far below those of a whole block of 8192 px, 5.7 GB.
    assert 0.3 * GIB < memory(8192).blending < 0.5 * GIB
    assert memory(8192).blending - memory(4096).blending == 19 * 4 * 512 * 4096


def test_memory_grows_with_everything_it_is_made_of() -> None:
    plain = memory(2048).worker
    for change in ({"classes": 20}, {"batch": 5}, {"output_bytes": 3.0}, {"bytes": 8}, {"window": 1024}):
        assert memory(2048, **change).worker > plain
    assert memory(4096).worker > plain


def test_a_block_is_encoded_when_its_inputs_and_sums_are_gone() -> None:
    few, many = memory(2048), memory(2048, output_bytes=100.0)
    assert few.thread == few.inputs + few.blending + few.outputs
    assert many.thread == int(ENCODE_FACTOR * many.outputs) > many.blending + many.outputs


def test_sums_and_model_of_a_gpu_are_asked_of_its_own_memory() -> None:
    sizes = {"inputs": [InputMemory(factor=1, bands=3, itemsize=1)], "bytes": 3 * GIB, "loading": 70}
    here, there = memory(2048, **sizes), memory(2048, **sizes, on_gpu=True)
    assert here.gpu == 0
    assert there.gpu > 3 * GIB + 2 * here.blending
    assert (there.blending, there.model) == (0, 70)
    assert there.inputs == here.inputs + (3 + SENT_AHEAD) * 4 * 512**2 * 4
    # What CUDA holds of the machine's memory is more than the sums of a block, less than this model.
    assert memory(2048).worker < there.worker < here.worker


@pytest.mark.parametrize(("unit", "chunk", "factor", "step"), [(1, 512, 1, 512), (256, 512, 5, 2560), (8, 100, 1, 200)])
def test_a_step_is_whole_chunks_and_whole_units(unit: int, chunk: int, factor: int, step: int) -> None:
    assert block_step(unit=unit, chunk=chunk, factor=factor) == step


def test_a_tall_block_holds_fewer_sums_than_a_wide_one() -> None:
    tall, wide = (block_memory(*sides, inputs=[], model=BIG, output_bytes=2) for sides in ((4096, 1024), (1024, 4096)))
    assert wide.blending - tall.blending == 19 * 4 * 512 * 3072
    assert wide.outputs == tall.outputs


@pytest.mark.parametrize(("block", "valid"), [(700, "512 or 1024"), (100, "use 512"), (-5, "use 512")])
def test_a_block_off_the_step_names_its_neighbours(block: int, valid: str) -> None:
    with pytest.raises(LatticeError, match=rf"block of {block} .*multiples of 512.*{valid}"):
        check_block(block, 512)
    check_block(1024, 512)


def test_too_little_memory_names_both_numbers() -> None:
    with pytest.raises(BudgetError, match=r"needs 3\.00 GiB for blocks of 8192 .* has 2\.00 GiB.*output\.block"):
        check_memory(3 * GIB, 2 * GIB, "blocks of 8192 base pixels", "output.block")
    check_memory(2 * GIB, 2 * GIB, "blocks of 8192 base pixels", "output.block")


def test_decoding_is_priced_by_format() -> None:
    assert decode_seconds({"JP2OpenJPEG": 14_000_000}) == pytest.approx(2)
    assert decode_seconds({"GTiff": 109_000_000, "Other": 109_000_000}) == pytest.approx(2)


def test_the_cores_beside_a_gpu_are_shared_by_its_blocks() -> None:
    assert [decoding_threads(cores) for cores in (1, 2, 8, 128)] == [1, 1, 4, MOST_DECODERS]
