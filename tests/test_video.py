"""Clips in and out: containers and codecs, time stamps, sound, colours, rotation, parts, pictures, further outputs."""

import io
import os
import wave
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("cv2")

import av
from made_clips import BY_NAME, FRAMES, RECIPES, TICK, Recipe, decode, draw_frame, make_clip, probe
from PIL import Image
from standins import ColorGuide, Repeat, make_model

from ssg_hub.errors import ConfigError, ImageError, VideoError
from ssg_hub.video.clip import Clip
from ssg_hub.video.colors import MATRICES, ColorConverter, Colors
from ssg_hub.video.copying import CONVERTED, plan_copies
from ssg_hub.video.encoding import Encoding, StreamWriter, check_encoding
from ssg_hub.video.frames import Turn, read_turn
from ssg_hub.video.joining import stamped
from ssg_hub.video.sequences import PictureSequence
from ssg_hub.video.upscale_video import upscale_video


@pytest.fixture
def model():
    return make_model(Repeat(2))


@pytest.fixture
def clip(tmp_path):
    """Makes a clip by its recipe's name."""
    (tmp_path / "in").mkdir()
    return lambda name, **changes: make_clip(tmp_path / "in", Recipe(**{**BY_NAME[name].__dict__, **changes}))


def since_first(times):
    return [time - times[0] for time in times]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_every_frame_time_and_sound_of_a_clip_arrives(recipe, tmp_path, model):
    source = make_clip(tmp_path, recipe)
    result = upscale_video(model, source, tmp_path / "out.mkv", outscale=2, codec="ffv1", temporal="off")
    before, after = probe(source), probe(result.path)
    assert len(after["times"]) == FRAMES == result.report["frames"]
    assert since_first(after["times"]) == pytest.approx(since_first(before["times"]), abs=TICK)
    if recipe.name == "wmv2.wmv":  # Matroska takes no Windows Media sound
        assert "converted to FLAC" in result.report["notes"][0]
    else:
        if recipe.name != "h264.ts":  # its sound is taken out of transport framing
            assert after["sounds"] == before["sounds"]
        lead = [facts["times"][0] - facts["sound_starts"][0] for facts in (before, after)]
        assert lead[0] == pytest.approx(lead[1], abs=TICK)
    assert (tmp_path / "out.mkv.parts").exists() is False
    stored = [np.rot90(frame) if recipe.rotation else frame for frame in decode(source)]
    for lr, sr in zip(stored, decode(result.path), strict=True):
        # An outside conversion to RGB, which interpolates colour more roughly.
        difference = np.abs(lr.repeat(2, 0).repeat(2, 1).astype(int) - sr)
        assert difference.mean() < 2 and difference.max() < 24


@pytest.mark.parametrize(
    ("name", "target", "codec"),
    [
        ("variable.mp4", "out.mp4", "h264"),
        ("variable.mp4", "out.mov", "hevc"),
        ("mpeg4.mp4", "out.mp4", "av1"),
        ("vp9.webm", "out.webm", None),
        ("h264.ts", "out.ts", "hevc"),
        ("h264.ts", "out.mp4", None),
        ("mjpeg.avi", "out.m4v", None),
    ],
)
def test_each_container_keeps_time_stamps_to_its_own_resolution(name, target, codec, clip, tmp_path, model):
    source = clip(name, size=(64, 48))
    result = upscale_video(model, source, tmp_path / target, outscale=2, codec=codec, preset=None, temporal="off")
    before, after = probe(source), probe(result.path)
    exact = 2e-6 if target[-4:] in (".mp4", ".mov", ".m4v") or target.endswith(".ts") else TICK
    assert since_first(after["times"]) == pytest.approx(since_first(before["times"]), abs=exact)
    assert len(after["times"]) == FRAMES and "audio" in after["kinds"]
    lead = [facts["times"][0] - facts["sound_starts"][0] for facts in (before, after)]
    assert lead[0] == pytest.approx(lead[1], abs=TICK)


