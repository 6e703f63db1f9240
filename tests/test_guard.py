"""The demo against those who mean no good: over HTTP, requests that no page would send."""

import asyncio
import io
import json
import os
import shutil
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

gr = pytest.importorskip("gradio", reason="gradio is not installed (pip install 'ssg-hub[demo]')")

import httpx  # noqa: E402

from ssg_hub.demo import guard  # noqa: E402
from ssg_hub.demo.cache import Ledger, size_of, sweep, swept  # noqa: E402
from ssg_hub.demo.guard import Fetcher, RequestLimits  # noqa: E402
from ssg_hub.demo.refusals import Refused  # noqa: E402
from ssg_hub.demo.settings import Settings  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
FILE = {"_type": "gradio.FileData"}
EXAMPLES = [path.name for path in (ROOT / "ssg_hub/demo/examples").iterdir()]


@pytest.fixture
def noise(tmp_path) -> Path:
    path = tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)).save(path)
    return path


def ask(url: str, *data) -> str:
    """Call the endpoint `/upscale` without a client that checks anything; gives what the server says."""
    event = httpx.post(f"{url}gradio_api/call/upscale", json={"data": data}).json()["event_id"]
    said = httpx.get(f"{url}gradio_api/call/upscale/{event}", timeout=60).text
    return said[said.rindex("event: ") :]  # on a slow machine, signs of life come before


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


def test_uploads_and_results_count_against_the_same_limit(tiny_model, serve_url, cache, noise):
    url = serve_url(tiny_model, Settings(max_stored="1mb"))
    picture = {"path": upload(url, noise).json()[0], "meta": FILE}
    said = [ask(url, picture, 4, 0) for _ in range(5)]  # bicubic noise: it compresses badly
    assert said[0].startswith("event: complete")
    assert "The server has no room for more pictures" in said[-1] and said[-1].startswith("event: error")
    assert size_of(cache) < 2**20
    refused = httpx.post(f"{url}gradio_api/upload", files={"files": ("more.png", bytes(2**20 - size_of(cache) + 1))})
    assert refused.status_code == 507 and "Try again in a few minutes" in refused.text
    assert size_of(cache) < 2**20
    shutil.rmtree(cache)  # as the sweep does when their time is over
    time.sleep(1.1)
    assert upload(url, noise).status_code == 200


def test_a_result_that_will_not_fit_is_refused_before_it_is_computed(tiny_model, serve_url, noise, monkeypatch):
    monkeypatch.setattr(type(tiny_model), "upscale", lambda *args, **options: pytest.fail("it was computed"))
    url = serve_url(tiny_model, Settings(max_stored="400kb"))
    assert "no room" in ask(url, {"path": upload(url, noise).json()[0], "meta": FILE})


def test_the_event_loop_never_waits_for_the_disk(tmp_path):
    """The ledger walks through many files in a thread, once for all who ask at the same time."""
    for number in range(1500):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "a").write_bytes(b"x")
    walks = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def app(scope, receive, send):
        await receive()
        walks.append(guard.ledger._walked)

    guard = RequestLimits(app, 2**20, 1, Ledger(tmp_path, 2**30))
    scope = {"type": "http", "method": "POST", "path": "/gradio_api/upload", "headers": []}

    async def main() -> float:
        longest, began = 0.0, asyncio.create_task(asyncio.sleep(0))
        await began
        uploads = asyncio.gather(*(guard(scope, receive, None) for _ in range(5)))
        while not uploads.done():
            last = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - last)
        return longest

    assert asyncio.run(main()) < 0.2
    assert len(walks) == 5 and len(set(walks)) == 1 and guard.ledger.used == 1500


def test_the_ledger_is_put_right_by_a_walk_and_keeps_what_is_booked_meanwhile(tmp_path, monkeypatch):
    from ssg_hub.demo import cache as module

    ledger = Ledger(tmp_path, 1000)
    (tmp_path / "a").write_bytes(bytes(300))
    assert ledger.has_room(700) and not ledger.has_room(701)
    ledger.book(200)  # of a body that never became a file
    assert ledger.used == 500
    real = module.size_of

    def slow(folder: Path) -> int:
        size = real(folder)
        ledger.book(50)  # another writes during the walk
        return size

    monkeypatch.setattr(module, "size_of", slow)
    ledger.measure()
    assert ledger.used == 350


