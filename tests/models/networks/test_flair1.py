"""FLAIR#1 with and without metadata; `test_references.py` has its numbers."""

import pytest
import torch

from landweave.core.errors import CardError
from landweave.models.cards.inputs import METADATA
from landweave.models.networks.flair1 import AERIAL, Flair1, FlairSpec, with_metadata


@pytest.fixture(scope="module")
def net() -> Flair1:
    torch.manual_seed(1)
    return Flair1(FlairSpec(encoder="resnet18", classes=4, metadata=True)).eval()


def test_metadata_is_added_row_by_row():
    rows = torch.arange(16.0)[None]

    found = with_metadata(torch.zeros(1, 3, 16, 16), rows)

    assert torch.equal(found, rows[0, :, None].expand(1, 3, 16, 16))


def test_metadata_changes_the_answer(net):
    image, values = torch.randn(1, 5, 512, 512), torch.randn(1, 45)
    with torch.inference_mode():
        found = net({AERIAL: image, METADATA: values})["AERIAL_LABEL"]
        other = net({AERIAL: image, METADATA: values + 5})["AERIAL_LABEL"]

    assert found.shape == (1, 4, 512, 512)
    assert not torch.equal(found, other)


def test_metadata_holds_for_its_own_window_only(net):
    inputs = {AERIAL: torch.zeros(1, 5, 256, 256), METADATA: torch.zeros(1, 45)}
    with pytest.raises(CardError, match="16 values, one a row, and the deepest stage 8 rows"):
        net(inputs)


def test_names_of_the_metadata_branch(net):
    held = {name for name in net.state_dict() if not name.startswith("seg_model.")}

    assert held == {f"enc.enc_mlp.{layer}.{kind}" for layer in (0, 3, 6) for kind in ("weight", "bias")}


def test_without_metadata_any_window_will_do():
    net = Flair1(FlairSpec(encoder="resnet18", classes=4)).eval()
    with torch.inference_mode():
        assert net({AERIAL: torch.zeros(1, 5, 96, 160)})["AERIAL_LABEL"].shape == (1, 4, 96, 160)
        assert net({AERIAL: torch.zeros(1, 5, 96, 96)}, (48, 48))["AERIAL_LABEL"].shape == (1, 4, 48, 48)