def test_tags_chapters_subtitles_and_data_come_along(clip, tmp_path, model):
    rich = upscale_video(model, clip("h264.mkv"), tmp_path / "out.mkv", outscale=2)
    after = probe(rich.path)
    assert after["tags"]["title"] == "A drive" and after["tags"]["location"].startswith("+55.6761")
    assert after["chapters"] == [(0.0, pytest.approx(0.3))] and "subtitle" in after["kinds"]
    assert rich.report["notes"] == []
    gps = upscale_video(model, clip("gps.mp4"), tmp_path / "gps.mp4", outscale=2)
    with av.open(str(gps.path)) as container:
        stream = next(stream for stream in container.streams if stream.type == "data")
        payloads = [bytes(packet) for packet in container.demux(stream) if packet.size]
    assert payloads == [b"\x01gps 55.6761 12.5683" + bytes([48 + n]) for n in range(3)]
    plain = upscale_video(model, clip("h264.mkv"), tmp_path / "out.ts", outscale=2)
    told = [note for note in plain.report["notes"] if note.startswith("MPEG-TS")]
    assert told == ["MPEG-TS has no place for chapters and tags; left out: chapters, LOCATION, title."]
    lost = upscale_video(model, clip("gps.mp4"), tmp_path / "gps.mkv", outscale=2)
    assert "data (bin_data), cannot be kept in matroska" in lost.report["notes"][0]


