"""Windows of a device's tensors come out as those of numpy arrays do."""

from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from landweave.core import blending
from landweave.core.blending import Blend, Blending
from landweave.core.lattice import Extent, Lattice
from landweave.core.legend import NODATA
from landweave.core.stopwatch import Stopwatch
from landweave.core.timeseries import DateFallback
from landweave.mapping.accumulator import ArgmaxRule, BlockAccumulator
from tests.helpers.memory import gray_legend

ARRAYS = ("landcover", "confidence", "probability", "date_fallback")
CLASSES = 5


def painted(extent: Extent, factor: int, *, tensors: bool) -> tuple[NDArray[np.bool_], dict[str, NDArray[Any]]]:
    rng = np.random.default_rng(2)
    rule = ArgmaxRule(
        blending=Blending(Lattice(window=24, stride=16), Blend.COSINE),
        factor=factor,
        legend=gray_legend(CLASSES),
        arrays=ARRAYS,
        keep_untrained=False,
    )
    mapped = rng.random(extent.coarsen(factor).shape) < 0.8
    accumulator = BlockAccumulator(rule=rule, extent=extent, mapped=mapped, watch=Stopwatch())
    for window in rule.blending.lattice.windows(extent, rule.blending.support):
        probabilities = rng.dirichlet(np.ones(CLASSES), window.shape).astype(np.float32).transpose(2, 0, 1).copy()
        accumulator.add(window, torch.from_numpy(probabilities) if tensors else probabilities, DateFallback.PASSED)
    return mapped, accumulator.arrays()


@pytest.mark.parametrize("factor", [1, 4])
def test_tensors_are_decided_as_arrays_are(factor: int) -> None:
    extent = Extent.of((-48, 80), (16, 112))
    mapped, expected = painted(extent, factor, tensors=False)
    with patch.object(blending, "_is_host", lambda array: False):
        _, found = painted(extent, factor, tensors=True)
    for name in ARRAYS:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
        assert (found[name][..., ~mapped] == NODATA).all()
        assert (found[name][..., mapped] != NODATA).all()
    assert len(np.unique(found["landcover"])) == CLASSES + 1
