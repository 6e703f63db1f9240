"""The experiment: intervals against known answers, the rules of the claims, rows that parse, a runner that resumes."""

import json
import sys
import time
from argparse import Namespace

import numpy as np
import pytest
from PIL import Image
from tiny_run import ROOT, make_data, write_config

sys.path.insert(0, str(ROOT))
from standins import Difference

from benchmarks.document import write_section
from benchmarks.experiment import guides, jobs, protocol, report, rows, run, score, why
from benchmarks.experiment.bootstrap import block_weights, interval, weighted_mean, weighted_miou
from benchmarks.experiment.claims import CLAIMS, Comparison
from benchmarks.pictures import experiment
from ssg_hub.evaluation import metrics
from ssg_hub.evaluation.figures import HEADINGS
from ssg_hub.evaluation.methods import FromFolder, Result
from ssg_hub.evaluation.scoring import Measures, evaluate_folder, summarize
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
        up = HEADINGS[figure].endswith("↑")
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
    row = rows.read_row({"0": json.loads(json.dumps(score.pack(scores)))})
    assert set(row.counts) == {"plain", "shifted", "jpeg"}
    whole = np.ones((1, 3), int)
    for variant, by_stem in scores.items():
        expected = summarize(list(by_stem.values()), guide.labels)["miou"]
        assert rows.figure_draws(row, "miou", variant, whole)[0] == pytest.approx(expected, abs=1e-4)
    expected = {"flat_noise": 0, "ssim_y": 1, "lpips": 0, "dists": 0}  # SR is HR here
    expected["boundary_f"] = summarize(list(scores["plain"].values()), guide.labels)["boundary_f"]
    for figure, value in expected.items():
        assert rows.figure_draws(row, figure, "plain", whole)[0] == pytest.approx(value, abs=1e-4)
    assert np.isnan(row.values["psnr_y"]).all() and np.isfinite(row.values["dists"]).tolist() == [True, False, False]
    assert rows.compare(row, row, "miou").value == 0


