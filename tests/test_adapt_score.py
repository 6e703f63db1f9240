"""`python -m benchmarks.adapt score`: cameras that are scored one by one, with the same weights."""

import sys
from argparse import Namespace
from pathlib import Path

import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.adapt import score


@pytest.fixture
def written(tiny_model, tmp_path, monkeypatch) -> list:
    """What goes into the document, where every camera's PSNR is a weight of the embedded model."""
    documents: list = []

    def score_at_once(camera, every, measures):
        weights = next(tiny_model.generator.parameters()).detach()
        return {"embedded": {"psnr_y": float(weights.max())}}, Image.new("RGB", (8, 8))

    monkeypatch.setattr(score, "RUNS", tmp_path)
    monkeypatch.setattr(score, "find_shared", lambda: tmp_path)
    monkeypatch.setattr(score, "find_distances", lambda where: {})
    monkeypatch.setattr(score, "load_guide", lambda where: tiny_model.guide)
    monkeypatch.setattr(score, "load_models", lambda camera: {"embedded": tiny_model})
    monkeypatch.setattr(score, "is_there", lambda folder: False)
    monkeypatch.setattr(score, "score", score_at_once)
    monkeypatch.setattr(score, "write_section", lambda name, text, path: documents.append(text))
    return documents


def change_weights(network, value: float) -> None:
    for parameter in network.parameters():
        parameter.data.fill_(value)


@pytest.mark.parametrize("part", ["generator", "guide"])
def test_figures_of_other_weights_are_not_in_the_table(part, written, tiny_model, capsys):
    """Neither of another embedded model nor of another judge."""
    first, *others = score.ALL
    change_weights(tiny_model.generator, 1)
    score.run(Namespace(cameras=[first], every=1, judge="judge"))
    change_weights(getattr(tiny_model, part), 2)
    score.run(Namespace(cameras=others, every=1, judge="judge"))
    assert written == []
    assert f"docs/adapt.md is not written: {first} must be scored" in capsys.readouterr().out
    score.run(Namespace(cameras=[first], every=1, judge="judge"))
    figure = "2.00" if part == "generator" else "1.00"
    assert [line.split(" | ")[2] for line in written[0].splitlines()[-4:]] == [figure] * 4


def test_a_quick_look_is_not_kept(written):
    score.run(Namespace(cameras=score.ALL, every=8, judge="judge"))
    score.run(Namespace(cameras=score.ALL[1:], every=1, judge="judge"))
    assert written == []
