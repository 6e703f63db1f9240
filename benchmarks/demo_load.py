"""The demo under load: cold start, memory, and the answers to many well-behaved, hostile or slow clients at once.

python -m venv env && env/bin/pip install -r requirements.txt
env/bin/python -m benchmarks.demo_load                            # 10 minutes, 50 clients; writes into docs/deploy.md
env/bin/python -m benchmarks.demo_load --seconds 20 --clients 8 --dry

Everything goes to a server of its own on the loopback, with 2 cores and 16 GB; clients and requests are bounded. Every
answer is compared with `model.upscale` to the bit; a refusal counts only when it is one of the sentences that the demo
is meant to say. Anything else, a health check that is not answered, and memory or disk that do not come back, end the
benchmark with an error after the table is printed.
"""

import argparse
import contextlib
import io
import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from benchmarks.document import ROOT, describe_machine, markdown_table, write_section
from ssg_hub.images.reading import read_picture
from ssg_hub.upscaling.options import Options

EXAMPLES = ROOT / "ssg_hub" / "demo" / "examples"
HEALTHY = 1.0  # seconds within which the page's smallest answer has to come
SETTLE = 20  # seconds of rest before memory and disk are read
KEEP = 30  # seconds that the server keeps files, so that the sweep is part of the test
ANSWERED = "answered, equal to the library to the bit"
TOO_LATE = 120  # seconds after which an answer counts as a hang
FILE = {"_type": "gradio.FileData"}
OPTIONS = ({}, {"outscale": 2.0}, {"outscale": 3.0, "strength": 0.5}, {"segment": False})
SENTENCES = {
    "Too many pictures are waiting": "refused: the line is full",
    "has no room": "refused: the disk is full",
    "not a picture": "refused: no picture",
    "are taken here": "refused: too large",
    "damaged": "refused: damaged",
    "too much time or memory": "refused: too much to read",
    "arrived too slowly": "refused: too slow",
    "larger than what is taken": "refused: too large",
}


@dataclass
class Tally:
    """What has happened so far; any thread may add to it."""

    outcomes: dict[str, Counter] = field(default_factory=lambda: defaultdict(Counter))
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    faults: list[str] = field(default_factory=list)
    health: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, kind: str, outcome: str, seconds: float) -> None:
        with self.lock:
            self.outcomes[kind][outcome] += 1
            self.seconds[kind].append(seconds)

    def fault(self, sentence: str) -> None:
        with self.lock:
            self.faults.append(sentence)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--memory", type=int, default=16, metavar="GB")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--dry", action="store_true", help="print the section, and leave docs/deploy.md as it is")
    args = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.cores])
    with tempfile.TemporaryDirectory() as folder:
        section, faults = measure(Path(folder), args)
    print(section)
    if faults:
        raise SystemExit("\n".join(faults[:20]))
    if not args.dry:
        write_section("load", section, ROOT / "docs" / "deploy.md")


