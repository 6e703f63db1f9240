"""The experiment: intervals against known answers, the rules of the claims, rows that parse, a runner that resumes."""

import json
import sys
import time
from argparse import Namespace

import numpy as np
import pytest
from tiny_run import ROOT, make_data, write_config

sys.path.insert(0, str(ROOT))
from standins import Difference

from benchmarks.experiment import jobs, protocol, report, run, score
from benchmarks.experiment.bootstrap import block_weights, interval, weighted_mean, weighted_miou
from benchmarks.experiment.claims import CLAIMS, Comparison
from ssg_hub.evaluation import metrics
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
        ("advice", {}, "supported"),
        ("advice", {"mixedguide_ssg_miou": 0.0, "mixedguide_genericguide_lpips": 0.0}, "supported"),
        ("advice", {"mixedguide_ssg_miou": -0.05}, "undecided"),  # better in one figure, worse in the other
        ("advice", {"mixedguide_ssg_miou": 0.0, "mixedguide_ssg_lpips": 0.0}, "undecided"),
        ("advice", {"mixedguide_genericguide_miou": -0.05, "mixedguide_genericguide_lpips": 0.0}, "not supported"),
        ("c", {}, "supported"),
        ("c", {"ssg_bank_flat_noise": -0.05}, "undecided"),
        ("c", {"ssg_bank_flat_noise": -0.05, "ssg_bicubic_color_drift": -0.05}, "not supported"),
    ],
)
def test_claims_follow_the_protocol(claim, changed, outcome):
    assert CLAIMS[claim].weigh(differences(**changed)).outcome == outcome


def test_a_verdict_names_what_a_change_of_it_hangs_on():
    verdict = CLAIMS["b"].weigh(differences(ssg_bank_miou=0.0))
    assert verdict.against == ["ssg − bank, mIoU"]
    assert CLAIMS["b"].weigh(differences()).against == []


def configured(training):
    job = next(job for job in jobs.row_jobs(training.steps) if job.folder == training.folder)
    return parse_config(list(job.command[2:]))


@pytest.mark.parametrize("row", protocol.ROWS)
def test_rows_are_configurations_that_differ_where_they_say(row):
    camera = next(camera for camera, _, rows in protocol.ORDER if row in rows)
    config, ssg = (configured(protocol.Training(name, camera, 0, 90)) for name in (row, "ssg"))
    assert (config.seed, config.adversarial_steps, config.warmup_steps) == (0, 90, 0)
    assert config.target in ([f"camvid/target_lr/{camera}"], []) and config.dev_lr == [f"camvid/dev_lr/{camera}"]
    different = {key for key, value in config if value != getattr(ssg, key)}
    assert different <= {*protocol.ROWS[row].changes, "output_dir", "degradation"}
    assert ssg.degradation == f"banks/{camera}"


def test_every_claim_is_tested_first_and_every_row_is_trained_once():
    order = protocol.trainings()
    assert len({training.folder for training in order}) == len(order) and {t.row for t in order} == set(protocol.ROWS)
    assert [t.camera for t in order].index("noisy") > [t.seed for t in order].index(2)
    first = {t.row for t in order[:8]}
    assert all(set(claim.rows) <= first for claim in CLAIMS.values())
    for row in protocol.COMPARED:
        assert {t.seed for t in order if (t.row, t.camera) == (row, "phone")} == {0, 1, 2}


def test_the_start_is_trained_from_scratch_on_bicubic_pairs_alone():
    start = next(job for job in jobs.preparations() if job.makes.parent == jobs.START)
    config = parse_config(list(start.command[2:]))
    assert (config.degradation, config.generator_weights, config.target) == ("bicubic", None, [])
    assert config.adversarial_steps == 0 and config.warmup_steps == start.steps
    row = configured(protocol.Training("ssg", "phone", 0))
    assert row.generator_weights == str(config.output_dir / "model")


def test_flat_noise_is_measured_where_hr_is_flat():
    rng = np.random.default_rng(0)
    hr = np.full((64, 64, 3), 0.5)
    hr[:, 32:] = rng.random((64, 32, 1))  # detail, which does not count
    noise = rng.normal(0, 6, (64, 64, 1))
    sr = (hr * 255 + noise).clip(0, 255).round().astype(np.uint8)
    raised = (hr * 255).round().astype(np.uint8) + 9  # an offset, which is no noise
    noise = [metrics.flat_noise(score.to_batch(p / 255), score.to_batch(hr)).item() for p in (sr, raised)]
    assert noise[0] == pytest.approx(6, rel=0.1) and noise[1] < 0.5


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
    folders = (data / "lr", data / "hr/images", data / "hr/labels")
    scores = score.score(FromFolder(data / "hr/images"), *folders, measures, Difference())
    row = report.read_row({"0": json.loads(json.dumps(score.pack(scores)))})
    assert set(row.counts) == {"plain", "shifted", "jpeg"}
    whole = np.ones((1, 3), int)
    for variant, by_stem in scores.items():
        expected = summarize(list(by_stem.values()), guide.labels)["miou"]
        assert report.figure_draws(row, "miou", variant, whole)[0] == pytest.approx(expected, abs=1e-4)
    expected = {"flat_noise": 0, "ssim_y": 1, "lpips": 0, "dists": 0}  # SR is HR here
    expected["boundary_f"] = summarize(list(scores["plain"].values()), guide.labels)["boundary_f"]
    for figure, value in expected.items():
        assert report.figure_draws(row, figure, "plain", whole)[0] == pytest.approx(value, abs=1e-4)
    assert np.isnan(row.values["psnr_y"]).all() and np.isfinite(row.values["dists"]).tolist() == [True, False, False]
    assert report.compare(row, row, "miou").value == 0


