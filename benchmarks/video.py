"""Clips: flicker beside frame by frame, memory over 2,000 frames, speed with and without a still camera.

    python -m benchmarks.video flicker [--model FILE] [--beside x4plus=FILE] [--clips 4]
    python -m benchmarks.video stills [--model FILE]
    python -m benchmarks.video memory
    python -m benchmarks.video speed [--model FILE] [--frames 24]

Flicker is measured on clips whose motion is known: a camera pans, zooms, turns or shakes over a Kodak photograph, or
stands still while a piece of another walks by; each frame is blurred, reduced, given its own noise, and compressed.
`stills` takes the clips of still cameras for longer, and says how much is reused and how far that is from computing it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from PIL import Image

from benchmarks.evaluation_data import find_shared
from ssg_hub.evaluation.distances import find_distances
from ssg_hub.loading import EMBEDDED, load_model
from ssg_hub.upscaling.upscale import upscale
from ssg_hub.video.steady import Steady
from ssg_hub.video.stills import Stills
from ssg_hub.video.upscale_video import upscale_video

LR = (160, 112)
SCALE = 4
FRAMES = 12
JUDGED_BY_LPIPS = (FRAMES // 2, FRAMES - 1)
SETTLED = 4  # frames after which a filter that starts empty is judged
MARGIN = 16  # HR pixels at the edge that are not judged


@dataclass(frozen=True)
class Shot:
    """One clip: photograph, motion, noise in levels, and JPEG quality of each frame, or CRF of H.264 for the whole."""

    photo: int
    motion: str
    noise: float
    jpeg: int | None = None
    crf: int | None = None


SHOTS = [
    Shot(3, "pan", 5, jpeg=70),
    Shot(5, "zoom", 8, jpeg=60),
    Shot(8, "still", 5, jpeg=70),
    Shot(13, "shake", 4, jpeg=80),
    Shot(21, "turn", 6, jpeg=75),
    Shot(15, "fast", 5, jpeg=70),
    Shot(23, "pan", 6, crf=26),
    Shot(1, "walk", 5, jpeg=75),
    Shot(20, "zoom", 6, crf=24),
    Shot(11, "still", 8, crf=26),
]


STILL_FRAMES, JUDGED = 40, 10  # of a still camera, and how many of its last are judged


def place_camera(shot: Shot, number: int, size: tuple[int, int], photo: tuple[int, int]) -> np.ndarray:
    """The 3x3 matrix from the pixels of frame `number` to those of the photograph."""
    middle = number - (FRAMES - 1) / 2
    shift, zoom, angle = {
        "pan": ((5.3 * middle, 1.9 * middle), 1.0, 0.0),
        "fast": ((9.7 * middle, -4.1 * middle), 1.0, 0.0),
        "zoom": ((0, 0), 1 - 0.012 * number, 0.0),
        "turn": ((0, 0), 0.85, np.deg2rad(0.6 * middle)),
        "shake": (np.random.default_rng(100 * shot.photo + number).normal(0, 2.5, 2), 1.0, 0.0),
        "still": ((0, 0), 1.0, 0.0),
        "walk": ((0, 0), 1.0, 0.0),
    }[shot.motion]
    cosine, sine = zoom * np.cos(angle), zoom * np.sin(angle)
    to_middle = np.array([[1, 0, -size[0] / 2], [0, 1, -size[1] / 2], [0, 0, 1]])
    x, y = photo[0] / 2 + shift[0], photo[1] / 2 + shift[1]
    return np.array([[cosine, -sine, x], [sine, cosine, y], [0, 0, 1]]) @ to_middle


def shoot(shot: Shot, folder: Path, count: int = FRAMES) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """(HR frames in levels, cameras as `place_camera` gives them, masks of what the cameras' motion explains)."""
    photo = read_photo(folder, shot.photo)
    upright = photo.shape[0] > photo.shape[1]
    size = (LR[1] * SCALE, LR[0] * SCALE) if upright else (LR[0] * SCALE, LR[1] * SCALE)
    frames, cameras, backgrounds = [], [], []
    walker = read_photo(folder, 1 + shot.photo % 24)[100:260, 200:320]
    for number in range(count):
        camera = place_camera(shot, number, size, photo.shape[1::-1])
        flags = cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP
        frame = cv2.warpAffine(photo, camera[:2], size, flags=flags, borderMode=cv2.BORDER_REFLECT).clip(0, 255)
        background = np.ones(frame.shape[:2], bool)
        if shot.motion == "walk":
            left = (40 + 21 * number) % (size[0] - 120)
            frame[150:310, left : left + 120] = walker
            background[130:330, max(0, left - 42) : left + 162] = False  # with a margin, and where it just was
        frames.append(frame)
        cameras.append(camera)
        backgrounds.append(background)
    return frames, cameras, backgrounds


def read_photo(folder: Path, number: int) -> np.ndarray:
    return np.asarray(Image.open(folder / f"{number:02d}.webp").convert("RGB")).astype(np.float32)


def reduce(hr: np.ndarray) -> np.ndarray:
    """LR of a frame without noise, float32: blur, and reduction by areas."""
    return cv2.resize(cv2.GaussianBlur(hr, (0, 0), 2.0), None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)


def degrade(shot: Shot, frames: list[np.ndarray]) -> list[np.ndarray]:
    """LR frames, uint8: reduced, with noise, and compressed."""
    random = np.random.default_rng(shot.photo)
    lrs = []
    for hr in frames:
        lr = reduce(hr)
        lr = np.rint(lr + random.normal(0, shot.noise, lr.shape)).clip(0, 255).astype(np.uint8)
        if shot.jpeg is not None:
            _, data = cv2.imencode(".jpg", lr[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, shot.jpeg])
            lr = np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])
        lrs.append(lr)
    return lrs if shot.crf is None else through_h264(lrs, shot.crf)


