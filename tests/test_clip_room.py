"""The page's room for clips: what a program and a visitor get, what is refused, and who waits for whom."""

import asyncio
import re
import threading
from pathlib import Path
from types import SimpleNamespace

import anyio
import av
import numpy as np
import pytest

gr = pytest.importorskip("gradio", reason="gradio is not installed (pip install 'ssg-hub[demo]')")
pytest.importorskip("cv2", reason="OpenCV is not installed (pip install 'ssg-hub[video]')")

from gradio_client import Client, handle_file  # noqa: E402
from gradio_client.exceptions import AppError  # noqa: E402
from made_clips import Recipe, decode, make_clip, probe  # noqa: E402

from ssg_hub.demo import clip_page, clip_reading, clip_work, decoding, viewer  # noqa: E402
from ssg_hub.demo.cache import size_of, sweep  # noqa: E402
from ssg_hub.demo.clip_handlers import ClipHandlers  # noqa: E402
from ssg_hub.demo.clip_work import ClipRequest, ClipRun, plan  # noqa: E402
from ssg_hub.demo.line import Line, Ticket  # noqa: E402
from ssg_hub.demo.picture_handlers import PictureHandlers  # noqa: E402
from ssg_hub.demo.refusals import Cancelled, Refused  # noqa: E402
from ssg_hub.demo.room import AT_ONCE  # noqa: E402
from ssg_hub.demo.settings import Settings, from_environment  # noqa: E402
from ssg_hub.errors import SSGError  # noqa: E402
from ssg_hub.video.upscale_video import state_bytes  # noqa: E402

FACTS = {"width": 320, "height": 240, "seconds": 8.0, "rate": 25.0}
EXACT = "hevc"  # writes the same bytes for the same frames each time, which x264 does not


@pytest.fixture
def clip(tmp_path) -> Path:
    """Thirty frames of H.264 with sound."""
    recipe = Recipe("walk.mp4", "libx264", audio="aac", times=tuple(range(30)), options={"crf": "10", "g": "5"})
    return make_clip(tmp_path, recipe)


@pytest.fixture
def serve(serve_url, cache):
    def start(model, settings: Settings | None = None) -> Client:
        return Client(serve_url(model, settings), verbose=False, download_files=str(cache.parent / "downloads"))

    return start


def expect(model, clip: Path, folder: Path):
    """The library's own result, in the segments of the room."""
    return model.upscale_video(clip, folder / "expected.mp4", outscale=2, duration=10, segment=12, codec=EXACT)


def test_a_program_gets_the_frames_of_the_library(tiny_model, demo_of_all, clip, tmp_path):
    options = (2, 0, 10, "auto", EXACT)
    client = Client(demo_of_all[0], verbose=False, download_files=str(tmp_path / "downloads"))
    made, report = client.predict(handle_file(str(clip)), *options, api_name="/upscale_clip")
    expected = expect(tiny_model, clip, tmp_path)
    assert all(np.array_equal(one, other) for one, other in zip(decode(made), decode(expected.path), strict=True))
    assert probe(made)["times"] == probe(expected.path)["times"]
    with av.open(made) as container:
        assert len(container.streams.audio) == 1
    assert report["frames"] == 30 and report["output"] == {"width": 96, "height": 64}
    assert "not evidence" in report["honesty"]


def test_a_long_clip_is_taken_from_the_start_that_is_asked_for(tiny_model, serve, clip):
    client = serve(tiny_model, Settings(max_clip_seconds=1, max_clip_frames=10))
    made, report = client.predict(handle_file(str(clip)), 2, 0.4, api_name="/upscale_clip")
    assert report["frames"] == len(decode(made)) == 10
    made, report = client.predict(handle_file(str(clip)), 2, 1.0, 0.12, "off", "hevc", api_name="/upscale_clip")
    assert report["frames"] == 3 and report["codec"] == "hevc" and report["temporal"] == "off"


