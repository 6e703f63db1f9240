"""Calibrated drift: probabilities, trusted regions of known risk, their place in the config, and refusals."""

import json

import numpy as np
import pytest
import torch
from conftest import make_tiny_model
from PIL import Image

from benchmarks.calibration.calibrating import (
    calibration_error,
    conformal_level,
    count_levels,
    fit_logistic,
    reliability,
    risk_curves,
)
from ssg_hub import SSGModel
from ssg_hub.errors import CheckpointError, ConfigError, SSGError
from ssg_hub.plain_model import read_model
from ssg_hub.upscaling.calibration import Calibration, measure_features
from ssg_hub.upscaling.streaming import upscale_file

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 30, 3), np.uint8))


def made(model, **changes) -> Calibration:
    classes = tuple(-1.5 + 0.1 * k for k in range(len(model.labels)))
    return Calibration((2.0, 1.0, -0.5), classes, {0.05: 0.1, 0.1: 0.3, 0.2: 1.0}, "made up", **changes)


def test_features_of_known_labels():
    even, sure = torch.full((4, 1, 1), 0.25), torch.tensor([1.0, 0, 0, 0]).view(4, 1, 1)
    drift = torch.full((1, 1, 1), 0.4)
    assert measure_features(even, drift).flatten().tolist() == pytest.approx([0.4, 1.0, np.log(1 / 3)])
    assert measure_features(sure, drift).flatten().tolist() == pytest.approx([0.4, 0.0, 8.0])


def test_the_probability_is_the_logistic_of_the_terms():
    calibration = Calibration((2.0, 1.0, -0.5), (0.5, -0.5), {})
    labels, drift = torch.tensor([0.8, 0.2]).view(2, 1, 1), torch.full((1, 1, 1), 0.3)
    entropy = -(0.8 * np.log(0.8) + 0.2 * np.log(0.2)) / np.log(2)
    z = 2 * 0.3 + entropy - 0.5 * np.log(4) + 0.5 * 0.8 - 0.5 * 0.2
    assert calibration.probability(labels, drift).item() == pytest.approx(1 / (1 + np.exp(-z)), abs=1e-6)


def test_without_a_calibration_the_drift_is_as_it_was_and_nothing_is_trusted(tiny_model):
    result = tiny_model.upscale(PICTURE)
    assert tiny_model.calibration is None and result.report["calibrated"] is False
    with pytest.raises(SSGError, match="no calibration"):
        result.trust()
    with pytest.raises(SSGError, match="not segmented"):
        tiny_model.upscale(PICTURE, segment=False).trust()


@pytest.mark.parametrize("tile", [None, 16])
def test_a_calibrated_model_gives_probabilities_and_regions_that_grow_with_the_risk(tiny_model, tile):
    plain = tiny_model.upscale(PICTURE, tile=None)
    tiny_model.set_calibration(made(tiny_model))
    result = tiny_model.upscale(PICTURE, tile=tile)
    assert result.report["calibrated"] is True
    assert np.array_equal(np.asarray(result.mask), np.asarray(plain.mask)) or tile
    assert not np.array_equal(np.asarray(result.drift), np.asarray(plain.drift))
    regions = [result.trust(alpha) for alpha in (0.05, 0.1, 0.2)]
    assert np.array_equal(result.trust(np.float32(0.1)), regions[1])
    assert all(region.dtype == bool and region.shape == result.image.size[::-1] for region in regions)
    assert all((small <= large).all() for small, large in zip(regions, regions[1:], strict=False)) and regions[2].all()
    assert np.array_equal(regions[1], np.asarray(result.drift) <= 76)


@pytest.mark.parametrize("alpha", [0.07, 0, 1, -1, float("nan"), "0.1", None])
def test_a_risk_outside_of_the_table_is_refused(tiny_model, alpha):
    result = tiny_model.set_calibration(made(tiny_model)).upscale(PICTURE)
    with pytest.raises(SSGError, match=r"alpha is .*knows the risks 0.05, 0.1, 0.2"):
        result.trust(alpha)


def test_the_calibration_is_saved_and_loaded_by_both_classes(tiny_model, tmp_path):
    tiny_model.set_calibration(made(tiny_model)).save_pretrained(tmp_path)
    for again in (SSGModel.from_pretrained(tmp_path), read_model(tmp_path)):
        assert again.calibration == made(tiny_model)
        assert np.array_equal(np.asarray(again.upscale(PICTURE).drift), np.asarray(tiny_model.upscale(PICTURE).drift))
    SSGModel.from_pretrained(tmp_path).set_calibration(None).save_pretrained(tmp_path / "without")
    assert SSGModel.from_pretrained(tmp_path / "without").calibration is None