def through_h264(frames: list[np.ndarray], crf: int) -> list[np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/clip.mp4"
        with av.open(path, "w") as out:
            stream = out.add_stream("libx264", rate=25, options={"crf": str(crf), "threads": "1"})
            stream.height, stream.width = frames[0].shape[:2]
            for frame in frames:
                out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
            out.mux(stream.encode(None))
        with av.open(path) as container:
            return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def measure_warping(frames: list[np.ndarray], cameras: list[np.ndarray], backgrounds: list[np.ndarray]) -> float:
    """Mean absolute difference, in levels, of a frame to the one before brought onto it by the known flow.

    After Lai et al., Learning Blind Video Temporal Consistency, ECCV 2018, eq. 6, with an absolute difference.
    """
    height, width = frames[0].shape[:2]
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    errors = []
    for number in range(SETTLED, len(frames)):
        step = np.linalg.inv(cameras[number - 1]) @ cameras[number]
        places = (np.stack([x, y, np.ones_like(x)], -1) @ step.T)[..., :2].astype(np.float32)
        before = cv2.remap(
            frames[number - 1].astype(np.float32), places, None, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REFLECT
        )
        inside = (places >= MARGIN).all(-1) & (places < np.array([width, height]) - MARGIN).all(-1)
        inside[:MARGIN] = inside[-MARGIN:] = inside[:, :MARGIN] = inside[:, -MARGIN:] = False
        seen = inside & backgrounds[number]
        errors.append(np.abs(frames[number].astype(np.float32) - before)[seen].mean())
    return float(np.mean(errors))


def measure_deviation(frames: list[np.ndarray], seen: np.ndarray) -> float:
    """Mean standard deviation over time, in levels, where nothing moves: `seen` (H, W)."""
    return float(np.stack(frames).astype(np.float32).std(axis=0)[seen].mean())


def upscale_steadily(model, lrs: list[np.ndarray]) -> tuple[list[np.ndarray], float]:
    """(frames as `upscale_video` makes them with temporal="auto", share that was reused)."""
    steady = Steady()
    stills = Stills(lambda lr: upscale(model, lr, segment=False).picture.values, Fraction(SCALE))
    frames = []
    for lr in lrs:
        values, count = steady(lr)
        if steady.cut:
            stills.forget()
        frames.append(stills(values, count))
    return frames, stills.reused / len(lrs)


def run_stills(args: argparse.Namespace) -> dict:
    """Still cameras: the share that was reused, the deviation over time, and the error of reuse, in levels."""
    model, found = load_model(args.model), {}
    for shot in (shot for shot in SHOTS if shot.motion in ("still", "walk")):
        hrs, _, backgrounds = shoot(shot, find_shared() / "data" / "kodak", STILL_FRAMES)
        lrs = degrade(shot, hrs)
        steady = Steady()
        steadied = [steady(lr)[0] for lr in lrs][-JUDGED:]
        kept, reused = upscale_steadily(model, lrs)
        whole = [upscale(model, lr, segment=False).picture.values for lr in steadied]
        plain = [upscale(model, lr, segment=False).picture.values for lr in lrs[-JUDGED:]]
        error = np.abs(np.stack(kept[-JUDGED:]).astype(np.float32) - np.stack(whole))
        seen = np.logical_and.reduce(backgrounds[-JUDGED:])
        found[f"{shot.motion} {shot.photo}, noise {shot.noise:g}"] = {
            "reused": round(reused, 3),
            "error of reuse, mean": round(float(error.mean()), 3),
            "error of reuse, 99 %": round(float(np.percentile(error, 99)), 3),
            "std frame by frame": round(measure_deviation(plain, seen), 3),
            "std averaged": round(measure_deviation(whole, seen), 3),
            "std averaged and reused": round(measure_deviation(kept[-JUDGED:], seen), 3),
        }
        print(json.dumps(found), flush=True)
    return found


def run_flicker(args: argparse.Namespace) -> dict:
    """Ours frame by frame, ours steadied, and other models frame by frame, clip by clip."""
    shared = find_shared()
    lpips = find_distances(str(shared / "weights"))["lpips"].eval()
    models = {"ours": load_model(args.model)} | {
        name: load_model(path) for name, path in (pair.split("=", 1) for pair in args.beside)
    }

    def judge(frames, hrs) -> float:
        tensors = [
            torch.from_numpy(np.stack([image[n] for n in JUDGED_BY_LPIPS]).clip(0, 255).astype(np.float32))
            for image in (frames, hrs)
        ]
        with torch.inference_mode():
            return float(lpips(*(tensor.permute(0, 3, 1, 2) / 255 for tensor in tensors)).mean())

    rows = []
    for shot in SHOTS[: args.clips]:
        hrs, cameras, backgrounds = shoot(shot, shared / "data" / "kodak")
        lrs = degrade(shot, hrs)
        row = {"shot": shot.__dict__, "HR": {"warping": measure_warping(hrs, cameras, backgrounds)}}
        results = {
            name: ([upscale(model, lr, segment=False).picture.values for lr in lrs], 0.0)
            for name, model in models.items()
        }
        results["ours, steady"] = upscale_steadily(models["ours"], lrs)
        bare = {n: np.rint(reduce(hrs[n])).clip(0, 255).astype(np.uint8) for n in JUDGED_BY_LPIPS}
        bare = {n: upscale(models["ours"], lr, segment=False).picture.values for n, lr in bare.items()}
        row["without noise"] = {"lpips": judge(bare, hrs)}
        for name, (frames, reused) in results.items():
            row[name] = {"warping": measure_warping(frames, cameras, backgrounds), "lpips": judge(frames, hrs)}
            row[name]["reused"] = reused
            if shot.motion in ("still", "walk"):
                row[name]["std"] = measure_deviation(frames[SETTLED:], np.logical_and.reduce(backgrounds))
        rows.append(row)
        print(json.dumps(row), flush=True)
    return {"clips": rows, "summary": summarise(rows)}


def summarise(rows: list[dict]) -> dict:
    """Means over the clips, and the ratio of the steadied to frame by frame."""
    names = [name for name in rows[0] if name not in ("shot", "HR", "without noise")]
    summary = {
        name: {
            key: round(float(np.mean([row[name][key] for row in rows if key in row[name]])), 4)
            for key in ("warping", "lpips", "std", "reused")
        }
        for name in names
    }
    for key in ("warping", "std"):
        ratios = [row["ours, steady"][key] / row["ours"][key] for row in rows if key in row["ours"]]
        summary[f"{key} of steady to frame by frame"] = round(float(np.mean(ratios)), 3)
    changes = [row["ours, steady"]["lpips"] - row["ours"]["lpips"] for row in rows]
    bare = [row["without noise"]["lpips"] - row["ours"]["lpips"] for row in rows]
    summary["lpips without noise less frame by frame"] = round(float(np.mean(bare)), 4)
    summary["lpips of steady less frame by frame"] = round(float(np.mean(changes)), 4)
    return summary


MEMORY = """
import resource, sys, torch
sys.path[:0] = ["tests"]
from standins import Repeat, make_model
from ssg_hub.video.upscale_video import upscale_video
seen = []
def report(done, total):
    if done in (200, 1000, 2000):
        pages = int(open("/proc/self/statm").read().split()[1])
        seen.append(pages * resource.getpagesize() // 2**20)
upscale_video(make_model(Repeat(2)), sys.argv[1], sys.argv[2], outscale=2, on_progress=report)
print(seen)
"""


def run_memory(args: argparse.Namespace) -> dict:
    """Resident MiB after 200, 1,000 and 2,000 frames of 240x136, with a stand-in for the generator (Linux)."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "long.mp4")
        with av.open(str(source), "w") as out:
            stream = out.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
            stream.width, stream.height = 240, 136
            random = np.random.default_rng(0)
            scene = random.integers(40, 200, (136, 240, 3))
            for number in range(2000):
                frame = np.roll(scene, number // 4, axis=1) + random.integers(-6, 7, scene.shape)
                out.mux(stream.encode(av.VideoFrame.from_ndarray(frame.clip(0, 255).astype(np.uint8), "rgb24")))
            out.mux(stream.encode(None))
        command = [sys.executable, "-c", MEMORY, source, Path(folder, "out.mp4")]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {"MiB after 200, 1000, 2000 frames": json.loads(said)}


def run_speed(args: argparse.Namespace) -> dict:
    """Frames per second at 480x270 → 1920x1080: frame by frame, steadied in motion, and with a still camera."""
    model, found = load_model(args.model), {}
    scene = cv2.resize(np.random.default_rng(0).integers(0, 256, (90, 160, 3), np.uint8), (640, 360))
    for name, step, temporal in (("frame by frame", 3, "off"), ("moving", 3, "auto"), ("still camera", 0, "auto")):
        with tempfile.TemporaryDirectory() as folder:
            random = np.random.default_rng(1)
            for number in range(args.frames):
                frame = scene[20:290, step * number : step * number + 480] + random.normal(0, 4, (270, 480, 3))
                if step == 0:  # something walks by
                    frame[100:160, 4 * number : 4 * number + 40] = 230
                Image.fromarray(frame.clip(0, 255).astype(np.uint8)).save(f"{folder}/{number:04d}.png")
            started = time.perf_counter()
            result = upscale_video(model, f"{folder}/%04d.png", f"{folder}/out.mp4", temporal=temporal)
            seconds = time.perf_counter() - started
        found[name] = {"frames/s": round(args.frames / seconds, 3), "reused": result.report["reused"]}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["flicker", "stills", "memory", "speed"])
    parser.add_argument("--model", default=EMBEDDED, help=f"as for ssg upscale (default {EMBEDDED})")
    parser.add_argument("--beside", nargs="*", default=[], metavar="NAME=FILE", help="other models, frame by frame")
    parser.add_argument("--clips", type=int, default=len(SHOTS), help="how many of the clips (flicker)")
    parser.add_argument("--frames", type=int, default=24, help="how many (speed)")
    args = parser.parse_args()
    found = {"flicker": run_flicker, "stills": run_stills, "memory": run_memory, "speed": run_speed}[args.what](args)
    print(json.dumps(found.get("summary", found), indent=1))


if __name__ == "__main__":
    main()
