"""Laws of the predictor: hand-made numbers, samples that do not know their neighbours, the same bits everywhere."""

import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import pytest
import torch
from torch import nn

from landweave.core.errors import CardError, ConfigError, PredictError, WeightsError
from landweave.core.protocols import InputBatch
from landweave.models.factory import core, load
from landweave.models.inference import TorchPredictor, numerics
from landweave.models.predictor import resolve_model
from landweave.models.published_memory import model_bytes
from landweave.models.settings import Compute, InferenceSettings
from tests.models.conftest import SWIN, small_content

SWIN_WINDOW = {"size": 64, "overlap": 16, "multiple": 32}
TWO = Compute(batch_size=2, torch_threads=1, device="cpu")


def batch_of(count, seed=0, size=64):
    rng = np.random.default_rng(seed)
    return {
        "AERIAL_RGBI": InputBatch(
            values=rng.integers(0, 256, (count, 2, size, size), dtype=np.uint8),
            valid=rng.random((count, size, size)) > 0.2,
        ),
        "DEM_ELEV": InputBatch(
            values=rng.normal(20, 30, (count, 1, size, size)).astype(np.float32),
            valid=rng.random((count, size, size)) > 0.2,
        ),
    }


def part(batch, chosen):
    return {name: InputBatch(values=given.values[chosen], valid=given.valid[chosen]) for name, given in batch.items()}


@pytest.fixture(params=["unet", "swin"])
def model(request, small_card, weights_of):
    """A model of two windows a batch: a U-Net, and a small Swin with UPerNet."""
    card = small_card() if request.param == "unet" else small_card(architecture=SWIN, window=SWIN_WINDOW)
    return resolve_model(card, weights=weights_of(card), compute=TWO)


@pytest.fixture
def unet(small_card, weights_of):
    card = small_card()
    return resolve_model(card, weights=weights_of(card), compute=TWO)


def by_hand(batch):
    """What the network must be fed, in numpy alone."""
    aerial, height = batch["AERIAL_RGBI"], batch["DEM_ELEV"]
    red = (aerial.values[:, 0].astype(np.float32) - np.float32(100)) / np.float32(50)
    green = aerial.values[:, 1].astype(np.float32) / np.float32(255)
    coded = np.clip(np.round(height.values[:, 0] * np.float32(5) + np.float32(1)), 0, 255)
    ndsm = (coded - np.float32(53)) / np.float32(79)
    covered = (aerial.valid, aerial.valid, height.valid)
    return np.stack([np.where(valid, band, 0) for band, valid in zip((red, green, ndsm), covered, strict=True)], 1)


def test_the_answer_is_that_of_the_network_on_numbers_normalised_by_hand(model):
    batch = batch_of(2)
    network = core(load(model.settings.card, 64, model.weights, batch_size=2))

    answer = np.asarray(model.open().predict(batch))
    with torch.inference_mode():
        logits = network(torch.from_numpy(by_hand(batch))).numpy().astype(np.float64)
    exponents = np.exp(logits - logits.max(1, keepdims=True))

    assert answer.dtype == np.float32
    assert answer.shape == (2, 4, 64, 64)
    np.testing.assert_allclose(answer, exponents / exponents.sum(1, keepdims=True), atol=1e-6)


class Seen(nn.Module):
    """Keeps what it is called with, and answers zeros."""

    def forward(self, inputs, size=None):
        self.inputs = inputs
        count = next(iter(inputs.values())).shape[0]
        return {"LABEL": torch.zeros(count, 4, *size)}


def inference_settings(card, **changes):
    settings = {"output": "LABEL", "window": 64, "batch_size": 2, "torch_threads": 1, "device": "cpu"}
    return InferenceSettings(card=card, **(settings | changes))


def test_what_is_masked_is_exactly_the_fill_and_the_rest_bit_for_bit_what_numpy_gives(small_card):
    batch, network = batch_of(2), Seen().eval()
    batch["DEM_ELEV"].values[~np.broadcast_to(batch["DEM_ELEV"].valid[:, None], (2, 1, 64, 64))] = np.nan

    TorchPredictor(inference_settings(small_card()), network).predict(batch)

    fed = torch.cat(list(network.inputs.values()), 1).numpy()
    assert np.array_equal(fed, by_hand(batch))
    assert (fed[:, 0][~batch["AERIAL_RGBI"].valid] == 0).all()


