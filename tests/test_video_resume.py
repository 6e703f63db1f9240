"""Long clips: what an interruption, a full disk, a damaged source or a second process leave behind."""

import json
import os
import shutil
import signal
import time
from fractions import Fraction
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("cv2")

import av
import torch
from made_clips import Recipe, decode, make_clip, probe
from process_group import nursery
from small_files import files_up_to
from standins import ColorGuide, Repeat, make_model

from ssg_hub.errors import VideoError
from ssg_hub.images.picture import Picture
from ssg_hub.images.writing import write_picture
from ssg_hub.networks.compact import SRVGGNetCompact
from ssg_hub.networks.int8 import Int8, Layer, hash_weights
from ssg_hub.upscaling.calibration import Calibration
from ssg_hub.upscaling.engines import compiled
from ssg_hub.video import job as job_module
from ssg_hub.video import upscale_video as module
from ssg_hub.video.job import Request, describe_job, plan_job
from ssg_hub.video.joining import join
from ssg_hub.video.parts import Parts, Segment
from ssg_hub.video.upscale_video import upscale_video

FRAMES = 22
SIZE = (96, 64)
SEGMENT = 6


def slow(content: bytes):
    """What a damaged file may hold, beside what is looked at every time."""
    return pytest.param(content, marks=pytest.mark.slow)


class Stop(Exception):
    """An interruption at a known frame."""


