"""Clips made here, of many containers and codecs, and what an outside reader says of a clip."""

import hashlib
import json
import shutil
import subprocess
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SIZE = (48, 32)
FRAMES = 10
TICK = 0.0011  # seconds: Matroska keeps milliseconds


@dataclass(frozen=True)
class Recipe:
    """How a clip is made: file name, encoders, pixel format, time base, frame times, what else is in it."""

    name: str
    video: str
    pixels: str = "yuv420p"
    audio: str | None = None
    unit: Fraction = Fraction(1, 25)
    times: tuple[int, ...] = tuple(range(FRAMES))
    muxer: str | None = None
    size: tuple[int, int] = SIZE
    options: dict[str, str] = field(default_factory=dict)
    rotation: int = 0
    data: str | None = None
    subtitles: str | None = None
    sound_rate: int = 48000
    sound_start: int = 0


VARIABLE = (0, 40, 80, 121, 240, 241, 300, 460, 500, 777)  # milliseconds
RECIPES = [
    Recipe("h264.mp4", "libx264", audio="aac"),
    Recipe("variable.mp4", "libx264", audio="aac", unit=Fraction(1, 90000), times=tuple(t * 90 + 7 for t in VARIABLE)),
    Recipe("hevc.mp4", "libx265", "yuv420p10le", "aac", size=(64, 48), options={"x265-params": "log-level=error"}),
    Recipe("av1.mp4", "libsvtav1", audio="libopus", size=(64, 64)),
    Recipe("mpeg4.mp4", "mpeg4", audio="aac", unit=Fraction(1001, 30000)),
    Recipe("turned.mov", "libx264", audio="aac", rotation=90),
    Recipe("prores.mov", "prores_ks", "yuv422p10le", "pcm_s16le"),
    Recipe("mjpeg.mov", "mjpeg", "yuvj420p", "pcm_s16le"),
    Recipe("gps.mp4", "libx264", audio="aac", data="bin_data"),
    Recipe("h264.mkv", "libx264", audio="flac", unit=Fraction(1, 1000), times=VARIABLE, subtitles="srt"),
    Recipe("ffv1.mkv", "ffv1", "yuv444p", "pcm_s16le"),
    Recipe("mpeg2.mkv", "mpeg2video", audio="ac3"),
    Recipe("vp9.webm", "libvpx-vp9", audio="libopus"),
    Recipe("vp8.webm", "libvpx", audio="libopus"),
    Recipe("mpeg4.avi", "mpeg4", audio="libmp3lame"),
    Recipe("mjpeg.avi", "mjpeg", "yuvj422p", "pcm_s16le"),
    Recipe("h264.ts", "libx264", audio="aac"),
    Recipe("mpeg2.ts", "mpeg2video", audio="mp2", data="klv"),
    Recipe("mpeg2.mpg", "mpeg2video", audio="mp2", muxer="mpeg"),
    Recipe("h264.flv", "libx264", audio="aac", unit=Fraction(1, 1000), times=tuple(range(0, 400, 40))),
    Recipe("wmv2.wmv", "wmv2", audio="wmav2", muxer="asf"),
    Recipe("dnxhd.mxf", "dnxhd", "yuv422p", "pcm_s16le", size=(256, 120), options={"profile": "dnxhr_sq"}),
    Recipe("h264.3gp", "libx264", audio="aac"),
]

BY_NAME = {recipe.name: recipe for recipe in RECIPES}