def test_an_optional_input_that_is_missing_is_fed_as_fill_and_a_required_one_refused(small_card):
    network = Seen().eval()
    predictor = TorchPredictor(inference_settings(small_card()), network)
    batch = batch_of(2)

    predictor.predict({"AERIAL_RGBI": batch["AERIAL_RGBI"]})
    assert not network.inputs["DEM_ELEV"].any()
    assert network.inputs["DEM_ELEV"].shape == (2, 1, 64, 64)
    with pytest.raises(PredictError, match="AERIAL_RGBI of small is not in the batch, which has DEM_ELEV"):
        predictor.predict({"DEM_ELEV": batch["DEM_ELEV"]})


def test_a_series_goes_in_with_its_days_and_its_real_dates(small_card):
    inputs = {"SENTINEL2_TS": {"pixel": 1.6, "bands": {"B2": {}, "B3": {}}, "dates": {}, "fill": 0.5}}
    network = Seen().eval()
    series = InputBatch(
        values=np.arange(2 * 3 * 2 * 8 * 8, dtype=np.uint16).reshape(2, 3, 2, 8, 8),
        valid=np.zeros((2, 3, 8, 8), bool),
        days=np.zeros((2, 3), np.float32),
        present=np.array([[True, True, False]] * 2),
    )
    series.valid[:, :2] = True

    TorchPredictor(inference_settings(small_card(inputs=inputs)), network).predict({"SENTINEL2_TS": series})

    fed = network.inputs["SENTINEL2_TS"].numpy()
    assert np.array_equal(fed[:, :2], series.values[:, :2])
    assert (fed[:, 2] == 0.5).all()
    assert np.array_equal(network.inputs["SENTINEL2_MASK"], series.present)
    assert np.array_equal(network.inputs["SENTINEL2_DATES"], series.days)


def test_a_sample_does_not_know_its_neighbours_or_its_place(model):
    predictor, batch = model.open(), batch_of(2)
    other = batch_of(2, seed=5)
    first = predictor.predict(batch)[0]
    mixed = {
        name: InputBatch(
            values=np.stack([other[name].values[0], batch[name].values[0]]),
            valid=np.stack([other[name].valid[0], batch[name].valid[0]]),
        )
        for name in batch
    }

    assert np.array_equal(predictor.predict(mixed)[1], first)


@pytest.fixture(scope="module")
def another_process():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool


@pytest.mark.slow
def test_a_thread_and_a_process_answer_as_the_caller_does(model, another_process):
    model = replace(model, settings=replace(model.settings, torch_threads=2))
    batch = batch_of(2)
    predictor = model.open()
    here = predictor.predict(batch)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(torch.set_num_threads, 1).result()
        assert np.array_equal(pool.submit(predictor.predict, batch).result(), here)
        assert pool.submit(torch.get_num_threads).result() == 1
    assert np.array_equal(another_process.submit(_answer_elsewhere, pickle.dumps(model), batch).result(), here)


def _answer_elsewhere(model, batch):
    torch.set_num_threads(1)  # as a Dask nanny has it
    return pickle.loads(model).open().predict(batch)


def test_the_callers_threads_are_put_back(unet):
    before = torch.get_num_threads()
    unet.open().predict(batch_of(2))
    assert torch.get_num_threads() == before


def test_a_batch_of_another_size_or_shape_is_refused(unet):
    predictor = unet.open()

    with pytest.raises(PredictError, match=r"AERIAL_RGBI came as \(1, 2, 64, 64\).*\(2, 2, 64, 64\)"):
        predictor.predict(part(batch_of(2), slice(1)))
    with pytest.raises(PredictError, match=r"\(2, 2, 32, 32\)"):
        predictor.predict(batch_of(2, size=32))


def test_values_that_are_not_finite_are_never_an_answer(unet):
    batch = batch_of(2)
    row, column = np.argwhere(batch["DEM_ELEV"].valid[0])[0]
    batch["DEM_ELEV"].values[0, 0, row, column] = np.nan

    with pytest.raises(PredictError, match=r"not finite.*DEM_ELEV holds values that are not finite"):
        unet.open().predict(batch)


