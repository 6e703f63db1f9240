"""The demo under load, in an environment of requirements.txt alone: cold start, peak memory, many clients at once.

python -m venv env && env/bin/pip install -r requirements.txt
env/bin/python -m benchmarks.demo_load           # 2 cores, 16 GB; writes its section of docs/deploy.md

Every answer is compared with `model.upscale` to the bit; a refusal counts only when it is one of the sentences that the
demo is meant to say. Anything else ends the benchmark with an error.
"""

import argparse
import contextlib
import os
import platform
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from gradio_client.utils import QueueError
from PIL import Image

from benchmarks.document import ROOT, describe_machine, markdown_table, write_section
from ssg_hub.demo.job import Request
from ssg_hub.images.reading import read_picture

EXAMPLES = ROOT / "ssg_hub" / "demo" / "examples"
CLIENTS, EACH = 10, 3
SETTLE = 15  # seconds of rest before memory is read
ANSWERED = "answered, equal to the library to the bit"
REFUSALS = {"Queue is full": "queue full", "not a picture": "no picture", "are taken here": "too large"}


@dataclass(frozen=True)
class Wish:
    """One request: its file and options, and the words of the refusal that it must get; None: it must be answered."""

    file: Path
    options: tuple
    refusal: str | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--memory", type=int, default=16, metavar="GB")
    parser.add_argument("--dry", action="store_true", help="print the section, and leave docs/deploy.md as it is")
    args = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.cores])
    with tempfile.TemporaryDirectory() as folder:
        section = measure(Path(folder), args.cores, args.memory)
    print(section)
    if not args.dry:
        write_section("load", section, ROOT / "docs" / "deploy.md")


def measure(folder: Path, cores: int, memory: int) -> str:
    """Run the whole of it; returns the section."""
    photo = folder / "photo.png"
    Image.open(EXAMPLES / "street_house.jpg").resize((640, 480), Image.Resampling.BICUBIC).save(photo)
    wishes = make_wishes(folder)
    started = time.monotonic()
    with server(folder, memory) as (url, process):
        ready = time.monotonic() - started
        client = Client(url, verbose=False, download_files=str(folder / "first"))
        asked = time.monotonic()
        first = client.predict(handle_file(str(photo)), api_name="/upscale")
        first_seconds, cold = time.monotonic() - asked, time.monotonic() - started
        time.sleep(SETTLE)
        before, peak_first = read_memory(process.pid)
        burst = time.monotonic()
        outcomes = storm(url, wishes, folder)
        burst = time.monotonic() - burst
        time.sleep(SETTLE)
        after, peak = read_memory(process.pid)
        load = os.getloadavg()[1]
    print(f"{before=:.0f} {after=:.0f} {peak=:.0f} MB; comparing with the library …", file=sys.stderr, flush=True)
    check([Wish(photo, ())], [first])
    counts = check(wishes, outcomes)
    libc = " ".join(platform.libc_ver())
    busy = f"Processes that wanted to run, on average of the last 5 minutes: {load:.1f} (the demo's own are 2)."
    rows = [
        ["", "measured"],
        ["from starting `python app.py` to the page", f"{ready:.0f} s"],
        ["from there to the first result, 640 × 480 to 2560 × 1920", f"{first_seconds:.0f} s"],
        ["cold start to first result", f"{cold:.0f} s"],
        ["peak memory (RSS) by then", f"{peak_first:.0f} MB"],
        ["at rest after it", f"{before:.0f} MB"],
        [f"{len(wishes)} requests from {CLIENTS} clients at once", f"{burst:.0f} s"],
        ["of them: " + ", ".join(f"{number} {name}" for name, number in counts.most_common()), ""],
        ["peak memory", f"{peak:.0f} MB"],
        ["at rest after them", f"{after:.0f} MB ({after - before:+.0f} MB)"],
    ]
    limits = f"Limited to {cores} cores and {memory} GB of address space on: {describe_machine()}; {libc}. {busy}"
    return f"{limits}\n\n{markdown_table(rows)}"