def measure(folder: Path, args: argparse.Namespace) -> tuple[str, list[str]]:
    """Run the benchmark; returns the section and what went wrong."""
    photo = folder / "photo.png"
    Image.open(EXAMPLES / "street_house.jpg").convert("RGB").crop((0, 0, 160, 120)).save(photo)
    expected = Expected()
    tally, started = Tally(), time.monotonic()
    with server(folder, args.memory) as (url, process):
        ready = time.monotonic() - started
        visitor = Visitor(url, folder, expected, tally)
        asked = time.monotonic()
        visitor.upscale(photo, {}, "first")
        first = time.monotonic() - asked
        visitor.warm_up()
        settle(process.pid, SETTLE)
        before, peak_first = read_memory(process.pid)
        storm(url, folder, expected, tally, args)
        settle(process.pid, KEEP + SETTLE)
        after, peak = read_memory(process.pid)
        left = sum(path.stat().st_size for path in (folder / "cache").rglob("*") if path.is_file()) / 2**20
        load = os.getloadavg()[1]
    if after > before * 1.1:
        tally.fault(f"memory went from {before:.0f} to {after:.0f} MB")
    if left > 1:
        tally.fault(f"{left:.0f} MB of files stayed behind")
    if max(tally.health, default=0) > HEALTHY:
        tally.fault(f"a health check took {max(tally.health):.1f} s")
    rows = [
        ["", "measured"],
        ["from starting `python app.py` to the page", f"{ready:.0f} s"],
        ["from there to the first result, 160 × 120 to 640 × 480", f"{first:.0f} s"],
        [
            "peak memory (RSS) after one picture of each kind, and at rest then with its workers",
            f"{peak_first:.0f} MB, {before:.0f} MB",
        ],
        [f"{args.clients} clients at once for {args.seconds:.0f} s: peak memory", f"{peak:.0f} MB"],
        ["at rest after them", f"{after:.0f} MB ({after - before:+.0f} MB), {left:.1f} MB on the disk"],
        [
            f"{len(tally.health)} health checks meanwhile: median, slowest",
            f"{1000 * float(np.median(tally.health)):.0f} ms, {1000 * max(tally.health):.0f} ms",
        ],
    ]
    kinds = [["what was sent", "how often", "what came of it", "slowest"]]
    for kind in sorted(tally.outcomes):
        outcomes = tally.outcomes[kind]
        said = "; ".join(f"{number} {name}" for name, number in outcomes.most_common())
        kinds.append([kind, str(sum(outcomes.values())), said, f"{max(tally.seconds[kind]):.1f} s"])
    busy = f"Processes that wanted to run, on average of the last 5 minutes: {load:.1f}."
    limits = f"Limited to {args.cores} cores and {args.memory} GB of address space on: {describe_machine()}. {busy}"
    return f"{limits}\n\n{markdown_table(rows)}\n\n{markdown_table(kinds)}", tally.faults