def draw(number: int, size: tuple[int, int]) -> np.ndarray:
    """A still scene with noise, in which a square walks; another scene from frame 15 on."""
    random = np.random.default_rng(number)
    scene = np.random.default_rng(1 + number // 15).integers(60, 190, (size[1] // 4, size[0] // 4, 3))
    frame = scene.repeat(4, 0).repeat(4, 1) + random.normal(0, 4, (size[1], size[0], 3))
    frame[8:20, 2 * number : 2 * number + 12] = 250
    return frame.clip(0, 255).astype(np.uint8)


def make_walk(folder: Path, size: tuple[int, int]) -> Path:
    recipe = Recipe("walk.mkv", "libx264", audio="flac", times=tuple(range(FRAMES)), size=size, options={"crf": "8"})
    return make_clip(folder, recipe, draw)


@pytest.fixture(scope="module")
def walk(tmp_path_factory) -> Path:
    return make_walk(tmp_path_factory.mktemp("walk"), SIZE)


@pytest.fixture(scope="module")
def wide_walk(tmp_path_factory) -> Path:
    """So large that parts of a frame stay as they were."""
    return make_walk(tmp_path_factory.mktemp("wide"), (192, 128))


@pytest.fixture
def source(walk, tmp_path) -> Path:
    """A copy of the walk, to be damaged."""
    (tmp_path / "in").mkdir()
    return Path(shutil.copy(walk, tmp_path / "in"))


@pytest.fixture(scope="module")
def whole(walk, tmp_path_factory) -> Path:
    """What a run that nothing stops makes of it, without loss."""
    target = tmp_path_factory.mktemp("whole") / "whole.mkv"
    return upscale_video(make_model(Repeat(2)), walk, target, outscale=2, codec="ffv1", segment=SEGMENT).path


@pytest.fixture
def model():
    return make_model(Repeat(2))


@pytest.fixture(autouse=True)
def _short_segments(monkeypatch):
    monkeypatch.setattr(job_module, "SEGMENT", SEGMENT)


def stop_at(frame: int):
    def report(done: int, total: int) -> None:
        if done == frame:
            raise Stop

    return report


def same_clip(one: Path, other: Path) -> bool:
    same = all(np.array_equal(a, b) for a, b in zip(decode(one), decode(other), strict=True))
    return same and probe(one) == probe(other)


@pytest.mark.parametrize("codec", ["h264", "ffv1"])
def test_a_run_that_was_stopped_thrice_gives_the_frames_of_one_that_was_not(codec, wide_walk, tmp_path, model):
    whole = upscale_video(model, wide_walk, tmp_path / "whole.mkv", outscale=2, codec=codec)
    request = {"source": wide_walk, "target": tmp_path / "parts.mkv", "outscale": 2, "codec": codec}
    for frame in (3, 7, 19):  # in the first, the second and the last segment
        with pytest.raises(Stop):
            upscale_video(model, **request, on_progress=stop_at(frame))
        assert not (tmp_path / "parts.mkv").exists()
    counted = []
    done = upscale_video(model, **request, on_progress=lambda *now: counted.append(now[0]))
    assert counted[0] == 18 and "18 frames were there" in done.report["notes"][-1]
    assert same_clip(whole.path, done.path) and done.report["reused"] == whole.report["reused"] > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parts.mkv", "whole.mkv"]


def test_what_is_finished_can_be_played_before_the_rest_is(source, tmp_path, model):
    with pytest.raises(Stop):
        upscale_video(model, source, tmp_path / "out.mp4", outscale=2, on_progress=stop_at(14))
    done = sorted((tmp_path / "out.mp4.parts").glob("*.main.mp4"))
    assert [len(decode(path)) for path in done[:2]] == [SEGMENT, SEGMENT]


def test_pictures_go_on_where_they_stopped(source, tmp_path, model):
    upscale_video(model, source, tmp_path / "whole" / "%03d.png", outscale=2)
    with pytest.raises(Stop):
        upscale_video(model, source, tmp_path / "parts" / "%03d.png", outscale=2, on_progress=stop_at(9))
    model.generator.seen.clear()
    upscale_video(model, source, tmp_path / "parts" / "%03d.png", outscale=2)
    names = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert names == [f"{number:03d}.png" for number in range(1, FRAMES + 1)]
    for name in names:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


def test_a_picture_that_was_deleted_meanwhile_is_made_again(source, tmp_path, model):
    target = tmp_path / "out" / "%03d.png"
    with pytest.raises(Stop):
        upscale_video(model, source, target, outscale=2, on_progress=stop_at(14))
    before = (tmp_path / "out" / "009.png").read_bytes()
    (tmp_path / "out" / "009.png").unlink()
    counted = []
    upscale_video(model, source, target, outscale=2, on_progress=lambda *now: counted.append(now[0]))
    assert counted[0] == SEGMENT and (tmp_path / "out" / "009.png").read_bytes() == before
    assert len(list((tmp_path / "out").iterdir())) == FRAMES


def test_pictures_are_on_the_disk_before_their_segment_is_finished(source, tmp_path, model, monkeypatch):
    synced, finished, fsync, replace = set(), [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (fsync(file), synced.add(os.fstat(file).st_ino)))

    def check(partial, place):
        replace(partial, place)
        if Path(place).name == "00000.json":
            pictures = list((tmp_path / "out").glob("*.png"))
            finished.append(len(pictures) == SEGMENT and {file.stat().st_ino for file in pictures} <= synced)

    monkeypatch.setattr(os, "replace", check)
    upscale_video(model, source, tmp_path / "out" / "%03d.png", outscale=2, temporal="off", duration=0.3)
    assert finished == [True]


def test_overwriting_pictures_leaves_the_new_ones_only(source, tmp_path):
    model, folder = make_model(Repeat(2), ColorGuide()), tmp_path / "out"
    options = {"outscale": 2, "temporal": "off", "mask": True, "overwrite": True}
    upscale_video(model, source, folder / "%03d.png", **options, duration=0.5)
    (folder / "cover.png").write_bytes(b"mine")
    with pytest.raises(Stop):
        upscale_video(model, source, folder / "%03d.png", **options, duration=0.3, on_progress=stop_at(7))
    assert len(list(folder.glob("*.png"))) == 2 * 13 + 1
    upscale_video(model, source, folder / "%03d.png", **options, duration=0.3)
    numbers = range(1, 9)
    names = {"cover.png", *(f"{n:03d}.png" for n in numbers), *(f"{n:03d}_mask.png" for n in numbers)}
    assert {path.name for path in folder.iterdir()} == names


COMPANIONS = {"mask": True, "drift": True, "overlay": True}


def test_pictures_and_their_companions_go_on_where_they_stopped(source, tmp_path):
    model = make_model(Repeat(2), ColorGuide())
    upscale_video(model, source, tmp_path / "whole" / "%03d.png", outscale=2, duration=0.5, **COMPANIONS)
    request = (model, source, tmp_path / "parts" / "%03d.png")
    with pytest.raises(Stop):
        upscale_video(*request, outscale=2, duration=0.5, **COMPANIONS, on_progress=stop_at(3))
    upscale_video(*request, outscale=2, duration=0.5, **COMPANIONS)
    made = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("whole", "parts")]
    assert made[0] == made[1] and len(made[0]) == 4 * 13