def read_sound(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(samples of the first channel, when each is heard in seconds)."""
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
    samples = np.concatenate([frame.to_ndarray().reshape(-1).astype(float) for frame in frames])
    channels = len(frames[0].layout.channels) if not frames[0].format.is_planar else 1
    if frames[0].format.is_planar:
        samples = np.concatenate([frame.to_ndarray()[0].astype(float) for frame in frames])
    samples = samples[::channels] - samples.mean()  # unsigned samples have their zero in the middle
    begin = float(frames[0].pts * frames[0].time_base)
    return samples / np.abs(samples).max(), begin + np.arange(len(samples)) / frames[0].sample_rate


WINDOWS = {"name": "wmv2.wmv"}
OLD = {"name": "mjpeg.avi", "audio": "pcm_u8", "size": (64, 48)}


@pytest.mark.parametrize(
    ("source", "target", "rate"),
    [
        (WINDOWS, "out.mkv", 48000),
        (WINDOWS, "out.mp4", 48000),
        (WINDOWS, "out.webm", 48000),
        ({**OLD, "sound_rate": 5512}, "out.mp4", 7350),
        ({**OLD, "sound_rate": 11127}, "out.mp4", 12000),
        ({**OLD, "sound_rate": 192000}, "out.mp4", 96000),
    ],
)
def test_sound_that_has_to_be_converted_stays_in_step(source, target, rate, clip, tmp_path, model):
    source = clip(**source)
    result = upscale_video(model, source, tmp_path / target, outscale=2)
    assert "converted to" in result.report["notes"][0]
    with av.open(str(result.path)) as container:
        assert container.streams.audio[0].codec_context.sample_rate == rate
    (before, times), (after, times_now) = read_sound(source), read_sound(result.path)
    lead = probe(source)["times"][0], probe(result.path)["times"][0]
    # A steady tone: what is heard at one moment in the middle is heard at that moment of the result.
    moment = np.arange(0.15, 0.2, 1 / 48000)
    heard = np.interp(moment, times, before)
    alike = {}
    for late in np.arange(-0.004, 0.004, 0.00025):
        heard_now = np.interp(moment - lead[0] + lead[1] + late, times_now, after)
        alike[float(np.corrcoef(heard, heard_now)[0, 1])] = late
    assert max(alike) > 0.95 and abs(alike[max(alike)]) <= (0.0005 if target == "out.mp4" else TICK)


def test_sound_that_cannot_even_be_converted_is_left_out_and_said_before_anything_is_computed(clip, monkeypatch):
    monkeypatch.setitem(CONVERTED, "mp4", "wmav2")  # an encoder whose sound MP4 does not hold
    copies, notes = plan_copies(Clip(clip("mjpeg.avi", audio="pcm_u8")), "mp4")
    assert copies == {} and "audio (pcm_u8), cannot be kept in mp4 and was left out" in notes[0]


def read_packets(path: Path) -> list[tuple[tuple[int, int], list[bytes]]]:
    """(size, packets) of each video stream."""
    with av.open(str(path)) as container:
        found = {s.index: ((s.width, s.height), []) for s in container.streams.video}
        for packet in container.demux(video=tuple(range(len(found)))):
            if packet.size:
                found[packet.stream.index][1].append(bytes(packet))
    return list(found.values())


def make_covered(path: Path, **tags: str) -> Path:
    """Write a clip of two video streams, with a cover picture and these tags."""
    with av.open(str(path), "w") as out:
        out.metadata.update(tags)
        streams = [out.add_stream("libx264", rate=25) for _ in range(2)]
        cover = out.add_mux_stream("png", width=8, height=8)
        cover.disposition, cover.time_base = 1 << 10, Fraction(1, 25)
        for stream in streams:
            stream.width, stream.height = 48, 32
        for number in range(3):
            for stream, shift in zip(streams, (0, 5), strict=True):
                out.mux(stream.encode(av.VideoFrame.from_ndarray(draw_frame(number + shift), "rgb24")))
        for stream in streams:
            out.mux(stream.encode(None))
        picture = io.BytesIO()
        Image.new("RGB", (8, 8), "red").save(picture, "PNG")
        packet = av.Packet(picture.getvalue())
        packet.stream, packet.pts, packet.dts, packet.time_base = cover, 0, 0, Fraction(1, 25)
        out.mux(packet)
    return path


def test_covers_and_further_video_streams_are_copied(tmp_path, model):
    source = make_covered(tmp_path / "two.mp4", title="A drive", location="+55.6761+012.5683/")
    result = upscale_video(model, source, tmp_path / "out.mp4", outscale=2)
    assert [size for size, _ in read_packets(result.path)] == [(96, 64), (48, 32), (8, 8)]
    assert [data for _, data in read_packets(result.path)[1:]] == [data for _, data in read_packets(source)[1:]]
    assert all(data for _, data in read_packets(source))
    assert probe(result.path)["tags"]["location"] == "+55.6761+012.5683/"
    assert result.report["notes"] == []


def test_of_a_cover_and_tags_it_is_said_what_finds_no_place_together(tmp_path, model):
    source = make_covered(tmp_path / "two.mp4", title="A drive", composer="X100")
    source.write_bytes(source.read_bytes().replace(b"\xa9wrt", b"\xa9mod"))  # the camera, which FFmpeg reads alone
    assert probe(source)["tags"].items() >= {"title": "A drive", "model": "X100"}.items()
    told = {}
    for ending in ("mp4", "mov"):
        result = upscale_video(model, source, tmp_path / f"out.{ending}", outscale=2)
        tags = probe(result.path)["tags"]
        told[ending] = len(read_packets(result.path)), tags.get("title"), tags.get("model"), result.report["notes"]
    assert told["mov"] == (2, "A drive", "X100", ["Stream 2, video (png), cannot be kept in mov and was left out."])
    (note,) = told["mp4"][-1]
    assert told["mp4"][:-1] == (3, "A drive", None) and "left out: model. Matroska" in note


def test_a_part_starts_at_its_first_frame_with_its_sound(clip, tmp_path, model):
    source = clip("variable.mp4")
    result = upscale_video(model, source, tmp_path / "out.mp4", outscale=2, start=0.1, duration=0.35)
    before, after = probe(source), probe(result.path)
    wanted = [time for time in before["times"] if 0.1 <= time < 0.121 + 0.35]
    assert after["times"] == pytest.approx(since_first(wanted), abs=2e-6)
    assert 0 < len(after["sounds"]) < len(before["sounds"])
    assert set(after["sounds"]) <= set(before["sounds"])
    with pytest.raises(VideoError, match="behind the end"):
        Clip(source, start=5)


def test_a_turned_clip_becomes_upright(clip, tmp_path, model):
    source = clip("turned.mov")
    result = upscale_video(model, source, tmp_path / "out.mp4", outscale=2)
    with av.open(str(result.path)) as container:
        frame = next(container.decode(video=0))
        assert (frame.width, frame.height) == (64, 96) and frame.rotation == 0
    expected = np.rot90(draw_frame(0)).repeat(2, 0).repeat(2, 1)
    assert np.abs(frame.to_ndarray(format="rgb24").astype(int) - expected).mean() < 6


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("flip_x", [1, -1])
@pytest.mark.parametrize("flip_y", [1, -1])
def test_all_eight_display_matrices_are_obeyed(transpose, flip_x, flip_y):
    # The definition: a stored point (x, y) is shown at (a x + c y, b x + d y).
    a, b, c, d = (0, flip_y, flip_x, 0) if transpose else (flip_x, 0, 0, flip_y)
    numbers = np.array([a, b, 0, c, d, 0, 0, 0, 1 << 14]) * (1 << 16)
    stored = np.arange(6).reshape(2, 3)
    y, x = np.mgrid[0:2, 0:3]
    shown_x, shown_y = a * x + c * y, b * x + d * y
    expected = np.zeros((3, 2) if transpose else (2, 3), int)
    expected[shown_y - shown_y.min(), shown_x - shown_x.min()] = stored
    turn = read_turn(numbers.astype(np.int32).tobytes())
    assert np.array_equal(turn(stored), expected)


def test_a_matrix_at_an_odd_angle_is_no_turn():
    assert read_turn(np.array([60000, 10000, 0, -10000, 60000, 0, 0, 0, 1 << 30], np.int32).tobytes()) is None
    assert read_turn(np.array([65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30], np.int32).tobytes()) == Turn()


LUMA = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593), 7: (0.212, 0.087)}


@pytest.mark.parametrize("matrix", LUMA)
@pytest.mark.parametrize("full", [False, True])
def test_colours_are_converted_by_the_matrix_and_range_they_are_tagged_with(matrix, full):
    # ITU-R BT.601, BT.709 and BT.2020: Y = kr R + kg G + kb B; chroma from B - Y and R - Y.
    rgb = np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    kr, kb = LUMA[matrix]
    r, g, b = np.moveaxis(rgb / 255, -1, 0)
    y = kr * r + (1 - kr - kb) * g + kb * b
    expected = y * 255 if full else 16 + 219 * y
    colors = Colors(matrix, 2 if full else 1, 1, 1)
    converter = ColorConverter()
    frame = converter.from_rgb(rgb, colors, "yuv420p")
    plane = np.frombuffer(frame.planes[0], np.uint8).reshape(64, -1)[:64, :64]
    inner = slice(8, None, 16)
    assert np.abs(plane - expected)[inner, inner].max() < 0.6
    back = converter.to_rgb(frame, colors, (64, 64), deep=False)
    assert np.abs(back.astype(int) - rgb)[inner, inner].max() <= 2


@pytest.mark.parametrize(
    ("height", "tagged", "expected"),
    [
        (480, Colors(2, 0, 2, 2), Colors(6, 1, 6, 6)),
        (1080, Colors(2, 0, 2, 2), Colors(1, 1, 1, 1)),
        (1080, Colors(5, 2, 2, 2), Colors(5, 2, 5, 6)),
        (2160, Colors(9, 1, 9, 16), Colors(9, 1, 9, 16)),
        (480, Colors(0, 2, 2, 2), Colors(0, 2, 1, 1)),
    ],
)
def test_what_is_not_tagged_is_guessed_as_players_do_and_what_is_tagged_stays(height, tagged, expected):
    assert tagged.settled(height) == expected
    assert expected.encoded().matrix in MATRICES


def test_the_result_says_which_colours_it_has(clip, tmp_path, model):
    result = upscale_video(model, clip("mjpeg.avi"), tmp_path / "out.mp4", outscale=2)  # full range, not tagged
    with av.open(str(result.path)) as container:
        frame = next(container.decode(video=0))
        assert (frame.color_range, frame.colorspace, frame.color_primaries) == (2, 5, 5)


def test_more_than_8_bits_stay_where_the_codec_holds_them(clip, tmp_path, model):
    source = clip("prores.mov")
    for codec, pixels in (("ffv1", "rgb48le"), ("h264", "yuv420p")):
        result = upscale_video(model, source, tmp_path / f"{codec}.mkv", outscale=2, codec=codec, temporal="off")
        with av.open(str(result.path)) as container:
            assert container.streams.video[0].pix_fmt in (pixels, "gbrp16le")
        assert any("8 bits" in note for note in result.report["notes"]) == (codec == "h264")
    with av.open(str(source)) as container:
        expected = next(container.decode(video=0)).to_ndarray(format="rgb48le")
    with av.open(str(tmp_path / "ffv1.mkv")) as container:
        got = next(container.decode(video=0)).to_ndarray(format="rgb48le")
    assert np.abs(expected.repeat(2, 0).repeat(2, 1).astype(int) - got).mean() < 2 * 257
    assert len(np.unique(got % 257)) > 1  # not 8 bits made wide


@pytest.mark.parametrize(("size", "outscale"), [((49, 33), 2), ((49, 33), 1.5), ((48, 32), 1.7)])
def test_odd_sizes_get_what_the_codec_needs(size, outscale, clip, tmp_path, model):
    source = clip("ffv1.mkv", size=size)
    size = tuple(round(side * outscale) for side in size)
    exact = upscale_video(model, source, tmp_path / "exact.mkv", outscale=outscale, codec="ffv1")
    assert decode(exact.path)[0].shape[1::-1] == size
    even = upscale_video(model, source, tmp_path / "even.mp4", outscale=outscale)
    assert decode(even.path)[0].shape[1::-1] == tuple(side + side % 2 for side in size)
    assert any("even sides" in note for note in even.report["notes"]) == any(side % 2 for side in size)


def test_pixels_that_are_no_squares_stay_so(clip, tmp_path, model):
    encoding = Encoding("h264", (48, 32), Fraction(1, 25), Fraction(25), Colors(6, 1, 6, 6), Fraction(16, 11))
    with StreamWriter(tmp_path / "wide.mp4", encoding) as writer:
        for number in range(3):
            writer.write(draw_frame(number), number)
    result = upscale_video(model, tmp_path / "wide.mp4", tmp_path / "out.mp4", outscale=2)
    with av.open(str(result.path)) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(16, 11)
    pictures = upscale_video(model, tmp_path / "wide.mp4", tmp_path / "out" / "%d.png", outscale=2)
    assert pictures.report["notes"] == ["The pixels are 16/11 as wide as high, and pictures do not say so."]


@pytest.mark.parametrize(
    ("recipe", "even"),
    [
        ({"name": "variable.mp4"}, False),
        ({"name": "h264.mkv"}, False),
        ({"name": "h264.mp4"}, True),
        ({"name": "h264.flv", "unit": Fraction(1001, 24000), "times": range(9)}, True),  # milliseconds: 0, 42, 83, 125
        ({"name": "h264.mp4", "times": (0,)}, True),
    ],
)
def test_pictures_of_frames_without_one_rate_say_what_they_lose(recipe, even, clip, tmp_path, model):
    notes = upscale_video(model, clip(**recipe), tmp_path / "%d.png", outscale=2, segment=4).report["notes"]
    assert [note for note in notes if "at one rate" in note] == notes and (notes == []) == even


def test_interlaced_fields_are_merged_and_said(tmp_path, model):
    options = {"flags": "+ildct+ilme", "top": "1"}
    source = make_clip(tmp_path, Recipe("fields.ts", "mpeg2video", audio="mp2", options=options))
    result = upscale_video(model, source, tmp_path / "out.mkv", outscale=2, codec="ffv1")
    assert result.report["frames"] == FRAMES and any("interlaced" in note for note in result.report["notes"])
    assert since_first(probe(result.path)["times"]) == pytest.approx(since_first(probe(source)["times"]), abs=TICK)


def test_pictures_become_a_clip_and_a_clip_pictures(tmp_path, model):
    frames = tmp_path / "frames"
    frames.mkdir()
    for number in (7, 8, 10):  # 9 is missing
        Image.fromarray(draw_frame(number)).save(frames / f"{number:03d}.png")
    result = upscale_video(
        model, frames / "%03d.png", tmp_path / "out.mkv", outscale=2, fps=10, codec="ffv1", temporal="off"
    )
    assert probe(result.path)["times"] == pytest.approx([0, 0.1, 0.3], abs=TICK)
    assert "1 number(s) are missing" in result.report["notes"][0]
    for number, sr in zip((7, 8, 10), decode(result.path), strict=True):
        assert np.array_equal(sr, draw_frame(number).repeat(2, 0).repeat(2, 1))
    upscale_video(model, frames / "%03d.png", tmp_path / "wide" / "%04d.png", outscale=2, temporal="off")
    assert sorted(path.name for path in (tmp_path / "wide").iterdir()) == ["0007.png", "0008.png", "0010.png"]
    upscale_video(model, result.path, tmp_path / "wider" / "f%d.png", outscale=2, temporal="off")
    assert np.array_equal(Image.open(tmp_path / "wider" / "f1.png"), draw_frame(7).repeat(4, 0).repeat(4, 1))
    assert len(list((tmp_path / "wider").iterdir())) == 3
    folder = upscale_video(model, frames, tmp_path / "folder.mkv", outscale=2, codec="ffv1")
    assert folder.report["frames"] == 3


def test_a_folders_names_may_begin_with_any_sign(tmp_path):
    names = ["2.png", "10.png", "²1.png", "٣.png"]  # a digit that is no decimal, and a decimal of another script
    for name in names:
        Image.fromarray(draw_frame(0)).save(tmp_path / name)
    assert [file.name for _, file in PictureSequence(tmp_path).files] == ["2.png", "٣.png", "10.png", "²1.png"]


def test_mask_drift_and_overlay_are_clips_of_their_own(clip, tmp_path):
    model = make_model(Repeat(2), ColorGuide())
    source = clip("ffv1.mkv")
    result = upscale_video(
        model, source, tmp_path / "out.mp4", outscale=2, mask=True, drift=True, overlay=True, temporal="off"
    )
    assert {path.name for path in result.companions.values()} == {"out_mask.mkv", "out_drift.mkv", "out_overlay.mp4"}
    frame = next(iter(Clip(source).frames())).values
    from ssg_hub.upscaling.upscale import upscale

    expected = upscale(model, frame, outscale=2)
    assert np.array_equal(decode(result.companions["mask"])[0], np.asarray(expected.mask.convert("RGB")))
    assert np.array_equal(decode(result.companions["drift"])[0][..., 0], np.asarray(expected.drift))
    assert all(len(decode(path)) == FRAMES for path in result.companions.values())
    with pytest.raises(ConfigError, match="no guide"):
        upscale_video(make_model(), source, tmp_path / "no.mp4", mask=True)


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "ffv1"])
@pytest.mark.parametrize("unit", [Fraction(1, 1_000_000), Fraction(1001, 24000), Fraction(1, 3)])
def test_a_segment_keeps_the_time_stamps_of_any_clock(codec, unit, tmp_path):
    encoding = Encoding(codec, (64, 64), unit, None, Colors(6, 1, 6, 6))
    stamps = [5, 6, 9, 40, 41, 42, 43, 80, 81, 99]
    with StreamWriter(tmp_path / "segment.mp4", encoding) as writer:
        for number, stamp in enumerate(stamps):
            writer.write(draw_frame(number, (64, 64)), stamp)
    assert sorted(writer.stamps) == stamps
    times = probe(tmp_path / "segment.mp4")["times"]
    assert times == pytest.approx([float((stamp - 5) * unit) for stamp in stamps], abs=1.1e-6)
    assert len(decode(tmp_path / "segment.mp4")) == len(stamps)


def test_decoding_times_fit_whatever_the_segments_reorder():
    stamps = [0, 30, 10, 20, 40, 100, 60, 50]
    packets = [av.Packet(1) for _ in stamps]
    done = list(stamped(packets, stamps, 130, Fraction(1, 1000)))
    assert [packet.pts for packet in done] == stamps
    decoding = [packet.dts for packet in done]
    assert decoding == sorted(set(decoding)) and all(packet.dts <= packet.pts for packet in done)
    assert {packet.pts: packet.duration for packet in done}[60] == 40 and done[5].duration == 30
    with pytest.raises(VideoError, match="lost 1 frames"):
        list(stamped(packets[:-1], stamps, 130, Fraction(1, 1000)))


@pytest.mark.parametrize(
    ("options", "target", "words"),
    [
        ({}, "out.avi", "no container"),
        ({"codec": "ffv1"}, "out.mp4", "does not hold ffv1"),
        ({"codec": "h264"}, "out.webm", "does not hold h264"),
        ({"codec": "vp7"}, "out.mkv", "known are"),
        ({"quality": 99}, "out.mp4", "takes a CRF"),
        ({"codec": "ffv1", "quality": 3}, "out.mkv", "loses nothing"),
        ({"preset": "warp"}, "out.mp4", "preset 'warp'"),
        ({"start": -1}, "out.mp4", "start is -1"),
        ({"duration": 0}, "out.mp4", "duration is 0"),
        ({"fps": 10}, "out.mp4", "fps is for pictures"),
        ({"temporal": "much"}, "out.mp4", "temporal is"),
        ({"start": "1"}, "out.mp4", "start is '1'"),
        ({"duration": True}, "out.mp4", "duration is True"),
        ({"quality": 18.5}, "out.mp4", "takes a CRF"),
        ({"segment": 2.5}, "out.mp4", "segment is 2.5"),
        ({"max_pixels": "many"}, "out.mp4", "max_pixels is 'many'"),
        ({"strength": 5}, "out.mp4", "strength is 5"),
        ({"tile": 3}, "out.mp4", "tile is 3"),
        ({"outscale": 99}, "out.mp4", "outscale is 99"),
        ({"sharpness": 1}, "out.mp4", "unknown option 'sharpness'"),
        ({"codec": "hevc", "outscale": 1}, "out.mp4", "64 pixels"),
        ({}, "out/%d.gif", "does not end in a format"),
        ({"codec": "av1"}, "out/%d.png", "codec is for clips"),
        ({"quality": 0}, "out/%d.png", "quality is for clips"),
        ({"preset": "slow"}, "out/%d.png", "preset is for clips"),
    ],
)
def test_an_impossible_option_is_refused_before_anything_is_computed(options, target, words, clip, tmp_path, model):
    with pytest.raises((ConfigError, ImageError, VideoError), match=words):
        upscale_video(model, clip("h264.mp4"), tmp_path / target, **{"outscale": 2, **options})
    assert model.generator.seen == [] and {path.name for path in tmp_path.iterdir()} == {"in"}


@pytest.mark.parametrize(
    ("size", "preset", "kind", "words"),
    [
        ((64, 64), "warp", ConfigError, "does not take the preset 'warp'"),
        ((64, 40000), "slow", VideoError, "does not take frames of 64x40000"),
        ((8, 8), "slow", VideoError, "needs 16 pixels"),
    ],
)
def test_what_an_encoder_refuses_is_laid_to_the_option_or_to_the_clip(size, preset, kind, words):
    encoding = Encoding("h264", size, Fraction(1, 25), None, Colors(6, 1, 6, 6), preset=preset)
    with pytest.raises(kind, match=words):
        check_encoding(encoding)


def test_what_is_no_clip_is_refused_in_one_sentence(tmp_path, model):
    (tmp_path / "text.mp4").write_text("this is text")
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe.mp4")
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(1600))
    for source, words in (
        ("none.mp4", "no file at"),
        ("text.mp4", "cannot be read as a video"),
        ("sound.wav", "holds no video"),
        ("pipe.mp4", "is a pipe.*Save it to a file"),
        ("empty", "no pictures in"),
        ("%03d.png", "no pictures are named"),
    ):
        with pytest.raises(VideoError, match=words) as caught:
            upscale_video(model, tmp_path / source, tmp_path / "out.mp4")
        assert "\n" not in str(caught.value)
    with pytest.raises(VideoError, match="exists and is kept"):
        upscale_video(model, tmp_path / "empty", tmp_path / "text.mp4")


def test_progress_counts_every_frame(clip, tmp_path, model):
    seen = []
    upscale_video(model, clip("h264.mp4"), tmp_path / "out.mp4", outscale=2, on_progress=lambda *now: seen.append(now))
    assert seen == [(number, FRAMES) for number in range(FRAMES + 1)]


def test_the_model_has_it_as_a_method(tiny_model, clip, tmp_path):
    result = tiny_model.upscale_video(clip("h264.mp4"), tmp_path / "out.mp4", duration=0.1)
    assert isinstance(result.path, Path) and decode(result.path)[0].shape == (128, 192, 3)


def test_a_start_and_a_duration_in_tenths_are_taken_as_they_are_written(tmp_path):
    source = make_clip(tmp_path, Recipe("tenths.mp4", "libx264", times=tuple(range(30))))
    frames = [frame.values for frame in Clip(source).frames()]
    part = [frame.values for frame in Clip(source, start=0.4, duration=0.4).frames()]
    assert len(part) == 10 and np.array_equal(part[0], frames[10])