def write_rows(steps, frames=30, **shares):
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
        file = protocol.Training(row.replace("_", "-"), "phone", 0, steps).result
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(record))


def test_the_report_says_what_is_there_and_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(protocol, "RESULTS", tmp_path)
    write_rows(2, bank=0.6, ssg=0.7, bicubic=0.4)
    protocol.state_file(2).write_text(json.dumps({"2-steps/phone/generic-seed0": "cut short at step 1 of 2"}))
    rows = report.load_rows("phone", 2)
    text = report.build_section(rows, "phone", 2)
    assert list(rows) == ["bicubic", "bank", "ssg"] and "3 trainings took 3 minutes of CPU time" in text
    assert "generic seed 0 (cut short at step 1 of 2)" in text and "ssg seed 1 (not scored)" in text
    assert "ssg seed 0" not in text
    verdicts = report.judge_claims(rows)
    assert verdicts["a"].outcome == verdicts["b"].outcome == "not tested: rows are missing"
    gain = report.compare(rows["ssg"], rows["bank"], "miou")
    iou = [np.mean([share / (2 - share)]) for share in (0.6, 0.7)]
    assert gain.low < gain.value < gain.high and gain.value == pytest.approx(iou[1] - iou[0], abs=0.01)
    assert gain.better and not report.compare(rows["bank"], rows["ssg"], "miou").better


def scored(**options):
    return Namespace(steps=2, part="val", partial=False, cameras=["phone"], **options)


def test_val_is_not_read_before_all_rows_are_finished(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(jobs, "ROOT", tmp_path)
    monkeypatch.setattr(score, "load_guide", lambda name: pytest.fail("went on to the pictures"))
    (tmp_path / protocol.Training("bank", "phone", 0, 2).folder / "checkpoints/adversarial-0000001").mkdir(parents=True)
    with pytest.raises(SystemExit, match="rows are missing"):
        score.run(scored())
    assert "phone/bank-seed0: cut short at step 1 of 2" in capsys.readouterr().out


def counting_jobs(folder, ticks):
    """Jobs that note each second in a file, keep what they have done when told to stop, and make the second's need."""
    script = folder / "count.py"
    script.write_text(
        "import pathlib, signal, sys, time\n"
        "made, ticks = pathlib.Path(sys.argv[1]), int(sys.argv[2])\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit('stopped'))\n"
        "notes = made.parent / 'notes'\n"
        "while (done := len(notes.read_text()) if notes.exists() else 0) < ticks:\n"
        "    notes.write_text('x' * (done + 1)); time.sleep(0.2)\n"
        "made.write_text('whole')\n"
    )
    made = [folder / name / "made" for name in ("first", "second")]
    return [
        jobs.Job(path.parent, (sys.executable, str(script), str(path), str(ticks)), path, tuple(made[:index]))
        for index, path in enumerate(made)
    ]


def test_the_runner_stops_by_the_clock_and_goes_on_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "WORTH_BEGINNING", 0)
    todo = counting_jobs(tmp_path, ticks=10)
    assert not todo[1].ready
    assert run.work(todo, time.monotonic() + 1.2) == 0
    notes = tmp_path / "first/notes"
    assert 0 < len(notes.read_text()) < 10 and not todo[0].finished and not (tmp_path / "second/notes").exists()
    assert run.work(todo, float("inf")) == 0
    assert todo[0].finished and todo[1].finished and len(notes.read_text()) == 10
    when = todo[0].makes.stat().st_mtime_ns
    assert run.work(todo, float("inf")) == 0 and todo[0].makes.stat().st_mtime_ns == when
    assert json.loads((tmp_path / "first/cost.json").read_text())["machine"]


def test_two_runners_never_do_the_same_job(tmp_path):
    with jobs.claim(tmp_path / "a") as mine, jobs.claim(tmp_path / "a") as others, jobs.claim(tmp_path / "b") as more:
        assert mine and more and not others
    with jobs.claim(tmp_path / "a") as mine:
        assert mine


def test_a_job_that_fails_ends_the_series_with_its_log_named(tmp_path, capsys):
    job = jobs.Job(tmp_path / "bad", (sys.executable, "-c", "import sys; sys.exit('no data')"), tmp_path / "bad/made")
    assert run.work([job], float("inf")) == 1
    assert "train.log" in capsys.readouterr().out and "no data" in (tmp_path / "bad/train.log").read_text()


@pytest.mark.slow
def test_a_row_is_trained_by_the_real_script_and_resumed(tmp_path, monkeypatch):
    data = make_data(tmp_path / "data")
    config = write_config(tmp_path, data, checkpoint_every=1, gradients_every=10)
    keys = {"generator_weights": None, "target": ["lr"], "dev_lr": [], "degradation": "generic", "source": ["hr"]}
    options = (
        protocol.Training("ssg", "phone", 0, 10).options
        | keys
        | {"output_dir": str(tmp_path / "run"), "tracker": "tensorboard"}
    )
    job = jobs.training_job(config, tmp_path / "run", tmp_path / "run/model" / jobs.MODEL, 10, options=options)
    assert run.work([job], float("inf")) == 0
    weights = job.makes.read_bytes()
    curves = score.training_facts(job)["curves"]
    assert {"adversarial/gradient_l1", "adversarial/gradient_guide"} <= set(curves)
    job.makes.unlink()  # as if the run had been interrupted before its last word
    assert job.state == "cut short at step 10 of 10" and run.work([job], float("inf")) == 0
    assert job.makes.read_bytes() == weights