def test_a_clip_that_failed_when_its_companions_were_there_goes_on(source, tmp_path, monkeypatch):
    model = make_model(Repeat(2), ColorGuide())

    def fail_for_the_clip(output, *rest):
        if output.track == "main":
            raise VideoError("the disk is full")
        return join(output, *rest)

    with monkeypatch.context() as full, pytest.raises(VideoError, match="full"):
        full.setattr(module, "join", fail_for_the_clip)
        upscale_video(model, source, tmp_path / "out.mp4", outscale=2, duration=0.2, **COMPANIONS)
    result = upscale_video(model, source, tmp_path / "out.mp4", outscale=2, duration=0.2, **COMPANIONS)
    assert "5 frames were there" in result.report["notes"][-1]
    names = {"in", "out.mp4", "out_mask.mkv", "out_drift.mkv", "out_overlay.mp4"}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_a_companion_that_the_interrupted_run_did_not_make_is_kept(source, tmp_path):
    model = make_model(Repeat(2), ColorGuide())
    (tmp_path / "out_mask.mkv").write_bytes(b"mine")
    with pytest.raises(Stop):  # before anything of another request counts
        upscale_video(model, source, tmp_path / "out.mkv", outscale=2, on_progress=stop_at(2))
    with pytest.raises(VideoError, match=r"out_mask\.mkv exists and is kept"):
        upscale_video(model, source, tmp_path / "out.mkv", outscale=2, mask=True)
    assert (tmp_path / "out_mask.mkv").read_bytes() == b"mine"


def test_a_default_that_is_spelled_out_is_the_same_request(source, tmp_path, model):
    with pytest.raises(Stop):
        upscale_video(model, source, tmp_path / "out.mkv", outscale=2, segment=3, on_progress=stop_at(8))
    spelled = {"outscale": 2.0, "denoise": 1.0, "color_fix": True, "tile": "auto"}
    result = upscale_video(model, source, tmp_path / "out.mkv", segment=3, **spelled)
    assert any("earlier run" in note for note in result.report["notes"])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"strength": 1}, {"strength": 1.0}),
        (
            {"strength": 0.5},
            {"strength": dict(zip(ColorGuide.labels, (Fraction(1, 2), np.float32(0.5), 0.5), strict=True))},
        ),
        ({"strength": {"red thing": 0}}, {"strength": {"green thing": 1, "red thing": 0.0}}),
        ({"dtype": "float32", "device": "cpu"}, {"dtype": torch.float32, "device": torch.device("cpu")}),
        ({}, {"dtype": "float32", "device": "cpu", "engine": "auto", "uncertain_below": Fraction(1, 2)}),
        ({}, {"start": 0, "codec": "h264", "quality": 18, "preset": "medium", "segment": SEGMENT, "mask": None}),
        ({"codec": "av1"}, {"codec": "av1", "quality": 28, "preset": 8}),
        ({"tile": 32, "mask": True}, {"tile": np.int64(32), "mask": 1}),
    ],
)
def test_two_ways_to_say_one_thing_are_the_same_request(one, other, source, tmp_path):
    model = make_model(Repeat(2), ColorGuide())

    def describe(options: dict) -> dict:
        job = plan_job(model, Request.gather(source, tmp_path / "out.mkv", outscale=2, **options))
        return json.loads(json.dumps(describe_job(job)))

    assert describe(one) == describe(other)


