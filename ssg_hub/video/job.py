"""A request to upscale a clip, checked and planned before anything is computed."""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from numbers import Real
from pathlib import Path
from typing import Any, cast

import av
import cv2
import numpy as np
import torch

from ..errors import ConfigError, VideoError
from ..images.formats import check_size, check_target, choose_format
from ..images.reading import MAX_PIXELS
from ..networks.int8 import Int8
from ..storage import as_path
from ..upscaling.engines.base import Engine
from ..upscaling.options import Options, output_size
from ..upscaling.setup import Networks, Setup, prepare
from .clip import Clip
from .copying import plan_copies
from .encoding import PLAYABLE_WIDTH, WAYS, Encoding, check_encoding, choose_codec
from .frames import Facts
from .names import (
    COMPANIONS,
    TEMPORAL,
    exists,
    is_pattern,
    is_read_as_pattern,
    name_companion,
    name_parts,
    name_picture,
    numbered,
)
from .parts import read_request
from .sequences import PictureSequence

SEGMENT = 48  # frames: about two seconds, each a group of pictures of its own; at most so much is lost by a kill
FORMAT = 6  # of the parts folder and of what decides the frames; another number starts again


@dataclass(frozen=True)
class Request:
    """What a user asks for.

    Args:
        source: a video file; a folder of pictures; or a pattern such as frames/%05d.png.
        target: a file ending in .mp4, .m4v, .mov, .mkv, .webm or .ts; or a pattern of pictures.
        picture: how each frame is upscaled.
        start, duration: the part that is wanted, in seconds.
        fps: frames per second of pictures as a source (default 25).
        codec: "h264" (the usual one), "hevc", "av1" (that of .webm), or "ffv1", which is lossless.
        quality: CRF of the codec, lower is better; defaults 18 (h264), 20 (hevc), 28 (av1).
        preset: of the encoder, such as "slow" for h264, 0 to 13 for av1.
        temporal: "auto" averages along the motion, so that noise does not flicker, and computes still regions once;
            "off" upscales each frame by itself.
        mask, drift, overlay: also write TARGET_mask.mkv (the classes' colours, exact), TARGET_drift.mkv (gray, exact),
            TARGET_overlay beside the target; every frame is then computed whole.
        max_pixels: largest frame.
        segment: frames in a segment; None is `SEGMENT`.
    """

    source: Path
    target: Path
    picture: Options
    start: float | None = None
    duration: float | None = None
    fps: float | None = None
    codec: str | None = None
    quality: int | None = None
    preset: str | int | None = None
    temporal: str = "auto"
    mask: bool = False
    drift: bool = False
    overlay: bool = False
    max_pixels: int = MAX_PIXELS
    segment: int | None = None

    @classmethod
    def gather(cls, source: str | os.PathLike, target: str | os.PathLike, **options: Any) -> "Request":
        """Take options for the clip and for its pictures together.

        Raises:
            ConfigError: one that neither knows.
        """
        own = {f.name for f in fields(cls)} - {"picture"}
        options = {name: _plain(value) for name, value in options.items()}
        clip = {name: value for name, value in options.items() if name in own}
        masked = any(clip.get(kind) for kind in COMPANIONS)
        picture = Options.gather("upscale_video", options, own, segment=masked)
        return cls(as_path(source), as_path(target), picture, **clip)

    @property
    def companions(self) -> list[str]:
        """Which further outputs are wanted."""
        return [kind for kind in COMPANIONS if getattr(self, kind)]

    @property
    def frames_at_once(self) -> int:
        """Frames in a segment."""
        return self.segment or SEGMENT


@dataclass(frozen=True)
class Output:
    """One stream of the result: numbered pictures, or, with an encoding, a file in a container."""

    track: str
    path: Path
    encoding: Encoding | None = None
    muxer: str | None = None


@dataclass(frozen=True)
class Job:
    """A request that can be done.

    Args:
        request: what was asked for.
        setup: of the upscaling of each frame.
        source: opened.
        outputs: the first is the clip itself.
        copies: the source's streams that are kept, as `plan_copies` gives them.
        notes: what will not be as the user may think.
    """

    request: Request
    setup: Setup
    source: Clip | PictureSequence
    outputs: list[Output]
    copies: dict[int, str | None]
    notes: list[str]