def test_a_config_of_before_still_loads(saved):
    config = json.loads((saved / "config.json").read_text())
    config.pop("calibration", None)
    (saved / "config.json").write_text(json.dumps(config))
    assert SSGModel.from_pretrained(saved).calibration is None and read_model(saved).calibration is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"classes": [0.0] * 3}, "the guide has"),
        ({"weights": {"drift": 1.0}}, "weights"),
        ({"weights": {"drift": 1.0, "entropy": None, "log_odds": 1}}, "weights"),
        ({"thresholds": {"often": 0.2}}, "thresholds"),
        ({"thresholds": {"0.1": 2}}, "thresholds"),
        ({"thresholds": [0.1]}, "thresholds"),
        ({"verified": 3}, "verified"),
        ({"extra": 1}, "dict of"),
    ],
)
def test_a_damaged_calibration_is_refused(tiny_model, tmp_path, changes, words):
    tiny_model.set_calibration(made(tiny_model)).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["calibration"] |= changes
    (tmp_path / "config.json").write_text(json.dumps(config))
    for load in (SSGModel.from_pretrained, read_model):
        with pytest.raises(CheckpointError, match=words):
            load(tmp_path)


def test_a_calibration_of_another_guide_is_refused_at_once(tiny_model):
    with pytest.raises(ConfigError, match="the guide has"):
        tiny_model.set_calibration(Calibration((0, 0, 0), (0, 0), {}))


def test_from_file_to_file_the_drift_is_calibrated_as_well(tiny_model, tmp_path):
    tiny_model.set_calibration(made(tiny_model))
    PICTURE.save(tmp_path / "lr.png")
    upscale_file(tiny_model, tmp_path / "lr.png", None, drift=tmp_path / "drift.png")
    written, expected = np.asarray(Image.open(tmp_path / "drift.png")), np.asarray(tiny_model.upscale(PICTURE).drift)
    assert np.abs(written.astype(int) - expected).max() <= 1


def test_the_regression_finds_the_terms_that_made_the_data():
    rng = np.random.default_rng(0)
    inputs, terms = np.column_stack((rng.normal(size=(20000, 2)), np.ones(20000))), np.array([1.0, -2.0, 0.5])
    share = rng.binomial(16, 1 / (1 + np.exp(-inputs @ terms))) / 16
    assert fit_logistic(inputs, share, np.full(20000, 16.0)) == pytest.approx(terms, abs=0.03)


def test_reliability_and_its_error_of_known_data():
    rng = np.random.default_rng(1)
    drift = rng.integers(0, 256, (500, 500), np.uint8)
    wrong = rng.random(drift.shape) < drift / 255
    assert calibration_error(count_levels(drift, wrong, np.ones(drift.shape, bool))) < 0.01
    always = count_levels(
        np.full((4, 4), 51, np.uint8), np.arange(16).reshape(4, 4) < 8, np.arange(16).reshape(4, 4) < 12
    )
    assert always.sum() == 12 and calibration_error(always) == pytest.approx(abs(51 / 255 - 8 / 12))
    assert reliability(always) == [(pytest.approx(0.2), pytest.approx(8 / 12), 12)]


def test_the_conformal_level_controls_the_risk_on_new_pictures():
    """Pictures that differ in how often they are wrong; over many draws the mean risk is below alpha, and near it."""
    rng = np.random.default_rng(2)

    def draw(count):
        histograms = []
        for scale in rng.uniform(0.2, 1.4, count):
            drift = rng.integers(0, 256, 2000)
            wrong = rng.random(2000) < np.clip(drift / 255 * scale, 0, 1)
            histograms.append(count_levels(drift[None], wrong[None], np.ones((1, 2000), bool)))
        return risk_curves(np.stack(histograms))

    for alpha in (0.1, 0.2):
        risks = []
        for _ in range(15):
            level = conformal_level(draw(60), alpha)
            risks.append(draw(40)[:, level].mean())
        assert alpha - 0.04 < np.mean(risks) <= alpha


def test_a_risk_that_cannot_be_had_has_no_level():
    assert conformal_level(np.full((50, 256), 0.3), 0.1) is None
    assert conformal_level(np.zeros((50, 256)), 0.1) == 255
    assert conformal_level(np.zeros((5, 256)), 0.1) is None  # too few pictures to say so
    falling = np.tile(np.where(np.arange(256) < 10, 0.5, 0.0), (50, 1))
    assert conformal_level(falling, 0.1) is None  # lower levels must comply as well


def test_new_generator_weights_drop_the_calibration(tiny_model, tmp_path):
    from safetensors.torch import save_file

    calibrated = make_tiny_model().set_calibration(made(tiny_model))
    save_file({k: v.contiguous() for k, v in calibrated.generator.state_dict().items()}, tmp_path / "w.safetensors")
    assert calibrated.load_generator(tmp_path / "w.safetensors").calibration is None