class Failing(nn.Module):
    """Raises what it is given."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def forward(self, inputs, size=None):
        raise self.error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RuntimeError("bad shape\ntraceback"), r"small failed on cpu: bad shape$"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "2 windows of 64 px: lower model.batch_size"),
        (torch.OutOfMemoryError("CUDA out of memory"), "lower model.batch_size"),
    ],
)
def test_a_network_that_fails_is_a_block_that_fails(small_card, error, message):
    predictor = TorchPredictor(inference_settings(small_card()), Failing(error).eval())

    with pytest.raises(PredictError, match=message):
        predictor.predict(batch_of(2))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False)).eval(), r"Layer 0 \(BatchNorm2d\).*statistics"),
        (nn.Sequential(nn.Dropout()).train(), "training mode"),
    ],
)
def test_layers_that_look_at_the_batch_are_refused(small_card, network, message):
    with pytest.raises(CardError, match=message):
        TorchPredictor(inference_settings(small_card()), network)


def test_instance_norms_look_at_their_own_window_and_are_let_through(small_card):
    TorchPredictor(inference_settings(small_card()), nn.Sequential(nn.InstanceNorm2d(3), nn.GroupNorm(1, 3)).eval())


def test_a_model_travels_and_its_meaning_is_what_decides_bits(unet, small_card):
    assert len(pickle.dumps(unet)) < 5000
    assert pickle.loads(pickle.dumps(unet)) == unet
    turned = small_card(numerics={"channels_last": True})
    changes = ({}, {"torch_threads": 2}, {"batch_size": 1}, {"card": turned})
    meanings = [replace(unet, settings=replace(unet.settings, **change)).fingerprint_fields for change in changes]
    assert len({str(meaning) for meaning in meanings}) == 4


def test_channels_last_answers_the_same_within_rounding(small_card, weights_of):
    card = small_card()
    turned = small_card(numerics={"batch": 2, "channels_last": True})
    weights, batch = weights_of(card), batch_of(2)

    answers = [resolve_model(each, weights=weights, compute=TWO).open().predict(batch) for each in (card, turned)]

    np.testing.assert_allclose(*map(np.asarray, answers), atol=1e-5)


def test_weights_are_resolved_with_their_checksum(small_card, weights_of, tmp_path):
    card = small_card()
    path = weights_of(card)
    model = resolve_model(card, weights=path, compute=TWO)
    other = small_content(weights={"file": str(path), "sha256": model.weights_sha256}, source="IGNF/Somewhere")

    assert resolve_model(small_card(**other), compute=TWO).weights_sha256 == model.weights_sha256
    with pytest.raises(WeightsError, match=r"needs its weights.*published as IGNF/Elsewhere"):
        resolve_model(small_card(source="IGNF/Elsewhere"), compute=TWO)
    with pytest.raises(WeightsError, match="not 0000"):
        resolve_model(card, weights=path, sha256="0" * 64, compute=TWO)

    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(WeightsError, match="another version, or damaged"):
        model.open()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"device": "gpu"}, "'gpu' is not a device"),
        ({"device": "cpu", "bfloat16": True}, "the card of small does not allow it"),
        ({"device": "cuda"}, "no GPU"),
    ],
)
def test_a_device_that_is_not_there_is_refused(small_card, settings, message, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    with pytest.raises(ConfigError, match=message):
        resolve_model(small_card(), weights=__file__, compute=Compute(**settings))


def test_bfloat16_needs_a_card_that_allows_it(small_card, monkeypatch):
    monkeypatch.setattr("landweave.models.settings.gpu_available", lambda: True)
    allowing = small_card(numerics={"bfloat16": True})

    model = resolve_model(allowing, weights=__file__, compute=Compute(bfloat16=True))
    assert (model.settings.device, model.fingerprint_fields["numerics"]["dtype"]) == ("cuda", "bfloat16")
    with pytest.raises(ConfigError, match="card of small does not"):
        resolve_model(small_card(), weights=__file__, compute=Compute(bfloat16=True))


def test_memory_is_computed_once_for_the_same_settings(unet, monkeypatch):
    found = unet.memory_bytes()
    model_bytes.cache_clear()  # as another process
    monkeypatch.setattr("landweave.models.loading.peak_bytes", lambda call: pytest.fail("computed again"))
    assert replace(unet, weights=unet.weights.with_name("moved")).memory_bytes() == found


def test_memory_grows_with_the_batch_and_holds_the_weights(small_card, weights_of):
    card = small_card()
    weights = weights_of(card)
    one, two, four = (
        resolve_model(card, weights=weights, compute=Compute(batch_size=n)).memory_bytes() for n in (1, 2, 4)
    )

    assert one > weights.stat().st_size * 0.9
    assert two > one
    assert four - two == 2 * (two - one)


@pytest.mark.filterwarnings("ignore:User provided device_type of 'cuda'")
def test_a_gpu_convolves_by_cudnn_by_a_fixed_choice_in_full_precision(small_card):
    before = torch.backends.cudnn.deterministic
    asked = resolve_model(small_card(), weights=__file__, compute=Compute(device="cuda", elsewhere=True)).settings
    with numerics(asked):
        cudnn = torch.backends.cudnn
        assert (cudnn.enabled, cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32) == (True, True, False, False)
    assert torch.backends.cudnn.deterministic == before