def plan_job(model: Networks, request: Request, overwrite: bool = False) -> Job:
    """Refuse what cannot be done, and decide what is written.

    Raises:
        VideoError, ConfigError: see `upscale_video`.
    """
    setup = _prepare(model, request)
    names = {"main": request.target} | {kind: name_companion(request.target, kind) for kind in request.companions}
    begun = _begun_tracks(request.target)
    for track, name in names.items():
        _check_target(name, request.source, overwrite or track in begun)
    source = open_source(request.source, request.start, request.duration, request.fps, request.max_pixels)
    if isinstance(source, PictureSequence):
        _keep_sources(source, names.values())
    facts = source.facts
    if facts.size[0] * facts.size[1] > request.max_pixels:
        raise VideoError(
            f"{request.source} has frames of {facts.size[0]}x{facts.size[1]}; at most {request.max_pixels} pixels are "
            "taken. Raise max_pixels if you have the memory."
        )
    size = output_size(facts.size, request.picture.outscale)
    if is_pattern(request.target):
        check_size(size, choose_format(request.target))
        shape = f"The pixels are {facts.aspect} as wide as high, and pictures do not say so."
        notes = source.notes + ([] if facts.aspect == 1 else [shape])
        return Job(request, setup, source, [Output(*name) for name in names.items()], {}, notes)
    codec, muxer = choose_codec(request.codec, request.target)
    outputs = []
    for track, path in names.items():
        encoding = _encoding(track, codec, facts, size, request)
        outputs.append(Output(track, path, encoding, "matroska" if track in ("mask", "drift") else muxer))
        check_encoding(encoding)
    notes = source.notes + _say_changes(outputs[0].encoding, facts)
    copies: dict[int, str | None] = {}
    if isinstance(source, Clip):
        copies, left_out = plan_copies(source, muxer)
        notes += left_out
    return Job(request, setup, source, outputs, copies, notes)