@contextlib.contextmanager
def server(folder: Path, memory: int) -> Iterator[tuple[str, subprocess.Popen]]:
    """`python app.py` as users start it, on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    limit = memory * 2**30
    (folder / "cache").mkdir()
    settings = {
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_TEMP_DIR": str(folder / "cache"),
        "SSG_KEEP_SECONDS": str(KEEP),
    }
    process = subprocess.Popen(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env={**os.environ, **{name: str(value) for name, value in settings.items()}},
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


def storm(url: str, folder: Path, expected: "Expected", tally: Tally, args: argparse.Namespace) -> None:
    """All clients at once, each sending requests of randomly chosen kinds, one after another, until time is up."""
    end = time.monotonic() + args.seconds
    stop = threading.Event()

    def check_health() -> None:
        with httpx.Client(timeout=30) as client:
            while not stop.wait(0.5):
                asked = time.monotonic()
                try:
                    client.get(f"{url}gradio_api/app_id").raise_for_status()
                except httpx.HTTPError as error:
                    tally.fault(f"a health check failed: {error!r}")
                tally.health.append(time.monotonic() - asked)

    def visit(number: int) -> None:
        chance, visitor = random.Random(number), Visitor(url, folder, expected, tally)
        kinds = [visitor.valid] * 5 + [visitor.malformed, visitor.oversized, visitor.slow, visitor.cancelled]
        while time.monotonic() < end:
            kind = chance.choice(kinds)
            try:
                kind(chance)
            except Exception as error:
                tally.fault(f"{kind.__name__}: {error!r}")
                time.sleep(1)
            time.sleep(chance.uniform(0.1, 1))

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(args.clients)]
    watch = threading.Thread(target=check_health)
    for thread in (*threads, watch):
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    watch.join()


class Visitor:
    """One client, over plain HTTP: no client library checks anything before it is sent."""

    def __init__(self, url: str, folder: Path, expected: "Expected", tally: Tally):
        self.url, self.folder, self.expected, self.tally = url, folder, expected, tally
        self.client = httpx.Client(timeout=TOO_LATE)

    def valid(self, chance: random.Random) -> None:
        """A small crop of an example, with some options."""
        name = chance.choice(("street_house", "street_quay", "night", "air", "cat"))
        path = self.folder / f"{name}.png"
        if not path.exists():
            stage = path.with_name(uuid.uuid4().hex)
            Image.open(EXAMPLES / f"{name}.jpg").convert("RGB").crop((40, 40, 88, 72)).save(stage, "PNG")
            stage.replace(path)
        self.upscale(path, chance.choice(OPTIONS), "a picture")

    def warm_up(self) -> None:
        """One whole picture with each of the options: the memory that the largest tile takes is kept for the next."""
        for options in OPTIONS:
            self.upscale(EXAMPLES / "street_quay.jpg", options, "first")

    def malformed(self, chance: random.Random) -> None:
        """No picture, a cut one, or one with some bytes changed."""
        data = bytearray(
            (EXAMPLES / chance.choice(("cat_16bit.png", "coffee_turned.jpg", "cup_transparent.png"))).read_bytes()
        )
        kind = chance.choice(("text", "cut", "changed"))
        if kind == "text":
            data = bytearray(b"Dear Sir or Madam")
        elif kind == "cut":
            del data[len(data) // 2 :]
        else:
            for _ in range(20):
                data[chance.randrange(len(data))] = chance.randrange(256)
        self.upscale(bytes(data), {"outscale": 1.0}, "a damaged file or none of pictures", comparable=False)

    def oversized(self, chance: random.Random) -> None:
        """Too many pixels in a small file, or too many bytes."""
        if chance.random() < 0.5:
            buffer = io.BytesIO()
            Image.new("1", (chance.choice((3000, 30_000)), 3000)).save(buffer, "PNG")
            return self.upscale(buffer.getvalue(), {}, "too many pixels or bytes")
        began = time.monotonic()
        chunks = (bytes(2**20) for _ in range(60))
        try:
            said = self.client.post(f"{self.url}gradio_api/queue/join", content=chunks)
            outcome = name_refusal(said.text) if said.status_code == 413 else f"status {said.status_code}"
        except httpx.TransportError:
            outcome = "refused: the connection was closed"  # it need not read all that it does not want
        self.tally.add("too many pixels or bytes", outcome, time.monotonic() - began)

    def slow(self, chance: random.Random) -> None:
        """An upload that trickles in."""
        began, port = time.monotonic(), int(self.url.rstrip("/").rpartition(":")[2])
        head = "POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n"
        head += "Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.settimeout(1)
            connection.sendall(head.encode())
            answer = b""
            while time.monotonic() < began + TOO_LATE:
                try:
                    if not (part := connection.recv(65536)):
                        break
                    answer += part
                except TimeoutError:
                    if not answer:
                        with contextlib.suppress(ConnectionError):  # the next recv tells of it
                            connection.sendall(b"x")
                except ConnectionError:  # it need not hear the rest
                    break
        outcome = name_refusal(answer.decode(errors="replace")) if answer else "the connection was closed"
        self.tally.add("a body that trickles in", outcome, time.monotonic() - began)

    def cancelled(self, chance: random.Random) -> None:
        """A visitor who goes away while the picture waits or is computed."""
        began = time.monotonic()
        path = self._upload((EXAMPLES / "street_quay.jpg").read_bytes(), "gone.jpg")
        event = self._join(path, {})
        with (
            contextlib.suppress(httpx.ReadTimeout),
            self.client.stream("GET", event, timeout=chance.uniform(0.2, 2)) as lines,
        ):
            for _ in lines.iter_lines():
                pass
        self.tally.add("a visitor who leaves", "left", time.monotonic() - began)

    def upscale(self, source: Path | bytes, options: dict, kind: str, comparable: bool = True) -> None:
        """One whole request; its outcome goes into the tally."""
        began = time.monotonic()
        data = source.read_bytes() if isinstance(source, Path) else source
        path = self._upload(data, "picture.png")
        if path is None:
            return self.tally.add(kind, "refused: the disk is full", time.monotonic() - began)
        with self.client.stream("GET", self._join(path, options)) as lines:
            said = "\n".join(lines.iter_lines())
        took = time.monotonic() - began
        if "event: complete" not in said:
            outcome = name_refusal(said)
            if outcome.startswith("unknown"):
                self.tally.fault(f"{kind}: {said[:300]}")
            return self.tally.add(kind, outcome, took)
        if comparable:
            answer = json.loads(said.rpartition("event: complete\ndata: ")[2].strip())
            got = self.client.get(f"{self.url}gradio_api/file={answer[0]['path']}").content
            wanted = self.expected(source, options)
            if not np.array_equal(read_picture(got).values, wanted.picture.values):
                self.tally.fault(f"{source} {options} got other pixels than the library makes")
        self.tally.add(kind, ANSWERED if comparable else "answered", took)

    def _upload(self, data: bytes, name: str) -> str | None:
        answer = self.client.post(f"{self.url}gradio_api/upload", files={"files": (name, data)})
        if answer.status_code == 507:
            return None
        answer.raise_for_status()
        return answer.json()[0]

    def _join(self, path: str, options: dict) -> str:
        names = {"outscale": 4.0, "strength": 1.0, "class_strength": {}, "color_fix": Options.color_fix}
        names |= {"segment": True, "model": "default", "denoise": None, "format": "png", "quality": 90}
        values = [{"path": path, "meta": FILE}, *(options.get(name, value) for name, value in names.items())]
        answer = self.client.post(f"{self.url}gradio_api/call/upscale", json={"data": values})
        answer.raise_for_status()
        return f"{self.url}gradio_api/call/upscale/{answer.json()['event_id']}"


class Expected:
    """The library's result for a picture, computed once for each kind of request."""

    def __init__(self):
        from ssg_hub import SSGModel

        self._model, self._results, self._lock = SSGModel.from_pretrained(), {}, threading.Lock()

    def __call__(self, source: Path, options: dict):
        with self._lock:
            key = f"{source} {options}"
            if key not in self._results:
                self._results[key] = self._model.upscale(source, **options)
            return self._results[key]