def test_what_cannot_be_done_is_a_sentence_without_server_paths(tiny_model, serve, clip, cache, tmp_path):
    limits = {"max_clip_pixels": 2000, "max_clip_output_pixels": 8000}
    client = serve(tiny_model, Settings(**limits, other_models={"large": "never loaded"}))
    (tmp_path / "letter.mp4").write_text("Dear Sir or Madam")
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:10,\n/etc/passwd\n#EXT-X-ENDLIST\n")
    (tmp_path / "cut.mp4").write_bytes(clip.read_bytes()[:300])
    large = make_clip(tmp_path, Recipe("large.mp4", "libx264", size=(64, 48)))
    refusals = [
        ((tmp_path / "letter.mp4", 2), "not a clip that is read here"),
        ((tmp_path / "list.mp4", 2), "not a clip that is read here"),
        ((tmp_path / "cut.mp4", 2), "cannot be read as a video"),
        ((large, 2), "at most 0.002 megapixels are taken"),
        ((clip, 4), "at most 0.008 megapixels a frame"),
        ((clip, 0), "outscale"),
        ((clip, 2, 99), "Begin earlier"),
        ((clip, 2, "x"), "start"),
        ((clip, 2, 0, -1), "duration is -1"),
        ((clip, 2, 0, 1, "on"), "choose auto or off"),
        ((clip, 2, 0, 1, "auto", "/etc"), "choose one of h264"),
        ((clip, 2, 0, 1, "auto", "h264", "/etc"), "not a model"),
        ((clip, 2, 0, 1, "auto", "h264", "large"), "Use the model default"),
    ]
    for (path, *options), words in refusals:
        with pytest.raises(AppError) as refusal:
            client.predict(handle_file(str(path)), *options, api_name="/upscale_clip")
        assert words in str(refusal.value)
        assert str(cache) not in str(refusal.value) and "Traceback" not in str(refusal.value)
    with pytest.raises(AppError, match="no clip yet"):
        client.predict(None, api_name="/upscale_clip")
    assert not list(cache.rglob("*_x*")) and not list(cache.rglob("*.parts")), "a refused request left something behind"


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"width": 5000}, "clip_too_large_in"),
        ({"width": 800, "height": 600, "outscale": 6}, "clip_too_large_out"),
        ({"start": 8}, "clip_start_late"),
        ({"duration": 0}, "clip_seconds"),
        ({"start": True}, "clip_seconds"),
        ({"start": float("nan")}, "clip_seconds"),
    ],
)
def test_the_plan_refuses_what_is_beyond_the_limits(change, key):
    facts = {name: change.get(name, value) for name, value in FACTS.items()}
    wanted = ClipRequest(**{name: value for name, value in change.items() if name not in FACTS})
    with pytest.raises(Refused) as refusal:
        plan(facts, wanted, Settings())
    assert refusal.value.key == key


@pytest.mark.parametrize(
    ("script", "make"),
    [
        ("picker.js", lambda: clip_page._picker(Settings())),
        ("picker.js", lambda: viewer.picker(Settings(), avif=True)),
        ("clips.js", clip_page._player),
        ("viewer.js", lambda: viewer.viewer({})),
    ],
    ids=["clips", "pictures", "player", "viewer"],
)
def test_a_script_has_every_sentence_that_it_says(script, make):
    """The picker of clips had none for two of them, or for a folder, dropped at once."""
    said = set(re.findall(r"\bt\.(\w+)", (viewer.ROOM / script).read_text(encoding="utf-8")))
    for lang, texts in make().props["texts"].items():
        assert said and said <= texts.keys(), (lang, said - texts.keys())


def test_the_plan_cuts_by_seconds_and_by_frames():
    settings = Settings(max_clip_seconds=10, max_clip_frames=300)
    assert plan(FACTS, ClipRequest(), settings).frames == 200 and not plan(FACTS, ClipRequest(), settings).cut
    fast = plan(FACTS | {"rate": 120.0}, ClipRequest(start=1), settings)
    assert (fast.duration, fast.frames, fast.cut) == (2.5, 300, True)
    assert plan(FACTS | {"seconds": None, "rate": None}, ClipRequest(), settings).frames == 300
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSG_MAX_CLIP_SECONDS", "0")
        assert from_environment().max_clip_seconds == 0


@pytest.mark.parametrize(
    ("head", "known"),
    [
        (b"\0\0\0\x20ftypisom", True),
        (b"\x1a\x45\xdf\xa3", True),
        (b"RIFF\0\0\0\0AVI LIST", True),
        (b"RIFF\0\0\0\0WAVEfmt ", False),
        ((b"G" + bytes(187)) * 3, True),
        (b"G" * 200, False),
        (b"#EXTM3U\n", False),
        (b"ffconcat version 1.0\nfile /etc/passwd", False),
        (b"<?xml version='1.0'?><MPD>", False),
        (b"", False),
    ],
)
def test_ffmpeg_sees_only_files_that_begin_as_clips_do(head, known):
    assert clip_reading.is_known(head) is known