@contextlib.contextmanager
def server(folder: Path, memory: int) -> Iterator[tuple[str, subprocess.Popen]]:
    """`python app.py` as people start it, on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    limit = memory * 2**30
    (folder / "cache").mkdir()
    process = subprocess.Popen(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env={**os.environ, "GRADIO_SERVER_PORT": str(port), "GRADIO_TEMP_DIR": str(folder / "cache")},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        stdout=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}/"
    try:
        while True:
            if process.poll() is not None:
                raise SystemExit(f"app.py ended with {process.returncode} before it served anything.")
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(url).status_code == 200:
                    break
            time.sleep(0.1)
        yield url, process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def make_wishes(folder: Path) -> list[Wish]:
    """Requests as a busy hour brings them: mostly pictures, some of them impossible."""
    crops = []
    for name in ("street_house", "street_city", "street_quay", "launch", "cat"):
        path = folder / f"{name}.png"
        Image.open(EXAMPLES / f"{name}.jpg").convert("RGB").crop((40, 40, 136, 104)).save(path)
        crops.append(path)
    (folder / "letter.png").write_text("Dear Sir or Madam")
    Image.new("RGB", (3000, 2000)).save(folder / "wide.png")
    wishes = [Wish(path, options) for path in crops for options in ((), (2.0,), (3.0, 0.5), (4.0, 1.0, {"sky": 0.0}))]
    for name, words in (("letter.png", "not a picture"), ("wide.png", "are taken here")):
        wishes += [Wish(folder / name, (), words)] * 2
    wishes += [Wish(EXAMPLES / name, (1.0,)) for name in ("cat_16bit.png", "coffee_turned.jpg")] * 3
    return wishes[::3] + wishes[1::3] + wishes[2::3]  # the kinds mixed


def storm(url: str, wishes: list[Wish], folder: Path) -> list:
    """All requests at once, each client its share; an answer is what `predict` returns, a refusal its error."""

    def visit(number: int) -> list:
        client = Client(url, verbose=False, download_files=str(folder / f"client{number}"))
        ready.append(number)
        while len(ready) < CLIENTS:
            time.sleep(0.01)
        mine = wishes[number::CLIENTS]
        jobs = [client.submit(handle_file(str(wish.file)), *wish.options, api_name="/upscale") for wish in mine]
        return [job.exception() or job.result() for job in jobs]

    ready: list[int] = []
    with ThreadPoolExecutor(CLIENTS) as pool:
        shares = list(pool.map(visit, range(CLIENTS)))
    return [shares[index % CLIENTS][index // CLIENTS] for index in range(len(wishes))]


def check(wishes: list[Wish], outcomes: list) -> Counter:
    """Count the outcomes by kind.

    Raises:
        SystemExit: an answer that is not the library's, to the bit, or a refusal that is none.
    """
    from ssg_hub import SSGModel

    kinds = [name_outcome(wish, outcome) for wish, outcome in zip(wishes, outcomes, strict=True)]
    model, expected = SSGModel.from_pretrained(), {}
    for wish, outcome, kind in zip(wishes, outcomes, kinds, strict=True):
        if kind == ANSWERED:
            key = f"{wish.file} {wish.options}"
            if key not in expected:
                expected[key] = model.upscale(wish.file, **Request(*wish.options).options(model.labels))
            compare(wish, outcome, expected[key])
    return Counter(kinds)


def name_outcome(wish: Wish, outcome) -> str:
    """The kind of an outcome; ends the benchmark when it is not one that the wish may have."""
    if isinstance(outcome, BaseException):
        allowed = {wish.refusal, "Queue is full"} - {None}
        for words in allowed:
            if isinstance(outcome, (AppError, QueueError)) and words in str(outcome):
                return f"refused ({REFUSALS[words]})"
    elif wish.refusal is None:
        return ANSWERED
    raise SystemExit(f"{wish} got {outcome!r}")


def compare(wish: Wish, answer: tuple, expected) -> None:
    """End the benchmark when picture or mask differ from what the library makes."""
    if not np.array_equal(read_picture(answer[0]).values, expected.picture.values):
        raise SystemExit(f"{wish} got other pixels than the library makes")
    if not np.array_equal(np.asarray(Image.open(answer[1])), np.asarray(expected.mask)):
        raise SystemExit(f"{wish} got another mask than the library makes")


def read_memory(pid: int) -> tuple[float, float]:
    """Resident memory of a process now, and the most it has been, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    values = {name: value for name, _, value in (line.partition(":") for line in lines)}
    return tuple(int(values[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))


if __name__ == "__main__":
    main()