def write_rows(steps, frames=30, camera="phone", seed=0, curves=None, **shares):
    """Result files as `score` keeps them: each row labels its share of the pixels rightly."""
    rng = np.random.default_rng(0)
    hard = rng.uniform(-0.05, 0.05, frames)
    for row, share in shares.items():
        hits = [[int(1000 * (share + h)), int(500 * (share + h))] for h in hard]
        record = {
            "training": {"seconds": 60, "machine": "this"},
            "curves": curves or {},
            "figures": {name: [1 - share] * frames for name in rows.FIGURES},
            "labelled": [[1000, 500]] * frames,
            "counts": {name: [[hit, [1000, 500]] for hit in hits] for name in ("plain", "shifted", "jpeg")},
        }
        file = protocol.Training(row.replace("_", "-"), camera, seed, steps).result
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(record))


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Results and documents of the report's own, below tmp_path."""
    monkeypatch.setattr(protocol, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(report, "ROOT", tmp_path)
    page = tmp_path / "docs/results.md"
    monkeypatch.setattr(report, "write_section", lambda name, text, path=page: write_section(name, text, path))
    (tmp_path / "docs/images").mkdir(parents=True)
    return tmp_path


def test_the_report_says_what_is_there_and_what_is_missing(results):
    write_rows(2, bank=0.6, ssg=0.7, bicubic=0.4)
    protocol.state_file(2).write_text(json.dumps({"2-steps/phone/generic-seed0": "cut short at step 1 of 2"}))
    found = rows.load_rows("phone", 2)
    text = report.build_section(found, "phone", 2)
    assert list(found) == ["bicubic", "bank", "ssg"] and "3 trainings took 3 minutes of CPU time" in text
    assert "\n- cut short at step 1 of 2: generic (0)\n" in text and "; ssg (1, 2)" in text
    assert "Of one seed, so that the variation between trainings is unknown: ssg, bank, bicubic." in text  # of (c)
    verdicts = report.judge_claims(found)
    assert verdicts["a"].outcome == verdicts["b"].outcome == "undecided: rows missing"
    assert verdicts["c"].outcome in ("supported", "not supported", "undecided")
    assert (
        "complement each other: undecided: rows missing** (seeds: ssg 1, bank 1).\n\nRows missing: bicubic-guide."
        in text
    )
    gain = rows.compare(found["ssg"], found["bank"], "miou")
    iou = [np.mean([share / (2 - share)]) for share in (0.6, 0.7)]
    assert gain.low < gain.value < gain.high and gain.value == pytest.approx(iou[1] - iou[0], abs=0.01)
    assert gain.better and not rows.compare(found["bank"], found["ssg"], "miou").better


FIRST_ROWS = {"bicubic": 0.3, "generic": 0.4, "bank": 0.45, "bicubic_guide": 0.5, "generic_guide": 0.6}


def test_readme_stays_as_it_is_until_the_claims_can_be_tested(results, capsys):
    readme, page = results / "README.md", results / "docs/results.md"
    before = "# A\n\n<!-- experiment -->\nearlier words\n<!-- /experiment -->\n\n## B\n"
    readme.write_text(before)
    write_rows(protocol.STEPS, **FIRST_ROWS)
    report.run(Namespace(steps=protocol.STEPS))
    assert readme.read_text() == before
    assert "<!-- experiment phone 1200 -->" in page.read_text()
    assert "undecided, rows missing: ssg." in capsys.readouterr().out
    write_rows(protocol.STEPS, ssg=0.7)
    report.run(Namespace(steps=protocol.STEPS))
    assert "earlier words" not in readme.read_text()
    assert "- (a) the guide loss makes training on real LR pictures work: **supported**" in readme.read_text()
    assert "**undecided: rows missing**" in readme.read_text()  # the control, which has no row yet
    after = readme.read_text(), page.read_text()
    report.run(Namespace(steps=protocol.STEPS))
    assert (readme.read_text(), page.read_text()) == after and readme.read_text().endswith("\n\n## B\n")


@pytest.mark.parametrize(
    ("checks", "marked"),
    [([0.45, 0.40], False), ([0.49, 0.817], True), ([0.775, 0.499], False), ([0.72, 0.71], True), ([0.40, 0.46], True)],
)
def test_a_training_that_diverged_is_marked(results, checks, marked):
    """By LPIPS on dev at its checks: at the end above bicubic's, or clearly above what it had been."""
    write_rows(2, curves={rows.DEV: list(zip([600, 1200], checks, strict=True))}, bank=0.6)
    write_rows(2, ssg=0.7)
    found = rows.load_rows("phone", 2)
    assert found["bank"].diverged("phone") == (["0"] if marked else []) and not found["ssg"].diverged("phone")
    text = report.build_section(found, "phone", 2)
    assert f"{checks[0]:.3f}, {checks[1]:.3f}{' **diverged** (seed 0)' if marked else ''} |" in text
    assert ("since a training diverged: bank." in text) == marked and "at step 600 and 1,200" in text
    essence = report.build_essence(found)
    assert ("the estimated bank (diverged) |" in essence) == ("(but a training diverged: bank)" in essence) == marked


def test_one_seed_of_three_that_diverged_is_named(results):
    for seed, last in enumerate((0.41, 0.9, 0.43)):
        write_rows(2, seed=seed, curves={rows.DEV: [(600, 0.44), (1200, last)]}, ssg=0.7)
    row = rows.load_rows("phone", 2)["ssg"]
    assert row.diverged("phone") == ["1"] and row.seed("2").diverged("phone") == []
    assert report.dev_cell(row, "phone") == "0.440, 0.580 **diverged** (seed 1)"


def test_gradient_shares_are_parts_of_a_hundred_over_time(results):
    steps = [50, 100, 150]
    curves = {
        "adversarial/gradient_l1": list(zip(steps, [1, 1, 1], strict=True)),
        "adversarial/gradient_guide": list(zip(steps, [1, 3, 9], strict=True)),
        "adversarial/l1": [(50, 7.0)],
    }
    shares = why.gradient_shares(curves)
    assert shares == {"l1": [(50, 50), (100, 25), (150, 10)], "guide": [(50, 50), (100, 75), (150, 90)]}
    assert why.gradient_shares({"adversarial/l1": [(50, 7.0)]}) == {}
    write_rows(2, curves=curves, ssg=0.7)
    write_rows(2, bank=0.6)
    text = why.gradient_text(rows.load_rows("phone", 2))
    assert "| **DA + guide (SSG)** | 50 · 25 · 10 | – | – | 50 · 75 · 90 | – |" in text and "DA:" not in text


def test_mixtures_stand_by_the_share_of_the_bank(results):
    write_rows(2, generic=0.4, mixed25=0.45, mixed=0.5, generic_guide=0.6)
    write_rows(2, seed=1, generic_guide=0.2)  # one seed for all: the first
    text = why.mixture_text(rows.load_rows("phone", 2), "phone")
    lines = dict(line.strip("| ").split(" | ", 1) for line in text.splitlines() if line.startswith("| "))
    assert lines["1"] == "missing | missing | missing | missing"
    assert lines["0"].count("(") == 4 and "0.400 (0.400–0.400)" in lines["0"]  # LPIPS is 1 - share in these records
    assert lines["½"].startswith(f"{0.5 / 1.5:.2f}") and lines["½"].endswith("missing | missing")
    write_rows(4, generic=0.4, ssg=0.7)
    assert why.mixture_text(rows.load_rows("phone", 4), "phone") == ""


def test_both_guides_read_what_a_method_makes(tmp_path, tiny_model):
    """HR is read as the guide reads it; the limit takes the first pictures alone."""
    data = make_data(tmp_path / "data", pictures=3)
    folders, guide = (data / "lr", data / "hr/labels"), tiny_model.guide
    read = guides.read_by({"guide": guide, "embedded": guide}, FromFolder(data / "hr/images"), *folders)
    measures = Measures(scale=4, judge=guide, labels=guide.labels, void=11)
    expected = evaluate_folder(data / "lr", {"hr": FromFolder(data / "hr/images")}, None, folders[1], measures)
    assert read["guide"] == read["embedded"] == pytest.approx(expected.scores["hr"]["miou"], abs=1e-5)
    with score.first_pictures(data / "lr", 2) as some:
        assert [path.name for path in sorted(some.iterdir())] == [
            path.name for path in sorted((data / "lr").iterdir())
        ][:2]
    with score.first_pictures(data / "lr", None) as whole:
        assert whole == data / "lr"


def test_the_guides_table_names_what_they_read(results):
    assert why.guides_text("phone", 2) == ""
    file = protocol.guides_file("phone", 2)
    file.parent.mkdir(parents=True)
    file.write_text(
        json.dumps({"ssg": {"guide": 0.31, "embedded": 0.42}, "target LR": {"guide": 0.2, "embedded": 0.3}})
    )
    lines = why.guides_text("phone", 2).splitlines()
    assert lines[-2:] == [
        "| the target's LR, enlarged bicubically (148 frames) | 0.200 | 0.300 |",
        "| **DA + guide (SSG)** | 0.310 | 0.420 |",
    ]


def test_crops_are_those_where_the_compared_rows_differ(tmp_path):
    """The second sheet is cut where SSG and generic + guide differ, wherever the other rows do."""
    lr, hr = tmp_path / "lr", tmp_path / "hr"
    picture = np.full((384, 384, 3), 128, np.uint8)
    for folder, shown in ((lr, picture[::4, ::4]), (hr, picture)):
        folder.mkdir()
        Image.fromarray(shown).save(folder / "a.png")

    def method(x=0, y=0, grey=0.5):
        def make(case, lr, size):
            pixels = np.full((384, 384, 3), 0.5, np.float32)
            pixels[y : y + 96, x : x + 96] = grey
            return Result(pixels)

        return make

    methods = {"bicubic": method(0, 0, 1.0), "bank": method(), "generic-guide": method(), "ssg": method(288, 192, 0.8)}
    found = experiment.find_crops(lr, hr, methods)
    assert found[""][0].corner == (0, 0) and found["guided"][0].corner == (288, 192)
    assert list(found["guided"][0].views) == ["LR", "generic-guide", "ssg", "HR"]
    assert "guided" not in experiment.find_crops(lr, hr, {"bicubic": methods["bicubic"], "ssg": methods["ssg"]})


def scored(**options):
    return Namespace(**{"steps": 2, "part": "val", "partial": False, "cameras": ["phone"], "limit": None} | options)


def test_val_is_not_read_before_all_rows_are_finished(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(jobs, "ROOT", tmp_path)
    monkeypatch.setattr(score, "load_guide", lambda name: pytest.fail("went on to the pictures"))
    (tmp_path / protocol.Training("bank", "phone", 0, 2).folder / "checkpoints/adversarial-0000001").mkdir(parents=True)
    with pytest.raises(SystemExit, match="rows are missing"):
        score.run(scored())
    assert "phone/bank-seed0: cut short at step 1 of 2" in capsys.readouterr().out


def test_val_is_read_whole(monkeypatch):
    monkeypatch.setattr(score, "load_guide", lambda name: pytest.fail("went on to the pictures"))
    with pytest.raises(SystemExit, match="whole. For a try: --part dev"):
        score.run(scored(limit=2, partial=True))


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
