"""The experiment: intervals against known answers, the rules of the claims, rows that parse, a runner that resumes."""

import json
import sys

import numpy as np
import pytest
from tiny_run import ROOT, make_data, write_config

sys.path.insert(0, str(ROOT))
from standins import Difference

from benchmarks.experiment import protocol, report, score, train
from benchmarks.experiment.bootstrap import block_weights, interval, weighted_mean, weighted_miou
from benchmarks.experiment.claims import CLAIMS, Comparison
from ssg_hub.evaluation.methods import FromFolder
from ssg_hub.evaluation.scoring import Measures, summarize
from ssg_hub.training.config import parse_config


def test_draws_are_whole_blocks_that_go_round():
    weights = block_weights(frames=12, block=4, draws=500)
    assert weights.shape == (500, 12) and (weights.sum(1) == 12).all()
    assert (weights[:, 0] > 0).any() and (np.abs(weights.mean(0) - 1) < 0.2).all()
    once = block_weights(frames=12, block=12, draws=50)
    assert (once == 1).all()  # one block is the whole circle, wherever it starts


def test_the_interval_of_a_mean_has_the_known_width():
    values = np.random.default_rng(0).normal(5, 2, 400)
    low, high = interval(weighted_mean(values, block_weights(400, block=1)))
    expected = 2 * 1.96 * values.std() / 400**0.5
    assert low < values.mean() < high and abs((high - low) / expected - 1) < 0.08


def test_blocks_widen_the_interval_where_neighbours_are_alike():
    values = np.repeat(np.random.default_rng(0).normal(size=40), 10)
    width = {}
    for block in (1, 10):
        low, high = interval(weighted_mean(values, block_weights(400, block=block)))
        width[block] = high - low
    assert 2 < width[10] / width[1] < 4  # 10 frames are one observation: about the root of 10


def test_miou_of_draws_is_that_of_their_frames_together():
    counts = np.array([[[8, 0], [10, 0], [8, 2]], [[1, 6], [2, 8], [3, 7]]])  # hits, labelled, predicted; two classes
    miou = weighted_miou(counts, np.array([[1, 1], [2, 0]]))
    assert miou[0] == pytest.approx((9 / (12 + 11 - 9) + 6 / (8 + 9 - 6)) / 2)
    assert miou[1] == pytest.approx((16 / (20 + 16 - 16) + 0 / 4) / 2)


def differences(**changed):
    """Every comparison clearly good for the first row, but for those named FIRST_SECOND_FIGURE."""

    def difference(a, b, figure, variant="plain"):
        up = report.COLUMNS[figure][0].endswith("↑")
        value = changed.get(f"{a}_{b}_{figure}".replace("-", ""), changed.get(variant, 0.05))
        value = value if up else -value
        return Comparison(value, value - 0.02, value + 0.02, higher_is_better=up)

    return difference


@pytest.mark.parametrize(
    ("claim", "changed", "outcome"),
    [
        ("a", {}, "supported"),
        ("a", {"jpeg": 0.0}, "undecided"),  # a gain that JPEG takes away
        ("a", {"ssg_bank_lpips": -0.05}, "undecided"),
        (
            "a",
            {"ssg_bank_miou": -0.05, "genericguide_generic_miou": -0.03, "bicubicguide_bicubic_miou": 0},
            "not supported",
        ),
        ("b", {}, "supported"),
        ("b", {"ssg_bank_miou": 0.0}, "undecided"),
        ("b", {"ssg_bicubicguide_miou": -0.05}, "not supported"),
        ("b", {"ssg_bank_miou": 0.0, "ssg_bank_lpips": -0.05}, "not supported"),
        ("control", {}, "supported"),
        ("control", {"jpeg": 0.0}, "undecided"),
        ("control", {"ssg_bankconsistency_miou": -0.02}, "not supported"),
        ("c", {}, "supported"),
        ("c", {"ssg_bank_flat_noise": -0.05}, "undecided"),
        ("c", {"ssg_bank_flat_noise": -0.05, "ssg_bicubic_color_drift": -0.05}, "not supported"),
    ],
)
def test_claims_follow_the_protocol(claim, changed, outcome):
    assert CLAIMS[claim].weigh(differences(**changed)).outcome == outcome


@pytest.mark.parametrize("row", protocol.ROWS)
def test_rows_are_configurations_that_differ_where_they_say(row):
    config, ssg = (
        parse_config(protocol.train_command(protocol.row_options(name, "noisy", 3, 50))[2:]) for name in (row, "ssg")
    )
    assert (config.seed, config.adversarial_steps, config.warmup_steps) == (3, 50, 0)
    assert config.target in (["camvid/target_lr/noisy"], []) and config.dev_lr == ["camvid/dev_lr/noisy"]
    different = {key for key, value in config if value != getattr(ssg, key)}
    assert different <= {*protocol.ROWS[row].changes, "output_dir", "degradation"}
    assert "noisy" in ssg.degradation


def test_the_start_is_trained_without_target_pictures():
    config = parse_config(protocol.train_command(protocol.warm_up_options())[2:])
    assert (config.degradation, config.adversarial_steps, config.guide_weight) == ("bicubic", 0, 0)


def test_flat_noise_is_measured_where_hr_is_flat():
    rng = np.random.default_rng(0)
    hr = np.full((64, 64, 3), 0.5)
    hr[:, 32:] = rng.random((64, 32, 1))  # detail, which does not count
    noise = rng.normal(0, 6, (64, 64, 1))
    sr = (hr * 255 + noise).clip(0, 255).round().astype(np.uint8)
    assert score.flat_noise(sr, hr) == pytest.approx(6, rel=0.1)
    assert score.flat_noise((hr * 255).round().astype(np.uint8) + 9, hr) < 0.5  # an offset is no noise