@pytest.mark.skipif(not decoding.CAN_FORK, reason="this system cannot bound a process")
def test_a_clip_that_harms_the_decoder_harms_a_process_of_its_own(clip, monkeypatch):
    monkeypatch.setattr(decoding, "CLIP_MEMORY", 2**22)  # too little for the decoder to start
    with pytest.raises(SSGError, match=r"too much time or memory.* as MP4 with H\.264, or smaller"):
        decoding.rehearse_clip(str(clip), 2000, lambda: None, start=None, duration=1, most=99)
    monkeypatch.undo()
    with pytest.raises(SSGError, match="more than 4 frames"):
        decoding.rehearse_clip(str(clip), 2000, lambda: None, start=None, duration=1, most=4)
    assert decoding.rehearse_clip(str(clip), 2000, lambda: None, start=0.2, duration=0.4, most=99) == 10


def test_frames_beyond_the_limit_are_refused_by_the_header(tmp_path, monkeypatch):
    large, turned = (make_clip(tmp_path, Recipe(f"{turn}.mp4", "libx264", rotation=turn)) for turn in (0, 90))
    looked = clip_reading.look_at(str(turned), 48 * 32)
    assert (looked["width"], looked["height"], looked["rate"]) == (32, 48, 25) and looked["preview"]
    monkeypatch.setattr(clip_reading, "Clip", None)  # which decodes the first frame when it is opened
    looked = clip_reading.look_at(str(large), 48 * 32 - 1)
    assert looked == {"width": 48, "height": 32, "seconds": None, "rate": None, "preview": None}
    with pytest.raises(Refused) as refusal:
        plan(looked, ClipRequest(start=99), Settings(max_clip_pixels=48 * 32 - 1))
    assert refusal.value.key == "clip_too_large_in"


def test_no_more_clips_and_pictures_are_looked_at_at_once_than_one_machine_bears(bench, clip, monkeypatch):
    looking = anyio.CapacityLimiter(AT_ONCE)
    handlers, clips = (
        kind(bench.workshop, bench.line, bench.ledger, looking) for kind in (PictureHandlers, ClipHandlers)
    )
    upload = bench.ledger.folder / clip.name
    upload.write_bytes(clip.read_bytes())
    visitor, full, at_once = SimpleNamespace(headers={}), threading.Event(), []
    monkeypatch.setattr(clips, "_look", lambda path, of, lang: full.wait(60))
    monkeypatch.setattr(handlers, "_look", lambda path, lang: full.wait(60))

    async def look() -> None:
        picked = {"files": [{"path": str(upload)}]}
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(clips.look, picked, visitor)
                group.start_soon(handlers.look, picked, visitor)
            await anyio.wait_all_tasks_blocked()
            at_once.append(anyio.to_thread.current_default_thread_limiter().borrowed_tokens)
            at_once.append(looking.borrowed_tokens)
            full.set()

    anyio.run(look)
    assert at_once == [0, AT_ONCE]


class Bench:
    """A workshop, a line and a cache for one clip, without a page."""

    def __init__(self, model, folder: Path):
        from ssg_hub.demo.cache import Ledger
        from ssg_hub.demo.workshop import Workshop

        (folder / "cache").mkdir()
        self.workshop = Workshop(Settings(), model, load=None)
        self.line, self.ledger = Line(5), Ledger(folder / "cache", 2**30)

    def run(self, clip: Path, **options) -> ClipRun:
        return ClipRun(self.workshop, self.line, self.ledger, str(clip), "default", ClipRequest(**options), True)


@pytest.fixture
def bench(tiny_model, tmp_path):
    made = Bench(tiny_model, tmp_path)
    yield made
    made.line.close()


def test_between_segments_those_who_wait_are_served_and_the_frames_stay_the_same(bench, clip, tiny_model, tmp_path):
    order, work, ticket = [], bench.run(clip, codec=EXACT), Ticket()

    def step(ticket: Ticket) -> None:
        order.append("clip")
        if len(order) == 1:  # two pictures come while the first segment is computed
            waiting.extend(bench.line.hand_in(lambda _, name=name: order.append(name), Ticket()) for name in "ab")
        work.step(ticket)

    waiting: list = []
    while not work.done:
        bench.line.hand_in(step, ticket).result()
    work.close()
    assert order == ["clip", "a", "b", "clip"]
    expected = expect(tiny_model, clip, tmp_path)
    assert all(np.array_equal(a, b) for a, b in zip(decode(work.target), decode(expected.path), strict=True))
    assert [len(decode(path)) for path in (work.before, work.target)] == [30, 30]
    assert probe(work.before)["times"] == probe(work.target)["times"], "before and after cannot be in step"
    assert sorted(path.name for path in work.folder.rglob("*.*")) == ["before.mp4", "walk_x2.mp4"]


