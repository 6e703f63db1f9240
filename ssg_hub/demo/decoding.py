"""Reading visitors' pictures in separate processes, which the kernel ends when they take too much time or memory.

A decoder may loop, swallow memory or crash on a file that was made for it. So a small server, the nursery, is started
once; it has imported what reading needs and nothing else, and forks a child for each picture. The child limits itself,
reads, answers with the pixels and is gone. Forking a process that has threads is unsafe, which is why the demo does not
fork itself; starting Python anew for each picture would take seconds.
"""

import contextlib
import json
import math
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from ..errors import ImageError, SSGError
from ..images.formats import find_format
from ..images.picture import Picture
from ..images.reading import read_picture, read_size
from .views import as_preview

SECONDS = 10  # of computing for one picture; by the clock it may take twice that
MEMORY = 2**29  # bytes that reading may take whatever the picture's size
CLIP_TASKS = ("clip", "rehearse")
CLIP_SECONDS, CLIP_MEMORY = 40, 2**30  # the same for a clip; decoders start threads, each with a stack of its own
BYTES_PER_PIXEL = 64  # and what it may use in addition: the file, 16 bits, alpha, and copies on the way
CAN_FORK = hasattr(os, "fork") and hasattr(socket, "send_fds")
POLL = 0.05  # seconds between two checks whether the visitor has cancelled
START = 60  # seconds that the nursery may take to start
ROOM = str(Path(__file__).resolve().parents[2])


def picture_size(path: str, max_pixels: int) -> tuple[int, int] | None:
    """Width and height of a file as they will be seen, from its header; None when it is no picture that is read here.

    Raises:
        ImageError: a damaged header.
    """
    return _bounded("size", path, max_pixels)


def read(path: str, max_pixels: int, check: Callable[[], None] = lambda: None) -> Picture:
    """A file as a `Picture`.

    Args:
        path: of the file.
        max_pixels: as for `read_picture`.
        check: called repeatedly; an exception that it raises ends the reading at once.

    Raises:
        ImageError: as `read_picture`, and when reading takes too much time or memory.
    """
    return _bounded("read", path, max_pixels, check)


def preview(path: str, max_pixels: int) -> bytes:
    """A file as a WebP for the screen; see `views.as_preview`.

    Raises:
        ImageError: as for `read`.
    """
    return _bounded("preview", path, max_pixels)


def clip_facts(path: str, max_pixels: int, **options) -> dict:
    """What a clip is, from its header and its first frame; see `clip_reading.look_at`.

    Raises:
        ImageError: as for `read`, and for what is no clip.
    """
    return _bounded("clip", path, max_pixels, **options)


def rehearse_clip(path: str, max_pixels: int, check: Callable[[], None], **options) -> int:
    """Read the part of a clip that will be upscaled, within limits, and throw it away; see `clip_reading.rehearse`.

    What harms a decoder harms it here, in a process of its own.

    Returns:
        How many frames it has.

    Raises:
        ImageError: as for `read`.
    """
    return _bounded("rehearse", path, max_pixels, check, **options)


def start() -> None:
    """Start the nursery now, so that the first picture does not wait for it."""
    if CAN_FORK:
        _nursery.start()


def _bounded(task: str, path: str, max_pixels: int, check: Callable[[], None] = lambda: None, **options) -> Any:
    request = {"task": task, "path": path, "max_pixels": max_pixels, "options": options}
    if CAN_FORK:
        limits = {"seconds": SECONDS, "memory": MEMORY + BYTES_PER_PIXEL * max_pixels}
        if task in CLIP_TASKS:
            limits = {"seconds": CLIP_SECONDS, "memory": CLIP_MEMORY + BYTES_PER_PIXEL * max_pixels}
        kind, value = _nursery.ask(request | limits, check)
    else:
        kind, value = _work(request)  # there is no way to bound it here
    if kind == "error":
        raise ImageError(value)
    return value