def name_refusal(said: str) -> str:
    """The kind of a refusal by its sentence; "unknown" for what the demo is not meant to say."""
    return next((name for words, name in SENTENCES.items() if words in said), "unknown: something else")


def settle(pid: int, seconds: float) -> None:
    """Wait so long, and then until nothing is computed any more, such as the pictures of those who have left."""
    time.sleep(seconds)
    end, busy = time.monotonic() + TOO_LATE, True
    while busy and time.monotonic() < end:
        before = read_cpu(pid)
        time.sleep(5)
        busy = read_cpu(pid) - before > 1 or len(find_children(pid)) > 1  # a second of the five; the nursery stays


def read_cpu(pid: int) -> float:
    """Seconds that a process has computed."""
    times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")


def read_memory(pid: int) -> tuple[float, float]:
    """Resident memory of a process and of those that it started now, and the most that itself has held, in MB."""
    values = read_status(pid)
    return values["VmRSS"] + sum(read_status(child).get("VmRSS", 0) for child in find_children(pid)), values["VmHWM"]


def find_children(pid: int) -> list[int]:
    """The processes below a process, at any depth."""
    found = []
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            found += [int(child) for child in listed.read_text().split()]
    return found + [inner for child in found for inner in find_children(child)]


def read_status(pid: int) -> dict[str, float]:
    """The figures of `/proc/PID/status` that are given in kB, in MB; none where the process has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    return {
        name: int(value.split()[0]) / 1024 for name, _, value in (li.partition(":") for li in lines) if " kB" in value
    }


if __name__ == "__main__":
    main()