def draw_frame(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A frame (H, W, 3) whose colours say its number; smooth, so that every codec keeps it."""
    x, y = np.meshgrid(np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1]))
    return (255 * np.stack([0.2 + 0.5 * x, 0.2 + 0.5 * y, 0.1 + 0.08 * (number % 10) + 0 * x], -1)).astype(np.uint8)


def make_clip(folder: Path, recipe: Recipe, draw=draw_frame) -> Path:
    """Write a clip."""
    path = folder / recipe.name
    with av.open(str(path), "w", format=recipe.muxer) as out:
        out.metadata.update(title="A drive", location="+55.6761+012.5683/")
        video = out.add_stream(recipe.video, rate=1 / max(recipe.unit, Fraction(1, 25)), options=recipe.options)
        video.width, video.height, video.pix_fmt = *recipe.size, recipe.pixels
        video.codec_context.time_base = recipe.unit
        if recipe.rotation:
            video.set_display_rotation(recipe.rotation)
        audio = out.add_stream(recipe.audio, rate=recipe.sound_rate) if recipe.audio else None
        if audio is not None:
            audio.bit_rate = 96000
        data = out.add_data_stream(recipe.data) if recipe.data else None
        texts = out.add_mux_stream(recipe.subtitles) if recipe.subtitles else None
        if texts is not None:
            texts.time_base = Fraction(1, 1000)
            out.set_chapters(
                [{"id": 1, "start": 0, "end": 300, "time_base": Fraction(1, 1000), "metadata": {"title": "a"}}]
            )
        for number, pts in enumerate(recipe.times):
            frame = av.VideoFrame.from_ndarray(draw(number, recipe.size), "rgb24").reformat(format=recipe.pixels)
            frame.pts, frame.time_base = pts, recipe.unit
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        if audio is not None:
            _add_sound(out, audio, recipe.sound_start)
        for stream, payload in ((data, b"\x01gps 55.6761 12.5683"), (texts, b"hello")):
            if stream is not None:
                for number in range(3):
                    packet = av.Packet(payload + bytes([48 + number]))
                    packet.stream, packet.time_base = stream, Fraction(1, 1000)
                    packet.pts = packet.dts = 100 * number
                    packet.duration = 50
                    out.mux(packet)
    return path


def _add_sound(out, stream, start: int) -> None:
    """0.4 seconds of a tone, beginning at `start` seconds."""
    rate = stream.codec_context.sample_rate
    time = np.arange(int(0.4 * rate)) / rate
    tone = (0.3 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(np.stack([tone, tone]), "fltp", "stereo")
    frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
    context = stream.codec_context
    resampler = av.AudioResampler(context.format, context.layout, rate, frame_size=None)
    fifo = av.AudioFifo()
    for part in resampler.resample(frame):
        fifo.write(part)
    stream_size = context.frame_size or 1024
    while (part := fifo.read(stream_size, partial=True)) is not None:
        part.pts += start * rate
        out.mux(stream.encode(part))
    out.mux(stream.encode(None))


def probe(path: Path) -> dict:
    """What a clip holds, by ffprobe where it is installed, else by PyAV.

    Returns:
        times: of the first video stream's packets, in seconds, sorted; sounds: md5 of each audio packet's bytes;
        sound_starts: time of the first of them; kinds: of all streams; tags: of the container; chapters: (start, end)
        in seconds.
    """
    if shutil.which("ffprobe") is None:
        return _probe_with_av(path)
    ask = ["ffprobe", "-v", "error", "-show_streams", "-show_format", "-show_chapters", "-show_packets"]
    ask += ["-show_data_hash", "md5", "-of", "json", path]
    said = json.loads(subprocess.run(ask, capture_output=True, check=True).stdout)
    first = next(stream["index"] for stream in said["streams"] if stream["codec_type"] == "video")
    shown = [e for e in said["packets"] if e["stream_index"] == first and "D" not in e["flags"]]
    packets = [e for e in said["packets"] if e["codec_type"] == "audio"]
    return {
        "times": _times(shown),
        "sounds": [e["data_hash"] for e in packets],
        "sound_starts": [float(e["pts_time"]) for e in packets[:1]],
        "kinds": sorted(s["codec_type"] for s in said["streams"]),
        "tags": {k.lower(): v for k, v in said["format"].get("tags", {}).items()},
        "chapters": [(float(c["start_time"]), float(c["end_time"])) for c in said["chapters"]],
    }


def decode(path: Path) -> list[np.ndarray]:
    """Every frame as RGB, by PyAV alone."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def _times(packets: list[dict]) -> list[float]:
    """Sorted times; a program stream's last packet may have none."""
    stamped = sorted(float(packet["pts_time"]) for packet in packets if "pts_time" in packet)
    for _ in range(len(packets) - len(stamped)):
        stamped.append(stamped[-1] + 1 / 25)
    return stamped


def _probe_with_av(path: Path) -> dict:
    with av.open(str(path)) as container:
        facts = {
            "kinds": sorted(stream.type for stream in container.streams),
            "tags": {key.lower(): value for key, value in container.metadata.items()},
            "chapters": [
                (float(c["start"] * c["time_base"]), float(c["end"] * c["time_base"])) for c in container.chapters()
            ],
        }
        shown = [p for p in container.demux(video=0) if p.size and not p.is_discard]
        facts["times"] = sorted(float(packet.pts * packet.time_base) for packet in shown)
    with av.open(str(path)) as container:
        packets = [p for p in container.demux() if p.stream.type == "audio" and p.size]
        facts["sounds"] = ["MD5:" + hashlib.md5(bytes(packet)).hexdigest() for packet in packets]
        facts["sound_starts"] = [float(packet.pts * packet.time_base) for packet in packets[:1]]
    return facts
