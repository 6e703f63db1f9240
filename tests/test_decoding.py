"""Visitors' pictures are read in processes of their own: the same pixels, and an end to what takes too much."""

import io
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssg_hub.demo import decoding
from ssg_hub.demo.views import PREVIEW_SIDE
from ssg_hub.errors import ImageError
from ssg_hub.images.reading import read_picture

pytestmark = pytest.mark.skipif(not decoding.CAN_FORK, reason="this system cannot fork")
EXAMPLES = Path(decoding.__file__).parent / "examples"
LIMIT = 4_000_000


@pytest.fixture
def large(tmp_path) -> str:
    """A picture that takes some tenths of a second to read, and some tens of megabytes."""
    noise = np.random.default_rng(0).integers(0, 256, (1500, 2000, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "large.png", compress_level=1)
    return str(tmp_path / "large.png")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.*g")), ids=lambda path: path.name)
def test_a_picture_is_what_the_library_reads(path):
    expected, got = read_picture(path), decoding.read(str(path), LIMIT)
    assert decoding.picture_size(str(path), LIMIT) == expected.size == got.size
    assert np.array_equal(got.values, expected.values) and got.values.dtype == expected.values.dtype
    assert (got.alpha is None) == (expected.alpha is None)
    assert got.alpha is None or np.array_equal(got.alpha, expected.alpha)
    assert (got.icc, got.exif, got.notes) == (expected.icc, expected.exif, expected.notes)


def test_what_is_no_picture_or_damaged_is_said(tmp_path, large):
    (tmp_path / "letter.png").write_text("Dear Sir or Madam")
    assert decoding.picture_size(str(tmp_path / "letter.png"), LIMIT) is None
    (tmp_path / "cut.png").write_bytes(Path(large).read_bytes()[:100_000])
    with pytest.raises(ImageError, match="damaged"):
        decoding.read(str(tmp_path / "cut.png"), LIMIT)
    with pytest.raises(ImageError, match="the limit is 100,000"):
        decoding.read(large, 100_000)


def test_a_format_that_starts_another_program_is_no_picture(tmp_path):
    (tmp_path / "drawing.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n")
    assert decoding.picture_size(str(tmp_path / "drawing.png"), LIMIT) is None


def test_a_picture_beyond_what_pillow_opens_is_measured_all_the_same(tmp_path):
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    assert decoding.picture_size(str(tmp_path / "bomb.png"), LIMIT) == (20_000, 20_000)


def test_what_takes_too_long_is_ended(large, monkeypatch):
    monkeypatch.setattr(decoding, "SECONDS", 0.01)
    too_much = r"^large.png takes too much time or memory to read\. Save it again as PNG or JPEG, or smaller"
    with pytest.raises(ImageError, match=too_much):
        decoding.read(large, LIMIT)
    monkeypatch.undo()
    assert decoding.picture_size(large, LIMIT) == (2000, 1500), "the next picture is none the worse for it"


def test_what_takes_too_much_memory_is_ended(large, monkeypatch):
    monkeypatch.setattr(decoding, "MEMORY", 2**20)
    monkeypatch.setattr(decoding, "BYTES_PER_PIXEL", 0)
    with pytest.raises(ImageError, match=r"too much time or memory|does not fit into memory"):
        decoding.read(large, LIMIT)


def test_cancelling_ends_the_reading_and_its_process(large):
    class Enough(Exception):
        pass

    children: list[int] = []

    def check() -> None:
        children[:] = children_of(decoding._nursery._process.pid)
        if children:
            os.kill(children[0], signal.SIGSTOP)  # one that hangs for good
            raise Enough

    decoding.start()
    with pytest.raises(Enough):
        decoding.read(large, LIMIT, check)
    deadline = time.monotonic() + 5
    while children_of(decoding._nursery._process.pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert children_of(decoding._nursery._process.pid) == []


def test_the_nursery_comes_back_when_it_has_died(large):
    decoding.picture_size(large, LIMIT)
    os.kill(decoding._nursery._process.pid, signal.SIGKILL)
    assert decoding.picture_size(large, LIMIT) == (2000, 1500)


def test_a_preview_is_small_and_upright(large):
    turned = EXAMPLES / "coffee_turned.jpg"
    preview = Image.open(io.BytesIO(decoding.preview(str(turned), LIMIT)))
    assert preview.format == "WEBP" and preview.size == read_picture(turned).size != Image.open(turned).size
    assert Image.open(io.BytesIO(decoding.preview(large, LIMIT))).size == (PREVIEW_SIDE, PREVIEW_SIDE * 3 // 4)


def children_of(pid: int) -> list[int]:
    """The processes that a process has started and that still run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def test_what_the_kernel_does_not_end_in_time_is_refused_in_the_same_words(large, monkeypatch):
    receive = decoding._receive
    monkeypatch.setattr(decoding, "_receive", lambda channel, deadline, check: receive(channel, 0, check))
    with pytest.raises(ImageError, match=r"^large.png takes too much time .* as PNG or JPEG"):
        decoding.read(large, LIMIT)
    with pytest.raises(ImageError, match=r"^large.png takes too much time .* as MP4 with H\.264"):
        decoding.clip_facts(large, LIMIT)


def test_what_has_ended_is_not_ended_by_its_number(large, monkeypatch):
    """Cancelled when the answer is there, but not received: the number of the child may be another process' by then."""

    class Enough(Exception):
        pass

    def check() -> None:
        deadline = time.monotonic() + 60
        while children_of(decoding._nursery._process.pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        raise Enough

    killed: list[int] = []
    decoding.start()
    monkeypatch.setattr(os, "kill", lambda number, _: killed.append(number))
    with pytest.raises(Enough):
        decoding._bounded("size", large, LIMIT, check)
    assert killed == []