def test_room_is_promised_while_a_result_is_written_and_given_back_when_that_fails(tmp_path):
    ledger = Ledger(tmp_path, 1000)
    with ledger.new_folder(600) as folder:
        assert ledger.used == 600
        with pytest.raises(Refused), ledger.new_folder(600):
            pass
        (folder / "a").write_bytes(bytes(100))
    assert ledger.used == 100 and ledger.has_room(900)
    with pytest.raises(ZeroDivisionError), ledger.new_folder(600) as folder:
        (folder / "a").write_bytes(bytes(100))
        raise ZeroDivisionError
    assert ledger.used == 100 and not folder.exists()


@pytest.mark.parametrize("drip", [False, True], ids=["silent", "a byte now and then"])
def test_a_body_that_does_not_come_is_not_waited_for(tiny_model, serve_url, cache, monkeypatch, drip):
    from ssg_hub.demo import guard

    monkeypatch.setattr(guard, "PATIENCE", 0.5)
    port = int(serve_url(tiny_model).rstrip("/").rpartition(":")[2])
    head = "POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\nAccept-Language: zh-CN\r\n"
    head += "Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head.encode())
        connection.settimeout(0.1)
        began, answer = time.monotonic(), b""
        while time.monotonic() < began + 20:
            try:
                if not (part := connection.recv(10_000)):
                    break
                answer += part
            except TimeoutError:
                if drip and not answer:
                    connection.sendall(b"x")
    assert answer.startswith(b"HTTP/1.1 408") and "上传太慢" in answer.decode()
    assert time.monotonic() - began < 5
    assert [path for path in cache.rglob("*") if path.is_file() and path.name not in EXAMPLES] == []


def test_nobody_gets_past_the_queue_or_to_the_pages_own_events(demo_of_all):
    url = demo_of_all[0]
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
        {"path": "http://HERE/gradio_api/file=/etc/passwd", "meta": FILE},
        {"path": "http://10.0.0.1/gradio_api/file=/tmp/gradio/abc/cat.png", "meta": FILE},
        {"path": "data:image/png;base64,AAAA", "meta": FILE},
        {"path": None, "url": "file:///etc/passwd", "meta": FILE},
        "text",
        None,
    ],
)
def test_no_file_or_address_of_the_server_can_be_asked_for(demo_of_all, picture):
    url, cache = demo_of_all
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


def test_a_picture_of_another_space_is_fetched_and_one_of_our_own_cache_is_not(noise, elsewhere, tmp_path):
    (elsewhere, checked), cache = elsewhere, tmp_path / "cache"
    cache.mkdir()
    mine, ledger = cache / "mine 1.png", Ledger(cache, 10**6)
    mine.write_bytes(b"mine")
    Elsewhere.picture = b"theirs"
    (cache / "link.png").symlink_to(noise)

    def fetch(path: object) -> Path:
        url = f"{elsewhere}/gradio_api/file={quote(str(path))}"
        return Path(asyncio.run(Fetcher(100_000, ledger)(url)))

    assert fetch(mine) == mine and not checked, "a file of the cache needs no request"
    for path in ("/tmp/gradio/abc/cat.png", noise, "/etc/passwd", cache / ".." / noise.name, cache / "link.png", cache):
        got = fetch(path)
        assert got.is_relative_to(cache) and got.read_bytes() == b"theirs" and checked.pop() == "pictures.example"


def test_only_a_few_are_fetched_at_once(tmp_path, monkeypatch):
    now, most = 0, 0

    async def slow(url: str, limit: int) -> tuple[str, bytes]:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1
        return "a.png", b"picture"

    async def fetch_many() -> list[str]:
        fetch = Fetcher(100_000, Ledger(tmp_path, 10**6))
        return await asyncio.gather(*(fetch(f"http://pictures.example/{number}") for number in range(12)))

    monkeypatch.setattr(guard, "_fetch", slow)
    assert len(set(asyncio.run(fetch_many()))) == 12 and most == guard.FETCHED_AT_ONCE