def test_a_run_that_is_given_up_leaves_no_file(bench, clip):
    work, ticket = bench.run(clip), Ticket()
    ticket.watch = lambda progress, watch=ticket.watch: (
        ticket.stop() if progress.tiles_done == 3 else None,
        watch(progress),
    )
    with pytest.raises(Cancelled):
        bench.line.hand_in(work.step, ticket).result()
    assert list(bench.ledger.folder.iterdir())
    bench.line.hand_in(lambda _: work.close(), Ticket()).result()
    assert not list(bench.ledger.folder.iterdir()) and bench.ledger.used == 0


def test_a_clip_may_take_longer_than_files_stay(bench, clip):
    """The page's own way: what is swept between two steps is gone, unless it is in use."""
    handlers, swept = ClipHandlers(bench.workshop, bench.line, bench.ledger, anyio.CapacityLimiter(1)), []
    upload = bench.ledger.folder / clip.name
    upload.write_bytes(clip.read_bytes())

    def step(work, ticket, step=ClipRun.step):
        bench.line._tickets.append(ticket)  # one more who waits, so that each step is one segment
        try:
            step(work, ticket)
        finally:
            bench.line._tickets.remove(ticket)
            swept.append(sweep(bench.ledger.folder, 0, bench.ledger.kept))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClipRun, "step", step)
        made, report = asyncio.run(handlers.upscale_clip(str(upload), 2))
    assert swept == [0] * len(swept) and len(swept) > 1
    assert report["frames"] == len(decode(made)) == 30


def test_a_result_that_outgrows_its_room_is_refused(bench, clip, monkeypatch):
    monkeypatch.setattr(clip_work, "ALLOWANCE", 0)
    monkeypatch.setattr(clip_work, "BYTES_PER_PIXEL", 1e-9)
    work = bench.run(clip)
    work.line = type("Empty", (), {"others_wait": lambda self: False})()
    monkeypatch.setattr(clip_work, "size_of", lambda folder: 10**9)
    with pytest.raises(Refused) as refusal:
        bench.line.hand_in(work.step, Ticket()).result()
    assert refusal.value.key == "no_room"


@pytest.mark.parametrize("pixels", ["yuv420p", pytest.param("yuv420p10le", marks=pytest.mark.slow)])
def test_a_short_clip_has_room_for_what_passes_from_segment_to_segment(bench, tmp_path, monkeypatch, pixels):
    options = {"preset": "ultrafast", "x265-params": "log-level=error"}
    encoder = "libx264" if pixels == "yuv420p" else "libx265"
    clip = make_clip(tmp_path, Recipe("wide.mp4", encoder, pixels, size=(320, 192), options=options), draw=moving)
    monkeypatch.setattr(clip_work, "SEGMENT", 3)
    monkeypatch.setattr(clip_work, "ALLOWANCE", 0)  # as for large frames, beside which it is little
    work, kept = bench.run(clip), []

    def weigh(folder: Path) -> int:
        kept.extend(file.stat().st_size for file in folder.rglob("*.npz"))
        return size_of(folder)

    monkeypatch.setattr(clip_work, "size_of", weigh)
    bench.line.hand_in(work.step, Ticket()).result()
    assert work.done and len(kept) == 1 + 2 + 2 + 2  # after each segment, those of the last two
    most = state_bytes((320, 192), 2)
    assert 0.6 * most < max(kept) < 1.001 * most, "the room is not what the state needs"
    assert 0.95 * most < max(kept) or pixels == "yuv420p"


def moving(number: int, size: tuple[int, int]) -> np.ndarray:
    """A texture that moves by two pixels a frame, so that there is flow between all frames."""
    texture = np.random.default_rng(0).integers(0, 256, (size[1] // 8, size[0] // 8 + 8, 3), np.uint8)
    return np.ascontiguousarray(texture.repeat(8, 0).repeat(8, 1)[:, 2 * number :][:, : size[0]])


def test_a_language_model_finds_the_tool(demo_of_all):
    pytest.importorskip("mcp", reason="the mcp package is not installed (pip install 'ssg-hub[mcp]')")
    from test_mcp import call

    tools = {tool.name: tool for tool in call(demo_of_all[0], None).tools}
    assert "not evidence" in tools["upscale_clip"].description
    assert tools["upscale_clip"].inputSchema["required"] == ["clip"]
