"""Fit the logistic regression and the thresholds, and write them into a model's config."""

import json
from pathlib import Path

import numpy as np
import torch

from benchmarks.calibration.calibrating import conformal_level, count_levels, fit_logistic, risk_curves
from benchmarks.calibration.frames import Labelled, for_fit, open_lr
from ssg_hub.loading import load_model
from ssg_hub.storage.config_file import CONFIG
from ssg_hub.upscaling.calibration import FEATURES, LEVELS, Calibration, measure_features
from ssg_hub.upscaling.engines.base import CELL
from ssg_hub.upscaling.engines.choice import open_engine
from ssg_hub.upscaling.soft_masks import total_variation

RISKS = (0.05, 0.1, 0.15, 0.2, 0.3)
VERIFIED = (
    "Fitted on street scenes of one drive (CamVid 0016E5, pictures of 120x90) by five kinds of cameras, and verified "
    "on three other kinds and other frames of that drive. Elsewhere it is a guess."
)


def add_options(parser) -> None:
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="the saved model")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every Nth frame, for a quick look")


def run(options) -> None:
    config = json.loads((options.output / CONFIG).read_text(encoding="utf-8"))
    model = load_model(str(options.output)).set_calibration(None)
    pictures = list(for_fit(options.every))
    print(f"{len(pictures)} pictures", flush=True)
    terms = fit_terms(model, pictures)
    split = terms[: len(FEATURES)], terms[len(FEATURES) :]
    model.set_calibration(Calibration(*split, {}))
    risks = risk_curves(np.stack([score(model, picture) for picture in pictures]))
    levels = {risk: conformal_level(risks, risk) for risk in RISKS}
    thresholds = {risk: round(level / (LEVELS - 1), 5) for risk, level in levels.items() if level is not None}
    calibration = Calibration(*split, thresholds, VERIFIED)
    config["calibration"] = calibration.to_config()
    model.set_calibration(calibration)  # checks it
    (options.output / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    print(json.dumps(config["calibration"], indent=1))


def fit_terms(model, pictures: list[Labelled]) -> tuple[float, ...]:
    """The terms of features and classes, from the cells of all pictures."""
    engine = open_engine(model.generator, model.guide, "torch", "cpu", None)
    inputs, wrong, weight = [], [], []
    with engine.running():
        for picture in pictures:
            cells, share, valid = _measure(model, engine, picture)
            inputs.append(cells[valid > 0])
            wrong.append(share[valid > 0])
            weight.append(valid[valid > 0])
    terms = fit_logistic(np.concatenate(inputs), np.concatenate(wrong), np.concatenate(weight))
    return tuple(round(float(term), 5) for term in terms)


def _measure(model, engine, picture: Labelled) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each cell: features and soft labels (cells, F), share of wrong pixels, and how many pixels have a label."""
    lr = open_lr(picture)
    result = model.upscale(lr, tile=None, uncertain_below=0.0, engine="torch")
    after = engine.segment(_tensor(result.image))
    before = engine.segment(_tensor(lr.resize(result.image.size, 3)))  # bicubic
    cells = torch.cat((measure_features(after, total_variation(before, after)), after)).flatten(1).T.double().numpy()
    valid = picture.valid
    wrong = (np.asarray(result.mask) != picture.labels) & valid
    height, width = (side // CELL for side in valid.shape)
    wrong, valid = (part.reshape(height, CELL, width, CELL).sum((1, 3)).ravel() for part in (wrong, valid))
    return cells, wrong / np.maximum(valid, 1), valid.astype(float)


def score(model, picture: Labelled) -> np.ndarray:
    """Right and wrong pixels by the byte of the drift map, (2, 256)."""
    result = model.upscale(open_lr(picture), tile=None, uncertain_below=0.0, engine="torch")
    return count_levels(np.asarray(result.drift), np.asarray(result.mask) != picture.labels, picture.valid)


def _tensor(image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image, np.float32) / 255).permute(2, 0, 1)
