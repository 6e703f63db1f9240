"""Odd clips and requests: names, missing time stamps, edits, fields that come and go, pictures that do not match."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("cv2")

import av
from made_clips import BY_NAME, FRAMES, TICK, Recipe, decode, draw_frame, make_clip, probe
from PIL import Image, ImageCms
from standins import Repeat, make_model

from ssg_hub.errors import ConfigError, VideoError
from ssg_hub.images import opening
from ssg_hub.images.reading import Picture, read_picture, write_picture
from ssg_hub.upscaling.upscale import upscale
from ssg_hub.video.clip import Clip
from ssg_hub.video.decoding import HELD, read_duration, with_stamps
from ssg_hub.video.names import exists, is_pattern, name_picture, numbered
from ssg_hub.video.sequences import PictureSequence
from ssg_hub.video.upscale_video import upscale_video


@pytest.fixture
def model():
    return make_model(Repeat(2))


@pytest.fixture
def pictures(tmp_path):
    """Writes pictures {name: size} into a folder."""

    def write(**sizes: tuple[int, int]) -> Path:
        folder = tmp_path / "frames"
        folder.mkdir()
        for number, (name, size) in enumerate(sizes.items()):
            Image.fromarray(draw_frame(number, size)).save(folder / f"{name[1:]}.png")
        return folder

    return write


@pytest.mark.parametrize("name", ["20%discount.mp4", "a b 100%.mp4", "take:2.mp4", 'ü "q".mp4', "-dash.mp4"])
def test_a_clip_may_have_any_name(name, tmp_path, model, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a relative name is all that FFmpeg would see
    make_clip(tmp_path, Recipe(name, "libx264", audio="aac"))
    result = upscale_video(model, name, f"x2 {name}", outscale=2)
    assert result.path == Path(f"x2 {name}") and len(decode(tmp_path / result.path)) == FRAMES
    assert {path.name for path in tmp_path.iterdir()} == {name, f"x2 {name}"}


def test_what_ends_as_a_clip_is_no_pattern_and_a_pattern_knows_its_files(tmp_path):
    assert not is_pattern(Path("20%discount.mp4")) and is_pattern(Path("f/%05d.png"))
    for name in ("00007.png", "00010.png", "123456.png", "7.png", "x00001.png", "00001.png.txt"):
        (tmp_path / name).touch()
    assert [number for number, _ in numbered(tmp_path / "%05d.png")] == [7, 10, 123456]
    assert exists(tmp_path / "x%d.png") and not exists(tmp_path / "y%d.png") and not exists(tmp_path / "no" / "%d.png")


@pytest.mark.parametrize("name", ["%d.png", "%0d.png", "%5d.png", "%05d.png", "a %3d b.png"])
def test_a_pattern_finds_what_it_has_named(name, tmp_path):
    for number in (3, 1234567):
        name_picture(tmp_path / name, number).touch()
    assert exists(tmp_path / name) and [number for number, _ in numbered(tmp_path / name)] == [3, 1234567]


def test_a_number_that_no_name_holds_is_no_pattern():
    assert not is_pattern(Path("%9999999999d.png")) and not is_pattern(Path("%1000d.png"))


class Moment:
    """A decoded frame as far as its time goes."""

    def __init__(self, pts, duration=0):
        self.pts, self.duration = pts, duration


class Clock:
    """A stream as far as its time goes: 25 frames a second, in milliseconds."""

    average_rate, time_base = Fraction(25), Fraction(1, 1000)


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        ([0, 40, 80], [0, 40, 80]),
        ([None, None, 120, 160], [40, 80, 120, 160]),
        ([None, None, 0, 40], [-80, -40, 0, 40]),
        ([10, None, None, 200], [10, 50, 90, 200]),
        ([None, None], [500, 540]),
        ([None] * (HELD + 2), [500 + 40 * number for number in range(HELD + 2)]),
        ([], []),
    ],
)
def test_frames_without_a_time_stamp_get_the_one_they_should_have(stamps, expected):
    frames = with_stamps([Moment(stamp) for stamp in stamps], Clock, Fraction(1, 2))
    assert [frame.pts for frame in frames] == expected


def test_a_bare_stream_without_any_clock_is_read(tmp_path, model):
    source = make_clip(tmp_path, Recipe("bare.h264", "libx264", muxer="h264"))
    result = upscale_video(model, source, tmp_path / "out.mp4", outscale=2)
    assert result.report["frames"] == FRAMES and result.report["notes"] == []
    assert probe(result.path)["times"] == pytest.approx([number / 25 for number in range(FRAMES)], abs=2e-6)


def test_sound_that_was_cut_away_by_an_edit_stays_away(tmp_path, model):
    whole, cut = make_clip(tmp_path, Recipe("whole.mp4", "libx264", audio="aac")), tmp_path / "cut.mp4"
    with av.open(str(whole)) as source, av.open(str(cut), "w") as out:
        copies = {stream.index: out.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.size:
                late = Fraction(3, 10) if packet.stream.type == "audio" else 0
                packet.pts, packet.dts = (stamp - round(late / packet.time_base) for stamp in (packet.pts, packet.dts))
                packet.stream = copies[packet.stream.index]
                out.mux(packet)
    result = upscale_video(model, cut, tmp_path / "out.mkv", outscale=2)
    after = probe(result.path)
    assert 0 < len(after["sounds"]) < len(probe(whole)["sounds"])
    assert after["times"][0] - after["sound_starts"][0] <= 0.1 + 2048 / 48000  # what a decoder needs, and no more


def test_sound_that_changes_its_rate_is_converted_to_its_end(tmp_path, model):
    """As in recordings of broadcasts, whose channels change too."""
    first = Recipe("first.ts", "mpeg2video", audio="mp2")
    second = replace(first, name="second.ts", times=tuple(range(25, 35)), sound_rate=44100, sound_start=1)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(make_clip(tmp_path, recipe).read_bytes() for recipe in (first, second)))
    result = upscale_video(model, joined, tmp_path / "out.webm", outscale=2, temporal="off")
    assert result.report["frames"] == 2 * FRAMES
    with av.open(str(result.path)) as container:
        heard = sum(frame.samples for frame in container.decode(audio=0)) / 48000
    assert heard == pytest.approx(0.8, abs=0.08)


def test_a_clip_that_becomes_interlaced_says_so(tmp_path, model):
    plain = make_clip(tmp_path, Recipe("plain.ts", "mpeg2video", times=tuple(range(6))))
    options = {"flags": "+ildct+ilme", "top": "1"}
    for name, size in (("fields.ts", (48, 32)), ("larger.ts", (64, 48))):
        make_clip(tmp_path, Recipe(name, "mpeg2video", times=tuple(range(50, 56)), options=options, size=size))
    mixed = tmp_path / "mixed.ts"
    mixed.write_bytes(
        plain.read_bytes() + (tmp_path / "fields.ts").read_bytes() + (tmp_path / "larger.ts").read_bytes()
    )
    expected = sum(len(decode(tmp_path / name)) for name in ("plain.ts", "fields.ts", "larger.ts"))
    result = upscale_video(model, mixed, tmp_path / "out.mkv", outscale=2)
    assert expected - 2 <= result.report["frames"] <= expected  # a decoder may lose one where a stream ends
    assert any("interlaced" in note for note in result.report["notes"])
    assert upscale_video(model, plain, tmp_path / "plain.mkv", outscale=2).report["notes"] == []


def test_transparency_that_only_the_container_tells_of_is_said(tmp_path):
    source = Clip(make_clip(tmp_path, Recipe("clear.webm", "libvpx-vp9", "yuva420p")))
    assert len(list(source.frames())) == FRAMES
    assert source.damage.say() == ["The transparency was left out."]


def test_an_empty_packet_repeats_a_frame_and_is_no_damage(tmp_path, monkeypatch):
    """Theora stores them where the picture stands still."""
    clip = Clip(make_clip(tmp_path, Recipe("a.mkv", "ffv1", "bgr0")))
    demux = clip._demux

    def with_repeats(container, stream):
        for packet in demux(container, stream):
            yield packet
            if packet.size:
                repeat = av.Packet(b"")
                repeat.stream, repeat.time_base = stream, packet.time_base
                repeat.pts, repeat.dts = packet.pts, packet.dts
                yield repeat

    monkeypatch.setattr(clip, "_demux", with_repeats)
    assert len(list(clip.frames())) == FRAMES and clip.damage.say() == []


@pytest.mark.parametrize("name", ["clip.gif", "clip.mov", "frames"])
@pytest.mark.parametrize("transparent", [False, True])
def test_transparency_is_said_only_where_there_is_some(name, transparent, tmp_path, model):
    images = [Image.fromarray(draw_frame(number)).convert("RGBA") for number in range(3)]
    if transparent:
        number = 0 if name == "clip.gif" else 1  # in a later frame of a GIF it means "as before"
        images[number].paste((0, 0, 0, 0), (3, 3, 9, 9))
    source = tmp_path / name
    if name == "clip.gif":
        images[0].save(source, save_all=True, append_images=images[1:], disposal=2)
    elif name == "clip.mov":
        with av.open(str(source), "w") as out:
            stream = out.add_stream("qtrle", rate=25)
            stream.width, stream.height, stream.pix_fmt = *images[0].size, "argb"
            for image in [*images, None]:
                frame = image and av.VideoFrame.from_ndarray(np.asarray(image), "rgba").reformat(format="argb")
                out.mux(stream.encode(frame))
    else:
        source.mkdir()
        for number, image in enumerate(images):
            image.save(source / f"{number}.png")
    notes = upscale_video(model, source, tmp_path / "out.mkv", outscale=2).report["notes"]
    assert notes == (["The transparency was left out."] if transparent else [])


def test_pictures_of_several_sizes_are_refused_before_anything_is_computed(pictures, tmp_path, model):
    folder = pictures(_1=(24, 16), _2=(24, 16), _3=(32, 16))
    with pytest.raises(VideoError, match=r"3\.png is 32x16.*1\.png, is 24x16"):
        upscale_video(model, folder, tmp_path / "out.mp4", outscale=2)
    assert model.generator.seen == [] and [path.name for path in tmp_path.iterdir()] == ["frames"]


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
def test_sizes_are_compared_upright_and_by_headers_alone(ending, tmp_path, monkeypatch):
    exif, read = Image.Exif(), []
    exif[274] = 6  # turned by a quarter
    for number in range(4):
        stored, options = ((16, 24), {}) if number == 2 else ((24, 16), {"exif": exif})
        Image.fromarray(draw_frame(number, stored)).save(tmp_path / f"{number}.{ending}", **options)
    monkeypatch.setattr(opening, "_read_file", lambda path: read.append(path.name) or path.read_bytes())
    assert PictureSequence(tmp_path).facts.size == (16, 24) and read == [f"0.{ending}"]
    Image.fromarray(draw_frame(0, (24, 16))).save(tmp_path / f"3.{ending}")
    with pytest.raises(VideoError, match=rf"3\.{ending} is 24x16.*0\.{ending}, is 16x24"):
        PictureSequence(tmp_path)


def test_a_part_that_begins_between_two_frames_is_not_said_to_be_cut_off(tmp_path, model):
    clip = make_clip(tmp_path, Recipe("clip.mp4", "libx264"))
    result = upscale_video(model, clip, tmp_path / "out.mkv", outscale=2, start=0.13)  # the next frame is at 0.16
    assert (result.report["frames"], result.report["notes"]) == (6, []) and Clip(clip, 0.13).facts.frames == 6


@pytest.mark.parametrize("link", [None, "nowhere.png", "2.png"])
def test_a_picture_that_cannot_be_read_is_left_out_and_said(link, pictures, tmp_path, model):
    folder = pictures(_1=(24, 16), _2=(24, 16), _3=(24, 16))
    (folder / "2.png").write_bytes(b"")
    if link:  # in a circle, where it is its own name
        (folder / "2.png").unlink()
        (folder / "2.png").symlink_to(folder / link)
    result = upscale_video(model, folder, tmp_path / "out.mkv", outscale=2)
    assert probe(result.path)["times"] == pytest.approx([0, 0.08], abs=TICK)
    assert "1 picture(s) could not be read (first near 0.04 s)" in result.report["notes"][0]


@pytest.mark.parametrize("source", ["clip.mkv", "frames"])
def test_frames_larger_than_usual_are_taken_up_to_max_pixels(source, pictures, tmp_path, model, monkeypatch):
    monkeypatch.setattr(read_picture, "__defaults__", (24 * 16 - 1,))
    monkeypatch.setitem(upscale.__kwdefaults__, "max_pixels", 24 * 16 - 1)
    pictures(_1=(24, 16), _2=(24, 16))
    make_clip(tmp_path, Recipe("clip.mkv", "ffv1", "yuv444p", times=(0, 1), size=(24, 16)))
    made = upscale_video(model, tmp_path / source, tmp_path / "out.mkv", outscale=2, max_pixels=24 * 16)
    assert [frame.shape for frame in decode(made.path)] == [(32, 48, 3)] * 2
    with pytest.raises(VideoError, match="[rR]aise max_pixels"):
        upscale_video(model, tmp_path / source, tmp_path / "no.mkv", outscale=2, max_pixels=24 * 16 - 1)


@pytest.mark.parametrize("fps", [0.0004, 0, -1, 1001, float("nan"), "25", True])
def test_a_rate_that_no_clip_has_is_refused(fps, pictures, tmp_path, model):
    with pytest.raises(ConfigError, match=r"fps is .*from 0\.001 to 1000"):
        upscale_video(model, pictures(_1=(24, 16)), tmp_path / "out.mkv", outscale=2, fps=fps)


@pytest.mark.parametrize("fps", [0.001, 1000])
def test_the_slowest_and_the_fastest_rate_are_kept(fps, pictures, tmp_path, model):
    folder = pictures(_1=(24, 16), _2=(24, 16))
    result = upscale_video(model, folder, tmp_path / "out.mkv", outscale=2, fps=fps)
    assert probe(result.path)["times"] == pytest.approx([0, 1 / fps], abs=TICK)


@pytest.mark.parametrize(
    "options",
    [
        {"fps": Fraction(30000, 1001), "outscale": 2},
        {"fps": np.float32(12.5), "start": Fraction(2, 25), "duration": np.float32(0.16), "outscale": np.float32(2)},
        {"outscale": Fraction(2), "codec": "av1", "preset": np.int64(12), "quality": np.int64(50), "mask": np.False_},
    ],
)
def test_fractions_and_numbers_of_numpy_are_numbers(options, pictures, tmp_path, model):
    folder = pictures(_1=(40, 40), _2=(40, 40), _3=(40, 40), _4=(40, 40))
    result = upscale_video(model, folder, tmp_path / "out.mp4", **options)
    assert result.report["frames"] == (2 if "start" in options else 4)
    assert json.loads(json.dumps(result.report))["outscale"] == 2


@pytest.mark.parametrize(
    ("part", "kind", "words"),
    [
        ({"duration": 1e-7}, ConfigError, "duration is 1e-07.*a microsecond or more"),
        ({"start": 9}, VideoError, "none of the 2 pictures of .* from 9 s on"),
        ({"start": 0.04, "duration": 0.04}, VideoError, r"none of the 2 pictures of .* from 0\.04 s on"),
    ],
)
def test_a_part_without_a_picture_is_refused(part, kind, words, pictures, tmp_path, model):
    with pytest.raises(kind, match=words):
        upscale_video(model, pictures(_1=(24, 16), _5=(24, 16)) / "%d.png", tmp_path / "out.mkv", outscale=2, **part)


@pytest.mark.parametrize("name", ["short.mkv", "short.flv", "short.wmv"])
def test_a_video_that_is_shorter_than_its_sound_is_not_said_to_be_cut_off(name, tmp_path, model):
    recipe = Recipe(name, "libx264", audio="aac", times=(0, 1, 2))  # 0.12 s of pictures, 0.4 s of sound
    if name == "short.wmv":
        recipe = replace(recipe, video="wmv2", audio="wmav2", muxer="asf")
    source = make_clip(tmp_path, recipe)
    source.write_bytes(source.read_bytes().replace(b"DURATION", b"DXRATION"))
    clip = Clip(source)
    assert clip.facts.seconds == pytest.approx(0.4, abs=0.1) and clip.facts.announced is None
    notes = upscale_video(model, source, tmp_path / "out.mkv", outscale=2).report["notes"]
    assert not any("could be read to" in note for note in notes)


def test_a_stream_of_matroska_has_its_duration_in_a_tag(tmp_path):
    both = make_clip(tmp_path, Recipe("both.mkv", "libx264", audio="aac", times=(0, 1, 2)))
    assert Clip(both).facts.announced == pytest.approx(0.12, abs=TICK) == Clip(both).facts.seconds
    assert Clip(both, start=0.04).facts.announced == pytest.approx(0.08, abs=TICK)
    alone = make_clip(tmp_path, Recipe("alone.mkv", "libx264", times=(0, 1, 2)))
    alone.write_bytes(alone.read_bytes().replace(b"DURATION", b"DXRATION"))
    assert Clip(alone).facts.announced == pytest.approx(0.12, abs=TICK)


@pytest.mark.parametrize("tag", ["9" * 5000 + ":00:00", "9" * 400 + ":00:00", "00:00:00." + "1" * 5000])
def test_a_duration_that_no_clip_has_is_not_believed(tag):
    container = SimpleNamespace(streams=[], format=SimpleNamespace(name="matroska,webm"))
    assert read_duration(container, SimpleNamespace(metadata={"DURATION": tag}, duration=None)) is None


@pytest.mark.parametrize("target", ["out.mp4", "out.mov", "out.mkv", "out.ts"])
def test_sound_that_is_announced_and_not_there_is_left_out(target, tmp_path, model):
    """As in a recording of a broadcast, whose programme table names a stream that sends nothing."""
    source = make_clip(tmp_path, BY_NAME["h264.ts"])
    packets = [source.read_bytes()[at : at + 188] for at in range(0, source.stat().st_size, 188)]
    with av.open(str(source)) as container:
        sound = container.streams.audio[0].id
    source.write_bytes(b"".join(p for p in packets if int.from_bytes(p[1:3], "big") & 0x1FFF != sound))
    result = upscale_video(model, source, tmp_path / target, outscale=2)
    assert probe(result.path)["kinds"] == ["video"]
    assert any("audio (aac), cannot be kept in" in note and "was left out" in note for note in result.report["notes"])


def test_what_pictures_lose_on_their_way_is_said(tmp_path, model):
    (tmp_path / "in").mkdir()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    deep = Picture(np.full((8, 12), 300, np.uint16), icc=profile)
    for number in (1, 2):
        write_picture(deep, tmp_path / "in" / f"{number}.png")
    notes = upscale_video(model, tmp_path / "in", tmp_path / "out" / "%d.jpg", outscale=2).report["notes"]
    assert [note.split(" ")[:3] for note in notes] == [["The", "colour", "profile"], ["JPEG", "holds", "8"]]
    (tmp_path / "cmyk").mkdir()
    Image.new("CMYK", (32, 32), (9, 9, 9, 0)).save(tmp_path / "cmyk" / "1.jpg")
    assert upscale_video(model, tmp_path / "cmyk", tmp_path / "c.mp4", outscale=2).report["notes"] == [
        "CMYK was converted to RGB."
    ]


def test_two_pictures_of_one_number_are_refused(pictures, tmp_path, model):
    folder = pictures(_1=(24, 16), _01=(24, 16))
    with pytest.raises(VideoError, match=r"01\.png and 1\.png.*same number"):
        upscale_video(model, folder / "%d.png", tmp_path / "out.mp4", outscale=2)


@pytest.mark.parametrize(
    ("source", "target", "overwrite", "words"),
    [
        ("", "x%d.png", False, "among their sources"),
        ("%d.png", "%d.png", True, "replace its source"),
        ("%d.png", "%01d.png", True, "replace their sources"),
        ("%d.png", "%d.png", False, "replace its source"),
        ("%d.png", "old_%03d.png", False, "exists and is kept"),
    ],
)
def test_no_picture_that_was_there_is_replaced(source, target, overwrite, words, pictures, tmp_path, model):
    folder = pictures(_7=(24, 16), _8=(24, 16), _old_007=(24, 16))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(VideoError, match=words):
        upscale_video(model, folder / source, folder / target, outscale=2, overwrite=overwrite)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_pictures_outside_of_the_wanted_part_are_sources_too(pictures, tmp_path, model):
    folder = pictures(_1=(24, 16), _100=(24, 16))
    with pytest.raises(VideoError, match="replace their sources"):
        upscale_video(model, folder / "%d.png", folder / "%03d.png", outscale=2, duration=1, overwrite=True)


def test_a_preset_may_be_a_number(tmp_path, model):
    source = make_clip(tmp_path, Recipe("a.mkv", "ffv1", "yuv444p", times=(0, 1)))
    made = upscale_video(model, source, tmp_path / "out.mp4", outscale=2, codec="av1", preset=10)
    assert len(decode(made.path)) == 2