def test_the_usual_rate_of_pictures_may_be_spelled_out(tmp_path, model):
    write_picture(Picture(draw(1, (32, 32))), tmp_path / "1.png")
    requests = [Request.gather(tmp_path, tmp_path / "out.mkv", outscale=2, **fps) for fps in ({}, {"fps": 25})]
    one, other = (describe_job(plan_job(model, request)) for request in requests)
    assert one == other and one["fps"] == "25"


def test_another_request_does_not_go_on_with_the_former_ones_frames(source, tmp_path, model):
    target = tmp_path / "out.mkv"
    with pytest.raises(Stop):
        upscale_video(model, source, target, outscale=2, on_progress=stop_at(8))
    with pytest.raises(VideoError, match=r"another request \(quality differ\)"):
        upscale_video(model, source, target, outscale=2, quality=30)
    with pytest.raises(VideoError, match=r"another request \(outscale, size, tile differ\)"):
        upscale_video(model, source, target, outscale=3, tile=32)
    other = make_model(Repeat(2))
    other.generator.gain.data += 0.1
    with pytest.raises(VideoError, match=r"another request \(model differ\)"):
        upscale_video(other, source, target, outscale=2)
    result = upscale_video(model, source, target, outscale=2, quality=30, overwrite=True)
    assert result.report["frames"] == FRAMES and not any("earlier run" in note for note in result.report["notes"])


def compute_otherwise(model):
    model.generator.bfloat16()  # its weight is 1 in both


def calibrate(model):
    model.config["calibration"] = Calibration((1.0, 2.0, 3.0), (0.1, 0.2, 0.3), {}).to_config()


def paint_otherwise(model):
    model.guide.palette = [(0, 0, 9), *ColorGuide.palette[1:]]


@pytest.mark.parametrize(
    ("change", "said"), [(compute_otherwise, "computed"), (calibrate, "calibration"), (paint_otherwise, "model")]
)
def test_a_model_that_computes_otherwise_does_not_go_on(change, said, source, tmp_path):
    model = make_model(Repeat(2), ColorGuide())
    request = (model, source, tmp_path / "out.mkv")
    with pytest.raises(Stop):
        upscale_video(*request, outscale=2, duration=0.4, mask=True, drift=True, on_progress=stop_at(7))
    change(model)
    with pytest.raises(VideoError, match=rf"another request \({said} differ\)"):
        upscale_video(*request, outscale=2, duration=0.4, mask=True, drift=True)


@pytest.mark.skipif(not (compiled.is_installed() and compiled.has_int8()), reason="OpenVINO has no int8 here")
def test_integers_decide_the_frames_too(source, tmp_path):
    model = make_model(SRVGGNetCompact(features=8, convs=1))

    def describe(scale: float | None) -> tuple[str, str]:
        layers = [Layer(torch.ones(1), torch.ones(1), torch.ones(1), scale)]
        model.generator.int8 = Int8(hash_weights(model.generator), layers) if scale else None
        description = describe_job(plan_job(model, Request.gather(source, tmp_path / "out.mkv")))
        return description["model"], description["computed"]

    (plain, by_floats), (one, by_integers), (other, _) = map(describe, (None, 0.5, 0.25))
    assert (by_floats, by_integers) == ("by openvino in float32 on cpu", "by openvino in int8 on cpu")
    assert len({plain, one, other}) == 3


def test_two_processes_do_not_work_on_one_target(tmp_path):
    parts = Parts(tmp_path / "out.mp4", {"a": 1})
    with pytest.raises(VideoError, match="another process"):
        Parts(tmp_path / "out.mp4", {"a": 1})
    parts.release()
    Parts(tmp_path / "out.mp4", {"a": 1}).remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["diary.txt", "photos", "1.json", "00000.mp4.bak"])
