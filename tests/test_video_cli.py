"""`ssg upscale` for clips: what is read and written, skipped, refused, and said."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("cv2")

from made_clips import BY_NAME, Recipe, decode, make_clip, probe
from PIL import Image

from ssg_hub.cli import main
from ssg_hub.commands.clips import are_meant, plan_clips
from ssg_hub.errors import ConfigError, VideoError

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def clips(tmp_path) -> Path:
    """Two clips and a folder of pictures."""
    folder = tmp_path / "clips"
    (folder / "frames").mkdir(parents=True)
    for name in ("h264.mp4", "mpeg4.avi"):
        make_clip(folder, Recipe(**{**BY_NAME[name].__dict__, "times": (0, 1, 2)}))
    for number in range(3):
        Image.fromarray(np.full((8, 12, 3), 40 * number, np.uint8)).save(folder / "frames" / f"{number:02d}.png")
    return folder


def ssg(*arguments) -> int:
    return main([str(argument) for argument in arguments])


def test_clips_go_to_a_folder_each_in_its_container(clips, saved, tmp_path, capsys):
    out = tmp_path / "out"
    inputs = (clips / "h264.mp4", clips / "mpeg4.avi")
    assert ssg("upscale", *inputs, "-o", out, "--model", saved, "--outscale", 2, "--mask", "--drift") == 0
    names = {path.name for path in out.iterdir()}
    stems = {"h264": ".mp4", "mpeg4": ".mkv"}
    assert names == {s + e for s, end in stems.items() for e in (end, "_mask.mkv", "_drift.mkv")}
    assert decode(out / "h264.mp4")[0].shape == (64, 96, 3) and len(probe(out / "mpeg4.mkv")["times"]) == 3
    assert "2 upscaled, 0 skipped, 0 failed" in capsys.readouterr().err
    (out / "h264.mp4").write_bytes(b"mine")
    assert ssg("upscale", *inputs, "-o", out, "--model", saved, "--outscale", 2) == 0
    assert (out / "h264.mp4").read_bytes() == b"mine" and "0 upscaled, 2 skipped" in capsys.readouterr().err


def test_pictures_become_a_clip_and_back(clips, saved, tmp_path):
    options = ("--model", saved, "--outscale", 2, "--temporal", "off")
    assert ssg("upscale", clips / "frames", "-o", tmp_path / "a.mkv", "--fps", 5, "--codec", "ffv1", *options) == 0
    assert probe(tmp_path / "a.mkv")["times"] == pytest.approx([0, 0.2, 0.4], abs=0.002)
    assert ssg("upscale", clips / "frames" / "%02d.png", "-o", tmp_path / "b" / "%d.png", *options) == 0
    assert np.array_equal(Image.open(tmp_path / "b" / "1.png"), decode(tmp_path / "a.mkv")[1])
    assert ssg("upscale", clips / "frames", "-o", tmp_path / "c", "--model", saved) == 0  # as ever: pictures
    assert len(list((tmp_path / "c").glob("*.png"))) == 3


def test_what_goes_wrong_with_one_clip_is_said_and_the_rest_go_on(clips, saved, tmp_path, capsys):
    (clips / "bad.mp4").write_bytes(b"this is text")
    code = ssg("upscale", clips / "bad.mp4", clips / "h264.mp4", "-o", tmp_path / "out", "--model", saved)
    said = capsys.readouterr().err
    assert code == 1 and f"failed {clips / 'bad.mp4'}: " in said and "1 upscaled, 0 skipped, 1 failed" in said
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["h264.mp4"]


@pytest.mark.parametrize(
    ("other", "options", "words"),
    [
        (Recipe("short.mp4", "libx264", times=(0, 1, 2)), ["--start", 0.2], "start 0.2 lies behind the end"),
        (Recipe("tiny.mkv", "ffv1", "yuv444p", times=(0,), size=(8, 8)), ["--outscale", 1.5], "needs 16 pixels a side"),
        (Recipe("vp9.webm", "libvpx-vp9", times=(0,)), ["--codec", "h264"], "does not hold h264"),
    ],
)
def test_a_clip_that_the_options_do_not_fit_does_not_end_the_batch(other, options, words, saved, tmp_path, capsys):
    clips = [make_clip(tmp_path, Recipe(f"{n}.mp4", "libx264", times=tuple(range(7)))) for n in ("first", "last")]
    clips.insert(1, make_clip(tmp_path, other))
    assert ssg("upscale", *clips, "-o", tmp_path / "out", "--model", saved, "--temporal", "off", *options) == 1
    said = capsys.readouterr().err
    assert f"failed {clips[1]}: " in said and words in said and "2 upscaled, 0 skipped, 1 failed" in said
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"first.mp4", "last.mp4"}


@pytest.mark.parametrize(
    ("place", "kept"),
    [("ssg_hub.video.upscale_video.upscale", True), ("ssg_hub.plain_model.PlainModel.upscale_video", False)],
)
def test_an_interrupted_clip_says_that_it_can_go_on_if_it_was_begun(
    place, kept, clips, saved, tmp_path, capsys, monkeypatch
):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(place, interrupted)
    assert ssg("upscale", clips / "h264.mp4", "-o", tmp_path / "out.mp4", "--model", saved) == 130
    assert ("the same command goes on" in capsys.readouterr().err) == kept
    monkeypatch.undo()
    assert ssg("upscale", clips / "h264.mp4", "-o", tmp_path / "out.mp4", "--model", saved) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{clips}/none.mp4", "-o", "{tmp}/out.mp4"], "no file or folder"),
        (["{clips}/h264.mp4", "{clips}/mpeg4.avi", "-o", "{tmp}/out.mp4"], "names one result"),
        (["{clips}/h264.mp4", "{clips}/frames/00.png", "-o", "{tmp}/out"], "two commands"),
        (["{clips}/frames/%02d.png", "-o", "{tmp}/out"], "needs a name"),
        (["{clips}/h264.mp4", "-o", "{tmp}/out.avi"], "no container"),
        (["{clips}/h264.mp4", "-o", "{tmp}/out.mp4", "--format", "png"], "--format is for pictures"),
        (["{clips}/h264.mp4", "-o", "{tmp}/out.mp4", "--stream"], "--stream is for pictures"),
        (["{clips}/frames", "-o", "{tmp}/out", "--start", "0"], "--start is for clips"),
        (["{clips}/frames", "-o", "{tmp}/out", "--quality", "0"], "--quality is for clips"),
        (["{clips}/frames", "-o", "{tmp}/out", "--temporal", "off"], "--temporal is for clips"),
        (["{clips}/h264.mp4", "-o", "{tmp}/out.mp4", "--quality", "77"], "takes a CRF"),
        (["{clips}/h264.mp4", "-o", "{clips}/h264.mp4", "--overwrite"], "would replace its source"),
        (["{clips}/h264.mp4", "-o", "{clips}/h264.mp4"], "would replace its source"),
        (["{clips}/h264.mp4", "{clips}/mpeg4.avi", "-o", "{clips}"], "would replace its source"),
    ],
)
def test_a_request_that_cannot_be_done_is_one_line(arguments, words, clips, saved, tmp_path, capsys):
    arguments = [argument.format(clips=clips, tmp=tmp_path) for argument in arguments]
    before = sorted(tmp_path.rglob("*"))
    assert ssg("upscale", *arguments, "--model", saved, "-q") in (1, 2)
    said = capsys.readouterr().err.strip().splitlines()
    assert words in said[0] and not any("Traceback" in line for line in said)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_is_meant_follows_from_names(tmp_path):
    assert are_meant([Path("a.mp4")], Path("out")) and are_meant([Path("f")], Path("a.mkv"))
    assert are_meant([Path("f/%d.png")], Path("out")) and are_meant([tmp_path], Path("%d.png"))
    assert not are_meant([Path("a.png")], Path("%d.png"))
    assert not are_meant([Path("a.png"), Path("b")], Path("out"))
    with pytest.raises(ConfigError, match="two commands"):
        are_meant([Path("a.mp4"), Path("b.png")], Path("out"))
    for name in ("a.mkv", "a.avi"):
        (tmp_path / name).touch()
    with pytest.raises(VideoError, match="both be written"):
        plan_clips([tmp_path / "a.mkv", tmp_path / "a.avi"], tmp_path / "out")


def test_a_folder_may_be_called_by_a_date(tmp_path):
    inputs, out = [tmp_path / "a.mp4", tmp_path / "b.mp4"], tmp_path / "2026.05.12"
    for path in inputs:
        path.touch()
    assert plan_clips(inputs, out) == [(path, out / path.name) for path in inputs]
    assert plan_clips(inputs[:1], out) == [(inputs[0], out / "a.mp4")]
    for name in ("b.mp4", "b.avi", "b.gif"):  # the last two are refused later, by name
        assert plan_clips(inputs[:1], tmp_path / "new" / name) == [(inputs[0], tmp_path / "new" / name)]
    with pytest.raises(ConfigError, match="names one result"):
        plan_clips(inputs, tmp_path / "all.mkv")


@pytest.mark.parametrize("other", ["a.mov", "a_mask.mkv"])
def test_no_two_clips_write_one_companion(other, tmp_path):
    inputs, out = [tmp_path / "a.mp4", tmp_path / other], tmp_path / "out"
    for path in inputs:
        path.touch()
    assert plan_clips(inputs, out) == [(path, out / path.name) for path in inputs]
    with pytest.raises(VideoError, match=r"both be written to .*a_mask\.mkv"):
        plan_clips(inputs, out, ["mask"])


def test_a_file_or_folder_that_exists_is_no_pattern_whatever_its_name(clips, saved, tmp_path):
    pictures, out = clips / "20%done", tmp_path / "100%done"
    (clips / "frames").rename(pictures)
    (pictures / "01.png").rename(pictures / "50%discount.png")
    out.mkdir()
    options = ("--model", saved, "--outscale", 2)
    assert ssg("upscale", pictures / "50%discount.png", pictures / "00.png", "-o", out, *options) == 0
    assert {path.name for path in out.glob("*.png")} == {"50%discount.png", "00.png"}
    assert ssg("upscale", pictures, "-o", tmp_path / "all", *options) == 0
    assert len(list((tmp_path / "all").glob("*.png"))) == 3
    assert ssg("upscale", clips / "h264.mp4", "-o", out, *options) == 0 and (out / "h264.mp4").exists()
    assert ssg("upscale", pictures / "50%discount.png", "-o", tmp_path / "still.mkv", *options) == 0
    assert len(decode(tmp_path / "still.mkv")) == 1
    assert ssg("upscale", pictures / "00.png", "-o", tmp_path / "50%discount.png", *options) == 0
    assert (tmp_path / "50%discount.png").is_file()


def test_without_the_extra_it_says_what_to_install():
    code = (
        "import sys; sys.modules['av'] = None\n"
        "from ssg_hub.upscaler import Upscaler\nfrom ssg_hub.errors import ConfigError\n"
        "try: Upscaler.upscale_video(None, 'a.mp4', 'b.mp4')\n"
        "except ConfigError as error: assert 'ssg-hub[video]' in str(error)\n"
        "else: sys.exit(1)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_name_that_the_file_system_cannot_hold_is_refused_before_the_work(clips, saved, tmp_path, capsys):
    clip = next(path for path in sorted(clips.iterdir()) if path.suffix == ".mp4")
    assert ssg("upscale", clip, "-o", tmp_path / ("x" * 252 + ".mp4"), "--model", saved) == 1
    assert "255 are allowed" in capsys.readouterr().err


def test_a_result_below_a_file_is_refused_in_a_sentence(clips, saved, tmp_path, capsys):
    (tmp_path / "out").touch()
    assert ssg("upscale", clips / "h264.mp4", "-o", tmp_path / "out", "--model", saved) == 1
    said = capsys.readouterr().err
    assert f"{tmp_path / 'out'} is a file, no folder" in said and "FileExistsError" not in said
