"""Fixtures for every test, and the rule that no test leaves this machine."""

import gc
import os
import shutil
import socket
import tempfile
from pathlib import Path

# Before the libraries read them. The Hub's address is a closed port, so that a forgotten download fails at once.
os.environ.setdefault("HF_ENDPOINT", "http://127.0.0.1:9")
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="ssg-hub-tests-")  # each of pytest's workers has its own
os.environ["SSG_CACHE"] = tempfile.mkdtemp(prefix="ssg-hub-cache-")
os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the pictures are small, and workers share the cores

import pytest

gc.disable()  # until all is imported: looking for garbage takes a third of that time

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = os.environ.get("SSG_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
LABELS = ["sky", "road", "car", "tree"]


@pytest.fixture
def shared() -> Path:
    """The folder of data and weights for evaluation: `SSG_SHARED`, or `shared` beside the repository."""
    folder = Path(os.environ.get("SSG_SHARED") or ROOT.parent / "shared")
    if not (folder / "data").is_dir():
        pytest.skip(f"no shared data at {folder} (set SSG_SHARED to the folder that holds data/ and weights/)")
    return folder


@pytest.fixture
def tiny_guide_config() -> dict:
    """A Segformer with a few thousand parameters and four classes."""
    return make_tiny_guide_config()


@pytest.fixture
def tiny_model():
    """An untrained SSGModel of the real classes, the same at every call, small enough to run in milliseconds."""
    return make_tiny_model()


@pytest.fixture(scope="session")
def _saved_of_all(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    make_tiny_model().save_pretrained(folder)
    return folder


@pytest.fixture
def saved(_saved_of_all, tmp_path) -> Path:
    """The folder of `tiny_model`, as `save_pretrained` writes it."""
    return shutil.copytree(_saved_of_all, tmp_path / "model")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Small pictures, label maps and weights for a training of a few steps; see `tiny_run.make_data`."""
    from tiny_run import make_data

    return make_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def _hub_of_all():
    from hub_server import FakeHub

    hub = FakeHub()
    yield hub
    hub.close()


@pytest.fixture(scope="module")
def hub(_hub_of_all):
    """A Hub on the loopback, empty at first; a test module fills it."""
    _hub_of_all.empty()
    return _hub_of_all


@pytest.fixture(scope="session")
def client(_hub_of_all, tmp_path_factory):
    """A process whose `huggingface_hub` knows only that Hub; starting one takes seconds, so it is the same for all."""
    from hub_server import Client

    client = Client(_hub_of_all.url, tmp_path_factory.mktemp("client"))
    yield client
    client.close()


def pytest_collection_finish() -> None:
    """What the tests' files have imported stays: later collections of garbage need not look through it."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")


@pytest.fixture(scope="module")
def browser():
    """A Chromium. Not for the whole session: while it is driven, nothing else in this thread may use asyncio."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the playwright package is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium here (apt install chromium, or set SSG_CHROMIUM)")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def make_tiny_guide_config() -> dict:
    from standins import TINY_SEGFORMER

    return {
        **TINY_SEGFORMER,
        "id2label": dict(enumerate(LABELS)),
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "palette": [[70, 130, 180], [128, 64, 128], [0, 0, 142], [107, 142, 35]],
    }


def make_tiny_model():
    import torch

    from ssg_hub.model import SSGModel
    from ssg_hub.networks.guide import Guide

    with torch.random.fork_rng():
        torch.manual_seed(0)
        guide = Guide(make_tiny_guide_config())
        generator_config = {"features": 8, "blocks": 1, "growth": 4, "scale": 4}
        return SSGModel.from_components("rrdb", guide=guide, generator_config=generator_config).eval()


@pytest.fixture(scope="module")
def attack_figures():
    """Print how much a module of attacks tried, for docs/reliability.md; some of each kind has to be read."""
    from attack import all_refused, take_figures

    yield
    refused = all_refused()
    print("", *take_figures(), sep="\n")
    assert not refused, f"all was refused of: {', '.join(refused)}"


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """Where the demo keeps uploads and results."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def demo_of_all(tmp_path_factory):
    """One demo with the tiny model and the usual settings, for tests that leave it as it is: (its address, its cache).

    Starting one for each of them would take longer than they do.
    """
    import app

    cache = tmp_path_factory.mktemp("cache-of-all")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(cache))
        demo = app.build_demo(make_tiny_model())
        _, url, _ = app.launch(demo, prevent_thread_lock=True, quiet=True)
        yield url, cache  # Gradio reads the variable at each request
        demo.close()


@pytest.fixture
def serve_url(cache):
    """Start a demo on a free port of this machine; yields a function (model, settings) -> its address."""
    import app
    from ssg_hub.demo.settings import Settings

    running = []

    def start(model, settings: Settings | None = None) -> str:
        demo = app.build_demo(model, settings or Settings())
        running.append(demo)
        _, url, _ = app.launch(demo, prevent_thread_lock=True, quiet=True, server_port=None)
        return url

    yield start
    for demo in running:
        demo.close()


@pytest.fixture(autouse=True)
def _stay_on_this_machine(monkeypatch):
    """A connection to anything but this machine fails the test that asked for it."""
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise RuntimeError(f"a test tried to reach {address[0]}; tests stay on this machine")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