def test_a_folder_that_no_run_has_made_is_left_alone(name, tmp_path):
    folder = tmp_path / "out.mp4.parts"
    (folder / name).mkdir(parents=True)
    with pytest.raises(VideoError, match=rf"holds {name}, which no run made"):
        Parts(tmp_path / "out.mp4", {}, overwrite=True)
    assert (folder / name).is_dir()


def test_a_segment_counts_only_when_all_of_it_is_there(tmp_path):
    parts = Parts(tmp_path / "out.mp4", {})
    for number in range(3):
        parts.place(number, "main").write_bytes(b"video")
        parts.commit(Segment(number, 4, 4 * number + 4, {"main": [1]}, {}), {"n": np.array(number)})
    assert parts.state() == {"n": 2} and len(list(parts.folder.glob("*.npz"))) == 2
    for number, left in ((2, [0, 1]), (1, [])):  # what comes after segment 0 is not known any more
        parts.release()
        parts.place(number, "main").unlink()
        parts = Parts(tmp_path / "out.mp4", {})
        assert [segment.number for segment in parts.segments] == left
    assert parts.state() == {} and parts.frames == 0
    parts.release()


def test_what_was_finished_behind_a_segment_that_is_made_again_does_not_count(tmp_path):
    """It is overwritten soon: a kill in the midst would leave half of it beside the word that all is there."""

    def make(parts: Parts, *numbers: int) -> None:
        for number in numbers:
            parts.place(number, "main").write_bytes(b"video")
            parts.commit(Segment(number, 4, 4 * number + 4, {"main": [1]}, {}), {"n": np.array(number)})

    parts = Parts(tmp_path / "out.mp4", {})
    make(parts, *range(5))
    parts.place(1, "main").unlink()
    parts.release()
    parts = Parts(tmp_path / "out.mp4", {})
    assert parts.segments == []
    make(parts, 0, 1)
    parts.place(2, "main").write_bytes(b"vi")
    parts.release()
    parts = Parts(tmp_path / "out.mp4", {})
    assert [segment.number for segment in parts.segments] == [0, 1]
    parts.release()


def test_nobody_begins_in_a_folder_that_is_being_removed(tmp_path, monkeypatch):
    def remove(folder: Path, **options) -> None:
        with pytest.raises(VideoError, match="another process"):
            Parts(tmp_path / "out.mp4", {})
        removed(folder, **options)

    removed = shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", remove)
    Parts(tmp_path / "out.mp4", {}).remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [None, slow(b""), slow(b"PK\x03\x04"), slow(b"text"), 0.5])