def test_a_pattern_for_one_network_is_moved_and_compressed():
    picture = np.linspace(0, 1, 24 * 32 * 3, dtype=np.float32).reshape(24, 32, 3)
    moved = score.shift(picture)
    assert moved.shape == picture.shape and np.array_equal(moved[1:, 1:], picture[:-1, :-1])
    assert 1e-4 < np.abs(score.jpeg(picture) - picture).mean() < 0.02


def test_scores_survive_the_way_into_the_file_and_back(tmp_path, tiny_model):
    """What the report computes from the kept counts is what the evaluation computed from the pictures."""
    data = make_data(tmp_path / "data", pictures=3)
    guide = tiny_model.guide
    measures = Measures(scale=4, distances={"lpips": Difference()}, judge=guide, labels=guide.labels, void=11)
    scores = score.score(FromFolder(data / "hr/images"), data / "lr", data / "hr/images", data / "hr/labels", measures)
    row = report.read_row({"0": json.loads(json.dumps(score.pack(scores)))})
    assert set(row.counts) == {"plain", "shifted", "jpeg"}
    whole = np.ones((1, 3), int)
    for variant, by_stem in scores.items():
        expected = summarize(list(by_stem.values()), guide.labels)["miou"]
        assert report.figure_draws(row, "miou", variant, whole)[0] == pytest.approx(expected, abs=1e-4)
    expected = {"flat_noise": 0, "ssim_y": 1, "lpips": 0}  # SR is HR here
    expected["boundary_f"] = summarize(list(scores["plain"].values()), guide.labels)["boundary_f"]
    for figure, value in expected.items():
        assert report.figure_draws(row, figure, "plain", whole)[0] == pytest.approx(value, abs=1e-4)
    assert np.isnan(row.values["psnr_y"]).all()
    assert report.compare(row, row, "miou").value == 0


def write_rows(folder, frames=30, **shares):
    """Result files as `score` keeps them: each row labels its share of the pixels rightly."""
    rng = np.random.default_rng(0)
    hard = rng.uniform(-0.05, 0.05, frames)
    for row, share in shares.items():
        hits = [[int(1000 * (share + h)), int(500 * (share + h))] for h in hard]
        record = {
            "training": {"seconds": 60, "machine": "this"},
            "figures": {name: [1 - share] * frames for name in report.FIGURES},
            "labelled": [[1000, 500]] * frames,
            "counts": {name: [[hit, [1000, 500]] for hit in hits] for name in ("plain", "shifted", "jpeg")},
        }
        (folder / f"{row}-seed0.json").write_text(json.dumps(record))


def test_the_report_says_what_is_there_and_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "result_file", lambda row, camera, seed, steps: tmp_path / f"{row}-seed0.json")
    write_rows(tmp_path, bank=0.6, ssg=0.7, bicubic=0.4)
    rows = report.load_rows("phone", 2)
    text = report.build_section(rows, "phone", 2)
    assert list(rows) == ["bicubic", "bank", "ssg"] and "3 trainings took 3 minutes of CPU time" in text
    assert "Not there yet: interpolation" in text and "bicubic-guide" in text
    verdicts = report.judge_claims(rows)
    assert verdicts["a"].outcome == verdicts["b"].outcome == "not tested: rows are missing"
    gain = report.compare(rows["ssg"], rows["bank"], "miou")
    iou = [np.mean([share / (2 - share)]) for share in (0.6, 0.7)]
    assert gain.low < gain.value < gain.high and gain.value == pytest.approx(iou[1] - iou[0], abs=0.01)
    assert gain.better and not report.compare(rows["bank"], rows["ssg"], "miou").better


def test_val_is_not_read_before_all_rows_are_finished(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(score, "ROOT", tmp_path)
    monkeypatch.setattr(score, "load_measures", lambda: pytest.fail("went on to the pictures"))
    monkeypatch.setattr(sys, "argv", ["score"])
    with pytest.raises(SystemExit):
        score.main()
    assert "not finished" in capsys.readouterr().err


@pytest.mark.slow
def test_the_runner_goes_on_where_it_was_and_skips_what_is_done(tmp_path, monkeypatch, capsys):
    data = make_data(tmp_path / "data")
    config = write_config(tmp_path, data, checkpoint_every=1)
    monkeypatch.setattr(protocol, "BASE", config)
    monkeypatch.setattr(protocol, "RUNS", tmp_path / "runs")
    keys = {"generator_weights": None, "target": ["lr"], "dev_lr": [], "degradation": "generic", "source": ["hr"]}
    overrides = [f"{key}={json.dumps(value)}" for key, value in keys.items()]
    monkeypatch.setattr(train, "ROOT", ROOT)
    line = ["train", "--rows", "bank", "ssg", "--steps", "2", "--override", *overrides, "warmup_steps=1"]

    monkeypatch.setattr(sys, "argv", line)
    assert train.main() == 0
    weights = [
        train.run_folder(row, "phone", 0, 2) / "model/diffusion_pytorch_model.safetensors" for row in ("bank", "ssg")
    ]
    before = [path.read_bytes() for path in weights]
    weights[1].unlink()  # as if the run had been interrupted before its last word
    times = weights[0].stat().st_mtime_ns
    assert train.main() == 0
    assert "3 runs, 2 finished before" in capsys.readouterr().out
    assert weights[0].stat().st_mtime_ns == times and weights[1].read_bytes() == before[1]
