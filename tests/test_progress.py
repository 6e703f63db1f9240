"""Progress: it moves within a tile, its estimate learns, and what a listener raises ends the run."""

import errno
import importlib.util
import json
import os

import numpy as np
import pytest
import torch
from standins import ColorGuide, Repeat, make_model

from ssg_hub.networks.registry import build_generator
from ssg_hub.upscaling import pace, progress
from ssg_hub.upscaling.pace import known_pace, learn_pace
from ssg_hub.upscaling.progress import Progress, Tracker
from ssg_hub.upscaling.upscale import predict, upscale

PHOTO = np.random.default_rng(5).integers(0, 256, (60, 80, 3), dtype=np.uint8)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SSG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Clock:
    """A clock that stands until it is set."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)


def test_the_estimate_starts_with_what_is_known_and_follows_the_run(cache, monkeypatch):
    clock, seen = Clock(monkeypatch), []
    learn_pace("kind", 1.0, 10.0)  # ten seconds a megapixel
    tracker = Tracker(watch=seen.append)
    tracker.enter("reading")
    tracker.begin("kind", [500_000] * 4)
    assert seen[0] == Progress("reading") and seen[-1] == Progress("upscaling", 0.0, 20.0, 0, 4)
    clock.now += 2.5  # half of the first tile, if it goes as before
    tracker.tick()
    assert seen[-1].fraction == pytest.approx(0.125) and seen[-1].seconds_left == pytest.approx(17.5)
    clock.now += 100  # far beyond: it waits shortly before the end of the tile
    tracker.tick()
    assert seen[-1].fraction == pytest.approx(0.9 / 4)
    clock.now += 2.5
    tracker.finish_tile()  # 105 s where 5 were expected: the mean of both from now on
    assert seen[-1].fraction == 0.25 and seen[-1].seconds_left == pytest.approx(1.5 * 110)
    for _ in range(3):
        clock.now += 105
        tracker.finish_tile()
    tracker.finish("kind")
    assert seen[-1].stage == "finishing" and seen[-1].fraction == 1 and seen[-1].seconds_left == 0
    assert known_pace("kind") == pytest.approx((10 + 210) / 2)
    assert [one.fraction for one in seen] == sorted(one.fraction for one in seen)


def test_without_knowledge_there_is_an_estimate_after_the_first_tile(cache, monkeypatch):
    clock, seen = Clock(monkeypatch), []
    tracker = Tracker(watch=seen.append)
    tracker.begin("kind", [100_000, 300_000])
    clock.now += 5
    tracker.tick()
    assert seen[-1].seconds_left is None and seen[-1].fraction == 0
    with tracker.preparing():
        clock.now += 50  # is not the network's pace
    assert [one.stage for one in seen[-2:]] == ["preparing", "upscaling"]
    tracker.finish_tile()
    assert seen[-1].seconds_left == pytest.approx(15) and seen[-1].fraction == pytest.approx(0.25)


def test_messages_are_not_too_many(cache, monkeypatch):
    clock, seen = Clock(monkeypatch), []
    tracker = Tracker(watch=seen.append)
    tracker.begin("kind", [100_000])
    for _ in range(1000):
        clock.now += 0.001
        tracker.tick()
    assert 3 <= len(seen) - 1 <= 4


def test_pace_is_kept_and_a_damaged_file_is_no_obstacle(cache, monkeypatch):
    assert known_pace("a") is None
    learn_pace("a", 2.0, 8.0)
    learn_pace("a", 1.0, 2.0)
    learn_pace("tiny", 1e-6, 1.0)
    assert known_pace("a") == 3.0 and known_pace("tiny") is None
    before = (cache / "pace.json").stat().st_mtime_ns
    learn_pace("a", 1.0, 3.05)
    assert (cache / "pace.json").stat().st_mtime_ns == before, "a small change is not worth a file"
    monkeypatch.setattr(pace, "KEPT", 2)
    for key in ("b", "c"):
        learn_pace(key, 1.0, 1.0)
    assert list(json.loads((cache / "pace.json").read_text())) == ["b", "c"]
    for text in ("nothing", "[1]", '{"b": "fast", "c": -1}'):
        (cache / "pace.json").write_text(text)
        assert known_pace("b") is None and known_pace("c") is None
        learn_pace("d", 1.0, 1.0)
        assert known_pace("d") == 1.0
    cache.joinpath("pace.json").unlink()
    cache.rmdir()
    cache.write_text("a file")
    learn_pace("a", 1.0, 1.0)
    assert known_pace("a") is None


def test_a_pace_that_a_full_disk_does_not_take_leaves_no_file(cache, monkeypatch):
    def full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    learn_pace("a", 1.0, 1.0)
    assert known_pace("a") is None and list(cache.iterdir()) == []


def test_a_run_is_seen_from_reading_to_finishing_and_predicted_afterwards(cache):
    seen = []
    model = make_model(guide=ColorGuide())
    assert predict(model, (80, 60), tile=32).seconds is None
    upscale(model, PHOTO, tile=32, watch=seen.append)
    assert [one.stage for one in (seen[0], seen[-1])] == ["reading", "finishing"] and seen[-1].fraction == 1
    counted = list(dict.fromkeys((one.tiles_done, one.tiles) for one in seen if one.tiles))
    assert len(counted) > 4 and counted == [(done, len(counted) - 1) for done in range(len(counted))]
    assert 0 < predict(model, (80, 60), tile=32).seconds < predict(model, (800, 600), tile=32).seconds
    assert predict(model, (80, 60), tile=32, segment=False).seconds is None  # another way of computing


ENGINES = ["torch"] + ["openvino"] * (importlib.util.find_spec("openvino") is not None)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_listener_ends_a_run_within_a_tile(engine, cache, monkeypatch):
    monkeypatch.setattr(progress, "TICK", 0.0)
    monkeypatch.setattr("ssg_hub.upscaling.engines.compiled.WAIT", 0)
    generator = build_generator("rrdb", {"features": 32, "blocks": 2, "growth": 16}).eval()
    whole = upscale(make_model(generator), PHOTO, engine=engine)
    stages = []

    def stop(moment: Progress) -> None:
        stages.append(moment.stage)
        if stages.count("upscaling") == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upscale(make_model(generator), PHOTO, engine=engine, watch=stop)
    assert "finishing" not in stages
    again = upscale(make_model(generator), PHOTO, engine=engine)
    assert again.report["engine"] == engine and again.image.tobytes() == whole.image.tobytes()


def test_a_listener_hears_of_its_own_thread_only(cache):
    """Layers of another thread's network do not tick."""
    from ssg_hub.upscaling.engines.torch import ticking

    calls = []
    with ticking(lambda: calls.append(1)):
        import threading

        thread = threading.Thread(target=Repeat(), args=(torch.rand(1, 3, 4, 4),))
        thread.start()
        thread.join()
        assert not calls
        Repeat()(torch.rand(1, 3, 4, 4))
    assert len(calls) == 1
    Repeat()(torch.rand(1, 3, 4, 4))
    assert len(calls) == 1
