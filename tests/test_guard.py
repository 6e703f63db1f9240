"""The demo against those who mean no good: over HTTP, requests that no page would send."""

import io
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

gr = pytest.importorskip("gradio", reason="gradio is not installed (pip install 'ssg-hub[demo]')")

import httpx  # noqa: E402

from ssg_hub.demo.cache import sweep  # noqa: E402
from ssg_hub.demo.settings import Settings  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
FILE = {"_type": "gradio.FileData"}


@pytest.fixture
def noise(tmp_path) -> Path:
    path = tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)).save(path)
    return path


def ask(url: str, *data) -> str:
    """Call the endpoint `/upscale` without a client that checks anything; gives what the server says."""
    data = [*data, *(4, 1, {}, False, True, "default")[len(data) - 1 :]]
    event = httpx.post(f"{url}gradio_api/call/upscale", json={"data": data}).json()["event_id"]
    return httpx.get(f"{url}gradio_api/call/upscale/{event}", timeout=60).text


def upload(url: str, path: Path) -> httpx.Response:
    with open(path, "rb") as file:
        return httpx.post(f"{url}gradio_api/upload", files={"files": file})


def test_a_request_is_bounded_however_it_comes(tiny_model, serve_url, cache, noise):
    url = serve_url(tiny_model, Settings(max_file_size="20kb"))
    assert noise.stat().st_size < 20_000 and upload(url, noise).status_code == 200
    before = sorted(cache.rglob("*"))
    large = noise.with_name("large.bin")
    large.write_bytes(os.urandom(22_000))
    assert upload(url, large).status_code == 413
    large.write_bytes(os.urandom(200_000))
    assert upload(url, large).status_code == 413

    def in_chunks():
        yield from (b"x" * 10_000 for _ in range(20))

    join = f"{url}gradio_api/queue/join"
    assert httpx.post(join, content=in_chunks()).status_code == 413
    refused = httpx.post(join, json={"data": ["x" * 200_000]})
    assert refused.status_code == 413 and "Reduce the picture" in refused.text
    assert [path for path in cache.rglob("*") if path.is_file() and path not in before] == []


def test_uploads_wait_while_the_disk_is_full(tiny_model, serve_url, cache, noise):
    url = serve_url(tiny_model, Settings(max_stored="400kb"))
    assert upload(url, noise).status_code == 200
    (cache / "results").mkdir()
    (cache / "results" / "large.png").write_bytes(bytes(500_000))
    refused = upload(url, noise)
    assert refused.status_code == 507 and "Try again in a few minutes" in refused.text


def test_nobody_gets_past_the_queue_or_to_the_pages_own_events(tiny_model, serve_url):
    url = serve_url(tiny_model)
    assert httpx.post(f"{url}gradio_api/run/upscale", json={"data": []}).status_code == 404
    assert httpx.get(f"{url}gradio_api/runs").status_code == 404


@pytest.mark.parametrize(
    "picture",
    [
        {"path": "/etc/passwd", "meta": FILE},
        {"path": str(ROOT / "README.md"), "meta": FILE},
        {"path": "../../../../etc/passwd", "meta": FILE},
        {"path": "http://HERE/config", "meta": FILE},
        {"path": "http://169.254.169.254/latest/meta-data", "meta": FILE},
        {"path": "http://x/gradio_api/file=/etc/passwd", "meta": FILE},
        {"path": "data:image/png;base64,AAAA", "meta": FILE},
        {"path": None, "url": "file:///etc/passwd", "meta": FILE},
        "text",
        None,
    ],
)
def test_no_file_or_address_of_the_server_can_be_asked_for(tiny_model, serve_url, cache, picture):
    url = serve_url(tiny_model)
    if isinstance(picture, dict) and "HERE" in str(picture["path"]):
        picture = {**picture, "path": picture["path"].replace("HERE", url.split("/")[2])}
    said = ask(url, picture)
    assert said.startswith("event: error")
    if isinstance(picture, dict) and str(picture["path"]).startswith("http"):
        assert "No picture can be fetched from this address" in said
    assert "root:" not in said and str(ROOT) not in said and str(cache) not in said and "Traceback" not in said
    assert not list(cache.rglob("*passwd*"))