def test_the_sweep_takes_what_is_old_and_nothing_else(tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("a/old.png", "kept.png"):
        (tmp_path / name).write_text("x")
    assert sweep(tmp_path, seconds=3600) == 0
    assert sweep(tmp_path, seconds=0, spare=[str(tmp_path / "kept.png")]) == 1
    sweep(tmp_path, seconds=0, spare=[str(tmp_path / "kept.png")])
    assert [path.name for path in tmp_path.rglob("*")] == ["kept.png"]


def test_the_sweep_leaves_what_a_run_uses_until_it_is_done(tmp_path):
    ledger, upload = Ledger(tmp_path, 10**9), tmp_path / "upload.mp4"
    upload.write_text("x")

    def swept_now() -> set[str]:
        sweep(tmp_path, 0, ledger.kept)
        return {path.name for path in tmp_path.rglob("*")}

    with ledger.keep(upload, None), ledger.keep(str(upload)):
        with ledger.new_folder(10) as folder:
            assert folder.name in swept_now(), "the folder was empty for too long"
            (folder / "clip.parts").mkdir()
            (folder / "clip.parts" / "00000.npz").write_text("x")
            os.utime(folder / "clip.parts" / "00000.npz", (0, 0))
            assert swept_now() == {"upload.mp4", folder.name, "clip.parts", "00000.npz"}
        assert (folder / "clip.parts" / "00000.npz").stat().st_mtime > 0, "its time does not count from completion"
        assert "00000.npz" not in swept_now() and upload.exists()
    assert ledger.kept == [] and "upload.mp4" not in swept_now()


def test_the_sweep_survives_whatever_happens_and_says_so(tmp_path, monkeypatch, caplog):
    from ssg_hub.demo import cache as module

    real, faults = os.scandir, []

    def vanishing(path="."):
        if str(path).endswith("going"):  # another request removes its folder at this very moment
            shutil.rmtree(path)
        return real(path)

    (tmp_path / "going").mkdir()
    (tmp_path / "going" / "a").write_text("x")
    (tmp_path / "stays").write_text("x")
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", vanishing)
        assert size_of(tmp_path) == 1
        (tmp_path / "going").mkdir()
        assert sweep(tmp_path, 3600) == 0

    def failing(*args):
        faults.append(args)
        raise OSError("the disk is gone")

    async def serve():
        with monkeypatch.context() as patch:
            patch.setattr(module, "sweep", failing)
            async with swept(Ledger(tmp_path, 10**9), 0.2):
                while len(faults) < 3:
                    await asyncio.sleep(0.01)
                patch.undo()

    asyncio.run(asyncio.wait_for(serve(), 30))
    assert "the disk is gone" in caplog.text and "it will be tried again" in caplog.text
    assert not list(tmp_path.iterdir()), "the last sweep, when all was well again, left something"


def test_a_file_that_cannot_be_deleted_is_named_and_the_others_go(tmp_path, monkeypatch, caplog):
    for name in ("a", "b"):
        (tmp_path / name).write_text("x")
    unlink = Path.unlink

    def stubborn(self, missing_ok=False):
        if self.name == "a":
            raise PermissionError("not yours")
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", stubborn)
    assert sweep(tmp_path, 0) == 1 and not (tmp_path / "b").exists()
    assert "cannot be deleted: not yours" in caplog.text


def test_nothing_is_left_when_the_server_ends(tmp_path):
    async def serve():
        ledger = Ledger(tmp_path, 10**9)
        cut_off = ledger.keep(tmp_path / "example.png")  # by a run that the end interrupts
        cut_off.__enter__()
        async with swept(ledger, 3600):
            for name in ("example.png", "result.png"):
                (tmp_path / name).write_text("x")

    asyncio.run(serve())
    assert not list(tmp_path.iterdir())


def test_the_cache_is_always_a_folder_of_this_process_alone(monkeypatch, tmp_path):
    from ssg_hub.demo.cache import own_cache

    (tmp_path / "mine.txt").write_text("not the demo's")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    first, second = own_cache(), own_cache()
    assert Path(first).parent == tmp_path == Path(second).parent and first != second
    monkeypatch.delenv("GRADIO_TEMP_DIR")
    first, second = own_cache(), own_cache()
    assert first != second and Path(first).is_dir()