def test_a_segment_without_its_arrays_is_made_again_with_the_same_frames(content, whole, source, tmp_path, model):
    request = {"source": source, "target": tmp_path / "out.mkv", "outscale": 2, "codec": "ffv1"}
    with pytest.raises(Stop):
        upscale_video(model, **request, on_progress=stop_at(14))
    arrays = tmp_path / "out.mkv.parts" / "00001.npz"
    if content is None:
        arrays.unlink()
    else:
        data = arrays.read_bytes()
        arrays.write_bytes(data[: len(data) // 2] if content == 0.5 else content)
    counted = []
    done = upscale_video(model, **request, on_progress=lambda *now: counted.append(now[0]))
    assert counted[0] == SEGMENT and same_clip(whole, done.path)


def test_a_damaged_place_in_the_middle_is_survived_and_said(tmp_path, model):
    recipe = Recipe("intra.avi", "mjpeg", "yuvj420p", times=tuple(range(FRAMES)), size=(64, 48))
    source = make_clip(tmp_path, recipe, draw)
    with av.open(str(source)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    data = bytearray(source.read_bytes())
    place, size = packets[10].pos + 8, packets[10].size
    data[place : place + size - 8] = bytes(size - 8)  # no picture any more
    source.write_bytes(data)
    result = upscale_video(model, source, tmp_path / "out.mkv", outscale=2)
    times = probe(result.path)["times"]
    assert len(times) >= FRAMES - 1 and times[-1] == pytest.approx((FRAMES - 1) / 25, abs=0.0011)
    assert any("damaged" in note and "near 0.4" in note for note in result.report["notes"])


def test_a_spoiled_stretch_of_h264_is_survived_and_said(source, tmp_path, model):
    with av.open(str(source)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    data = source.read_bytes()
    for content in map(bytes, packets[len(packets) // 2 :][:4]):
        assert data.count(content) == 1
        data = data.replace(content, np.random.default_rng(0).bytes(len(content)))
    source.write_bytes(data)
    result = upscale_video(model, source, tmp_path / "out.mkv", outscale=2)
    assert len(probe(result.path)["times"]) > FRAMES // 2
    assert any("damaged" in note or "could be read to" in note for note in result.report["notes"])


def test_a_source_that_was_cut_off_gives_what_is_there(source, tmp_path, model):
    short = tmp_path / "short.mkv"
    short.write_bytes(source.read_bytes()[: source.stat().st_size * 6 // 10])
    result = upscale_video(model, short, tmp_path / "out.mkv", outscale=2)
    assert 3 < len(probe(result.path)["times"]) == result.report["frames"] < FRAMES
    assert any("could be read to" in note for note in result.report["notes"])


def work(source: Path, target: Path, done: Synchronized) -> None:
    """In a process of its own: upscale, slowly, and say how many frames are done."""

    def report(count: int, total: int) -> None:
        done.value = count
        time.sleep(0.02)

    upscale_video(make_model(Repeat(2)), source, target, outscale=2, codec="ffv1", segment=SEGMENT, on_progress=report)


def kill_at(source: Path, target: Path, frame: int, delay: float = 0.0) -> int:
    """Run until a frame is done, then kill without warning, some seconds later; returns the exit code."""
    done = nursery().Value("i", 0)
    process = nursery().Process(target=work, args=(source, target, done))
    process.start()
    while process.is_alive() and done.value < frame:
        time.sleep(0.005)
    time.sleep(delay)
    process.kill()
    process.join()
    return process.exitcode


def test_a_killed_process_leaves_what_the_next_goes_on_with(whole, source, tmp_path, model):
    kill_at(source, tmp_path / "out.mkv", 14)
    assert not (tmp_path / "out.mkv").exists() and len(list((tmp_path / "out.mkv.parts").glob("*.json"))) == 3
    counted = []
    options = {"outscale": 2, "codec": "ffv1", "on_progress": lambda *now: counted.append(now[0])}
    upscale_video(model, source, tmp_path / "out.mkv", **options)
    assert counted[0] == 12 and same_clip(whole, tmp_path / "out.mkv")


@pytest.mark.parametrize("share", [0.1, 0.8])
def test_a_full_disk_is_said_and_what_is_finished_is_kept(share, source, tmp_path, model):
    options = {"outscale": 2, "codec": "ffv1", "temporal": "off"}
    whole = upscale_video(model, source, tmp_path / "whole.mkv", **options)
    # No file may grow beyond this: a segment fails, or only the whole.
    limit = int(share * whole.path.stat().st_size)
    with files_up_to(limit), pytest.raises(VideoError, match="cannot be written") as told:
        upscale_video(model, source, tmp_path / "out.mkv", **options)
    assert "\n" not in str(told.value)
    assert not (tmp_path / "out.mkv").exists() and not list(tmp_path.glob("*.tmp"))
    assert len(list((tmp_path / "out.mkv.parts").glob("*.json"))) == (1 if share < 0.5 else 5)
    upscale_video(model, source, tmp_path / "out.mkv", **options)
    assert same_clip(whole.path, tmp_path / "out.mkv")


@pytest.mark.slow
def test_ten_kills_at_any_moment_change_no_frame(whole, source, tmp_path, model):
    random, codes = np.random.default_rng(0), set()
    for attempt in range(10):
        target = tmp_path / f"out{attempt}.mkv"
        codes.add(kill_at(source, target, 1, random.uniform(0, 0.6)))
        if not target.exists():
            upscale_video(model, source, target, outscale=2, codec="ffv1")
        assert same_clip(whole, target)
    assert -signal.SIGKILL in codes and codes <= {0, -signal.SIGKILL}