def open_source(
    source: Path,
    start: float | None = None,
    duration: float | None = None,
    fps: float | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Clip | PictureSequence:
    """A video file, a folder of pictures or a pattern as a stream of frames.

    Raises:
        VideoError, ConfigError: as `Clip` and `PictureSequence`.
    """
    if source.is_dir() or is_read_as_pattern(source):
        return PictureSequence(source, fps, start, duration, max_pixels)
    if fps is not None:
        raise ConfigError("fps is for pictures; a clip keeps its own time stamps. Leave it out.")
    return Clip(source, start, duration)


def describe_job(job: Job) -> dict:
    """What decides the frames, as JSON holds it: a run continues only what the same request began.

    Everything is told as it is applied, so that a default that is spelled out is the same request.
    """
    request, engine, calibration = job.request, job.setup.engine, job.setup.calibration
    return {
        "format": FORMAT,
        "libraries": f"av {av.__version__}, opencv {cv2.__version__}, torch {torch.__version__}",
        "source": job.source.identity(),
        "model": _fingerprint(engine),
        "computed": f"by {engine.name} in {engine.precision} on {engine.device.type}",
        "calibration": calibration and [*calibration.weights, *calibration.classes],
        **_describe_picture(job.setup),
        "start": request.start or 0,
        "duration": request.duration,
        "fps": str(job.source.facts.rate),
        "temporal": request.temporal,
        "segment": request.frames_at_once,
        **{kind: kind in request.companions for kind in COMPANIONS},
        **_describe_encoding(job.outputs[0].encoding),
    }


def _describe_picture(setup: Setup) -> dict:
    """The options of a frame, but those that `computed` and the companions tell of."""
    told = ("segment", "engine", "device", "dtype")
    strength = setup.strength.tolist() if isinstance(setup.strength, torch.Tensor) else setup.strength
    return {key: value for key, value in vars(setup.options).items() if key not in told} | {"strength": strength}


def _describe_encoding(encoding: Encoding | None) -> dict:
    """How the clip itself is encoded, which settles it for its companions; its clock follows from the source."""
    clock = ("time_base", "rate")
    return {} if encoding is None else {key: str(value) for key, value in vars(encoding).items() if key not in clock}


def _plain(value: Any) -> Any:
    """An option as JSON holds it: a fraction or a number of NumPy as one of Python."""
    value = value.item() if isinstance(value, np.generic) else value
    return float(value) if isinstance(value, Real) and not isinstance(value, int) else value


def _prepare(model: Networks, request: Request) -> Setup:
    """Refuse what is impossible whatever the clip is, and open the engine."""
    if request.temporal not in TEMPORAL:
        raise ConfigError(f"temporal is {request.temporal!r}; it must be one of {', '.join(TEMPORAL)}.")
    if request.segment is not None and (not isinstance(request.segment, int) or request.segment < 1):
        raise ConfigError(f"segment is {request.segment!r}; it must be a number of frames from 1 on.")
    if not isinstance(request.max_pixels, int):
        raise ConfigError(f"max_pixels is {request.max_pixels!r}; it must be a number of pixels.")
    given = [name for name in ("codec", "quality", "preset") if getattr(request, name) is not None]
    if given and is_pattern(request.target):
        raise ConfigError(f"{given[0]} is for clips, and {request.target.name} stands for pictures. Leave it out.")
    if request.companions and model.guide is None:
        raise ConfigError(f"this model has no guide, so there is no {request.companions[0]}. Leave it out.")
    return prepare(model, request.picture)


def _encoding(track: str, codec: str, facts: Facts, size: tuple[int, int], request: Request) -> Encoding:
    encoding = Encoding(
        codec, size, facts.time_base, facts.rate, facts.colors.encoded(), facts.aspect, facts.deep,
        request.quality, request.preset,
    )  # fmt: skip
    if track in ("mask", "drift"):
        exact = "ffv1" if track == "mask" else "ffv1-gray"
        return replace(encoding, codec=exact, deep=False, quality=None, preset=None)
    return replace(encoding, deep=facts.deep and track == "main")


def _say_changes(encoding: Encoding, facts: Facts) -> list[str]:
    notes = []
    if facts.deep and WAYS[encoding.codec].deep_pixels is None:
        notes.append("The clip has more than 8 bits a channel and H.264 keeps 8. Use hevc, av1 or ffv1 to keep them.")
    if any(encoding.padding):
        notes.append("A column or row was repeated at the edge: the codec needs even sides.")
    if encoding.codec == "h264" and max(encoding.size) > PLAYABLE_WIDTH:
        notes.append(
            f"Few players decode H.264 of more than {PLAYABLE_WIDTH} pixels a side; hevc and av1 are for that."
        )
    return notes


def _begun_tracks(target: Path) -> list[str]:
    """The tracks of an interrupted run: what exists of them is its own, and the same request goes on with it."""
    begun = read_request(name_parts(target))
    return ["main", *(kind for kind in COMPANIONS if begun.get(kind))] if begun else []


def _check_target(target: Path, source: Path, may_exist: bool) -> None:
    if os.path.realpath(target) == os.path.realpath(source):
        raise VideoError(f"the result would replace its source, {source}. Give another name.")
    if exists(target) and not may_exist:
        raise VideoError(f"{target} exists and is kept. Choose another name, or allow overwriting.")
    if target.parent.exists():
        check_target(name_picture(target, 1) if is_pattern(target) else target, overwrite=True)


def _keep_sources(source: PictureSequence, targets: Iterable[Path]) -> None:
    """Refuse results that would be written over their source, or be taken for it by the next run."""
    sources = {os.path.realpath(file) for _, file in source.found}
    for target in filter(is_pattern, targets):
        if source.path.is_dir() and os.path.realpath(target.parent) == os.path.realpath(source.path):
            raise VideoError(f"the results would lie among their sources in {source.path}. Give another folder.")
        if sources & {os.path.realpath(file) for _, file in numbered(target)}:
            raise VideoError(f"the results would replace their sources, {source.path}. Give another folder or name.")


def _fingerprint(engine: Engine) -> str:
    """A hash of all weights and names that are used."""
    digest = hashlib.sha256()
    for network in (engine.generator, engine.guide):
        for name, tensor in network.state_dict().items() if network is not None else ():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).float().numpy().tobytes())
    if engine.guide is not None:
        digest.update(repr((engine.guide.labels, engine.guide.palette)).encode())
    if engine.precision == "int8":
        for layer in cast(Int8, engine.generator.int8).layers:
            for value in vars(layer).values():
                digest.update(value.numpy().tobytes() if isinstance(value, torch.Tensor) else repr(value).encode())
    return digest.hexdigest()