class Nursery:
    """The process that forks a child for each picture; started when it is first needed, and again when it has died."""

    def __init__(self):
        self._lock = threading.Lock()
        self._process: subprocess.Popen | None = None
        self._requests: socket.socket | None = None

    def start(self) -> None:
        """Start it unless it runs."""
        with self._lock:
            self._ensure()

    def _ensure(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        if self._requests is not None:
            self._requests.close()
        self._requests, theirs = socket.socketpair()
        self._requests.settimeout(START)
        path = os.pathsep.join(filter(None, (ROOM, os.environ.get("PYTHONPATH"))))
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", f"from ssg_hub.demo.decoding import serve; serve({theirs.fileno()})"],
                env={**os.environ, **threads, "PYTHONPATH": path},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C in a terminal is for the demo, which ends the nursery too
            )

    def ask(self, request: dict, check: Callable[[], None]) -> tuple[str, Any]:
        """What a child answers: ("answer", value) or ("error", sentence)."""
        try:
            return pickle.loads(self._ask(request, check))  # from our own child, by a socket that nobody else has
        except (TimeoutError, EOFError, pickle.UnpicklingError):  # too late, nothing or a part: ended by a limit
            return "error", _too_much(request)

    def _ask(self, request: dict, check: Callable[[], None]) -> bytes:
        """What a child sends: all of its answer, or as much as came before it was ended.

        Raises:
            TimeoutError: the child has not ended in time.
        """
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                child = self._send(json.dumps(request).encode(), theirs)
            try:
                return _receive(ours, time.monotonic() + 3 * request["seconds"] + 1, check)
            except BaseException:
                if _is_open(ours):  # still at work, and nobody waits for it
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(child, signal.SIGKILL)
                raise

    def _send(self, request: bytes, answer: socket.socket) -> int:
        """Hand over a request and the socket for its answer; returns the number of the child's process."""
        with self._lock:
            for _ in range(2):
                self._ensure()
                with contextlib.suppress(OSError):
                    socket.send_fds(self._requests, [request], [answer.fileno()])
                    if child := self._requests.recv(8):
                        return int.from_bytes(child, "big")
                self._process.kill()  # dead, or dying
                self._process.wait()
        raise RuntimeError("the process that reads pictures cannot be started")


_nursery = Nursery()


def _too_much(request: dict) -> str:
    """What is said of a file whose reading goes beyond a limit."""
    kind = "MP4 with H.264" if request["task"] in CLIP_TASKS else "PNG or JPEG"
    return f"{Path(request['path']).name} takes too much time or memory to read. Save it again as {kind}, or smaller."


def _receive(channel: socket.socket, deadline: float, check: Callable[[], None]) -> bytes:
    """Everything received until the other side closes, which the kernel ensures; `deadline` is for when it does not.

    Raises:
        TimeoutError: too late.
    """
    data = bytearray()
    while True:
        check()
        if time.monotonic() > deadline:
            raise TimeoutError
        if select.select([channel], [], [], POLL)[0]:
            part = channel.recv(2**20)
            if not part:
                return bytes(data)
            data += part


def _is_open(channel: socket.socket) -> bool:
    """Whether a child still has the other side: when it has ended, the number of its process may be another's."""
    watcher = select.poll()
    watcher.register(channel, 0)  # that it hung up is told unasked, whatever is left to receive
    return not watcher.poll(0)


def serve(descriptor: int) -> None:
    """The nursery's own loop: fork a child for each request, until the demo is gone."""
    Image.init()
    Image.MAX_IMAGE_PIXELS = None  # what is too large here is measured first; memory and time are bounded in any case
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children that have ended leave nothing behind
    with socket.socket(fileno=descriptor) as requests:
        while True:
            request, descriptors, _, _ = socket.recv_fds(requests, 2**16, 1)
            if not request:
                return
            child = os.fork()
            if child == 0:
                requests.close()
                _answer(json.loads(request), descriptors[0])
                os._exit(0)
            os.close(descriptors[0])
            requests.send(child.to_bytes(8, "big"))


def _answer(request: dict, descriptor: int) -> None:
    """What a child does: limit itself, work, and send the outcome."""
    _limit(request["seconds"], request["memory"])
    try:
        answer = pickle.dumps(_work(request), protocol=5)
    except MemoryError:
        return  # as when the kernel ends it
    with socket.socket(fileno=descriptor) as channel, contextlib.suppress(OSError):  # nobody listens any more
        channel.sendall(answer)


def _limit(seconds: float, memory: int) -> None:
    """Let the kernel end this process when it computes or lasts too long, and deny it memory and files."""
    import resource

    signal.setitimer(signal.ITIMER_REAL, 2 * seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(seconds), math.ceil(seconds)))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    with contextlib.suppress(OSError):  # only Linux says how large a process is, and bounds it
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + memory
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _work(request: dict) -> tuple[str, Any]:
    """Do a task: ("answer", value) or ("error", sentence)."""
    try:
        return "answer", TASKS[request["task"]](request["path"], request["max_pixels"], **request["options"])
    except SSGError as error:
        return "error", str(error)


def _size(path: str, max_pixels: int) -> tuple[int, int] | None:
    with open(path, "rb") as file:
        if find_format(file.read(32)) is None:
            return None
    return read_size(path)


def _read(path: str, max_pixels: int) -> Picture:
    return read_picture(path, max_pixels)


def _preview(path: str, max_pixels: int) -> bytes:
    return as_preview(_read(path, max_pixels).to_image())


def _clip(path: str, max_pixels: int, **options) -> dict:
    from . import clip_reading  # in the child alone: only clips need the video library

    return clip_reading.look_at(path, max_pixels, **options)


def _rehearse(path: str, max_pixels: int, **options) -> int:
    from . import clip_reading

    return clip_reading.rehearse(path, **options)


TASKS: dict[str, Callable[..., Any]] = {
    "size": _size,
    "read": _read,
    "preview": _preview,
    "clip": _clip,
    "rehearse": _rehearse,
}