def test_no_path_and_no_token_can_be_read_anywhere(tiny_model, serve_url, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecretsecret")
    url = serve_url(tiny_model)
    pages = ["", "config", "gradio_api/info", "gradio_api/openapi.json", "gradio_api/token", "gradio_api/mcp/schema"]
    pages += ["gradio_api/startup-events", "theme.css", "manifest.json", "monitoring", "gradio_api/user"]
    for page in pages:
        said = httpx.get(f"{url}{page}", follow_redirects=True).text
        assert "hf_secret" not in said and str(ROOT) not in said and str(Path.home()) + "/" not in said, page
    for path in ("/etc/passwd", f"{ROOT}/app.py", "app.py", "/proc/self/environ"):
        answer = httpx.get(f"{url}gradio_api/file={path}")
        assert answer.status_code in (403, 404) and "hf_secret" not in answer.text
    for header in ({"Authorization": "Bearer x"}, {"X-HF-Authorization": "x"}):
        assert httpx.get(f"{url}gradio_api/token", headers=header).json().get("token") is None


class Elsewhere(BaseHTTPRequestHandler):
    """Another site: an endless picture, one that is there, and ways round to a private address."""

    picture: bytes

    def do_GET(self):
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "http://10.0.0.1/picture.png")
            return self.end_headers()
        self.send_response(200)
        self.end_headers()
        try:
            self.wfile.write(self.picture)
            while self.path == "/endless":
                self.wfile.write(bytes(100_000))
        except OSError:
            pass  # the other side has heard enough

    def log_message(self, *args):
        pass


@pytest.fixture
def elsewhere(noise, monkeypatch):
    """A site whose name counts as public; everything else is checked as ever."""
    import safehttpx

    server = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Elsewhere.picture, validate, checked = noise.read_bytes(), safehttpx.async_validate_url, []

    async def known(host: str) -> str:
        checked.append(host)
        return "127.0.0.1" if host == "pictures.example" else await validate(host)

    monkeypatch.setattr(safehttpx, "async_validate_url", known)
    yield f"http://pictures.example:{server.server_port}", checked
    server.shutdown()


def test_a_picture_comes_from_an_address_but_no_more_than_its_limit(tiny_model, serve_url, noise, elsewhere):
    url, (elsewhere, checked) = serve_url(tiny_model, Settings(max_file_size="100kb")), elsewhere
    said = ask(url, {"path": f"{elsewhere}/picture.png", "meta": FILE})
    picture = json.loads(said.partition("data: ")[2])[0]
    answer = httpx.get(f"{url}gradio_api/file={picture['path']}")
    got = Image.open(io.BytesIO(answer.content))
    assert np.array_equal(got, tiny_model.upscale(noise).image)
    assert "larger than what is taken here" in ask(url, {"path": f"{elsewhere}/endless", "meta": FILE})
    assert "can be fetched from this address" in ask(url, {"path": f"{elsewhere}/away", "meta": FILE})
    assert checked[-1] == "10.0.0.1", "the address behind a redirect was not checked"


def test_the_sweep_takes_what_is_old_and_nothing_else(tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("a/old.png", "kept.png"):
        (tmp_path / name).write_text("x")
    assert sweep(tmp_path, seconds=3600) == 0
    assert sweep(tmp_path, seconds=0, spare=[str(tmp_path / "kept.png")]) == 1
    sweep(tmp_path, seconds=0, spare=[str(tmp_path / "kept.png")])
    assert [path.name for path in tmp_path.rglob("*")] == ["kept.png"]


def test_nothing_is_left_when_the_server_ends(tmp_path):
    import asyncio

    from ssg_hub.demo.cache import swept

    async def serve():
        async with swept(tmp_path, 3600, spare=[str(tmp_path / "example.png")]):
            for name in ("example.png", "result.png"):
                (tmp_path / name).write_text("x")

    asyncio.run(serve())
    assert not list(tmp_path.iterdir())


def test_the_cache_is_this_process_own_unless_it_is_set(monkeypatch, tmp_path):
    from ssg_hub.demo.cache import own_cache

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    assert own_cache() == str(tmp_path)
    monkeypatch.delenv("GRADIO_TEMP_DIR")
    first, second = own_cache(), own_cache()
    assert first != second and Path(first).is_dir()
