"""The loop over a batch: order, overlap, failures, and the record that survives a kill."""

import signal
import threading
import time
import weakref
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from process_group import nursery
from standins import make_model

from ssg_hub.commands.bar import Bar, spell
from ssg_hub.commands.jobs import plan_jobs
from ssg_hub.commands.manifest import Manifest, part_of, read_manifest
from ssg_hub.commands.pictures import Loop
from ssg_hub.commands.request import check_guide
from ssg_hub.errors import ConfigError, ImageError
from ssg_hub.upscaling.progress import Progress
from ssg_hub.upscaling.upscale import upscale


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(6):
        pixels = np.random.default_rng(index).integers(0, 256, (8, 12, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


def fast(picture, **options):
    return upscale(make_model(), picture, **options)


def loop_over(photos, out, upscale=fast, manifest=None, **more):
    """Do what is missing, as the command does; returns how many came to what, and what was said."""
    said, record = [], Manifest(manifest)
    out.mkdir(exist_ok=True)
    jobs = plan_jobs([photos], out).jobs
    for job in jobs:
        if not job.to_write(overwrite=False):
            record.add(job, "skipped")
    options = {"outscale": 4, "segment": False, **more}
    loop = Loop(SimpleNamespace(upscale=upscale), options, False, said.append, record)
    with Bar(len(jobs), hidden=True) as bar:
        return loop.run([job for job in jobs if job.to_write(overwrite=False)], bar), said


@pytest.mark.parametrize("given", [["mask"], ["drift"], ["mask", "overlay"]], ids=str)
def test_without_a_guide_the_options_that_were_given_are_named(given):
    options = Namespace(**dict.fromkeys(("mask", "overlay", "drift"), False) | dict.fromkeys(given, True))
    with pytest.raises(ConfigError, match=f"no guide for {' and '.join(f'--{name}' for name in given)}. Leave"):
        check_guide(options, [])


def test_pictures_come_out_as_alone(photos, tmp_path):
    assert loop_over(photos, tmp_path / "out") == ({"done": 6}, [])
    for path in photos.iterdir():
        assert np.array_equal(Image.open(tmp_path / "out" / path.name), fast(path, segment=False).image)


def test_the_next_is_read_and_the_last_written_meanwhile(photos, tmp_path):
    """The network waits, with its first picture, until another one is read; with its third, until one is written."""
    out, calls = tmp_path / "out", []

    def slow(picture, **options):
        calls.append(threading.current_thread())
        if len(calls) == 3:
            deadline = time.monotonic() + 20
            while not (out / "0.png").exists():
                assert time.monotonic() < deadline, "no picture was written while the network was at work"
                time.sleep(0.01)
        return fast(picture, **options)

    assert loop_over(photos, out, slow)[0] == {"done": 6}
    assert set(calls) == {threading.main_thread()}


def test_what_fails_is_counted_and_the_rest_go_on(photos, tmp_path):
    (photos / "2.png").write_bytes(b"this is text")

    def fails_on_the_second(picture, **options):
        if picture.values[0, 0, 0] == np.asarray(Image.open(photos / "4.png"))[0, 0, 0]:
            raise RuntimeError("a bug")
        return fast(picture, **options)

    counts, said = loop_over(photos, tmp_path / "out", fails_on_the_second, tmp_path / "m.jsonl")
    assert counts == {"done": 4, "failed": 2} and len(said) == 2
    assert said[0].startswith(f"failed {photos / '2.png'}: ") and said[1].endswith("RuntimeError: a bug")
    entries = {Path(entry["file"]).name: entry for entry in read_manifest(tmp_path / "m.jsonl")}
    assert {name: entry["status"] for name, entry in entries.items()} == {
        **dict.fromkeys(["0.png", "1.png", "3.png", "5.png"], "done"),
        **dict.fromkeys(["2.png", "4.png"], "failed"),
    }
    assert (entries["0.png"]["width"], entries["0.png"]["height"]) == (48, 32) and entries["0.png"]["seconds"] >= 0
    assert "a bug" in entries["4.png"]["error"]


def test_what_another_run_made_meanwhile_is_skipped(photos, tmp_path, monkeypatch):
    """The other run is ahead by the picture at work, by the next one, and by one that is just being written."""
    out, computed = tmp_path / "out", []

    def finish(*names):
        for name in names:
            Image.new("RGB", (48, 32)).save(out / name)

    def overtaken(picture, **options):
        if not computed:
            finish("0.png", "1.png")
        computed.append(picture)
        return fast(picture, **options)

    def written_late(job, result, overwrite):
        if job.image.name == "3.png":
            finish("3.png")
        return result.save(job.image)

    monkeypatch.setattr("ssg_hub.commands.pictures.write_result", written_late)
    counts, said = loop_over(photos, out, overtaken, tmp_path / "m.jsonl")
    assert counts == {"done": 3, "skipped": 3} and len(computed) == 5
    assert sorted(said) == [
        f"skipped {photos / name}: {out / name} exists (--overwrite replaces it)"
        for name in ("0.png", "1.png", "3.png")
    ]
    assert {entry["status"] for entry in read_manifest(tmp_path / "m.jsonl")} == {"done", "skipped"}


def test_a_wrong_option_ends_all(photos, tmp_path):
    with pytest.raises(ConfigError, match="device"):
        loop_over(photos, tmp_path / "out", device="abacus")


def test_results_that_wait_to_be_written_are_bounded(photos, tmp_path, monkeypatch):
    monkeypatch.setattr("ssg_hub.commands.pictures.WAITING", 0)
    assert loop_over(photos, tmp_path / "out")[0] == {"done": 6}
    assert len(list((tmp_path / "out").iterdir())) == 6


def test_a_picture_is_let_go_before_its_result_is_written(photos, tmp_path, monkeypatch):
    for path in sorted(photos.iterdir())[1:]:
        path.unlink()
    read, held = [], []

    def remembering(picture, **options):
        read.append(weakref.ref(picture))
        return fast(picture, **options)

    def write(job, result, overwrite) -> list[str]:
        deadline = time.monotonic() + 5  # the thread that has read it may be about to let go of it
        while read[0]() is not None and time.monotonic() < deadline:
            time.sleep(0.01)
        held.append(read[0]() is not None)
        return []

    monkeypatch.setattr("ssg_hub.commands.pictures.write_result", write)
    assert loop_over(photos, tmp_path / "out", remembering) == ({"done": 1}, []) and held == [False]


def loop_slowly(*places: Path) -> None:
    """In a process of its own."""

    def slow(picture, **options):
        time.sleep(0.15)
        return fast(picture, **options)

    photos, out, manifest = places
    loop_over(photos, out, slow, manifest)


def test_a_run_killed_twice_finishes_with_every_file_once(photos, tmp_path):
    out, manifest = tmp_path / "out", tmp_path / "m.jsonl"
    for wanted in (1, 3):
        process = nursery().Process(target=loop_slowly, args=(photos, out, manifest))
        process.start()
        deadline = time.monotonic() + 100
        while len(list(out.glob("*.png"))) < wanted:
            assert process.is_alive() and time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    done = {path.name: path.stat().st_mtime_ns for path in out.glob("*.png")}
    assert 0 < len(done) < 6
    assert loop_over(photos, out, manifest=manifest)[0].keys() == {"done"}
    assert sorted(Path(entry["file"]).name for entry in read_manifest(manifest)) == [f"{i}.png" for i in range(6)]
    assert all((out / name).stat().st_mtime_ns == when for name, when in done.items())
    for path in photos.iterdir():
        assert np.array_equal(Image.open(out / path.name), fast(path, segment=False).image)


@pytest.mark.parametrize("name", ["m.jsonl", "m[1].jsonl"])
def test_the_manifest_of_several_processes_is_joined(name, photos, tmp_path):
    jobs = plan_jobs([photos], tmp_path / "out").jobs
    path = tmp_path / name
    records = [Manifest(path, rank, 2) for rank in range(2)]
    for index, job in enumerate(jobs):
        records[index % 2].add(job, "done", 1.0, (48, 32))
    with open(part_of(path, 0), "ab") as file:
        file.write(b'{"file": "torn')
    again = Manifest(path, 0, 2)  # the first process was started again
    again.add(jobs[0], "skipped")  # known
    again.join()
    assert len(read_manifest(path)) == 6 and [entry.name for entry in tmp_path.glob("m*")] == [name]
    assert {entry["status"] for entry in read_manifest(path)} == {"done"}


def test_one_process_joins_what_several_left_and_nothing_else(photos, tmp_path):
    jobs, path, own = plan_jobs([photos], tmp_path / "out").jobs, tmp_path / "m.jsonl", tmp_path / "m.jsonl.7"
    own.write_text("a file of the user's\n")
    for rank in range(2):  # both were killed
        Manifest(path, rank, 2).add(jobs[rank], "done", 1.0)
    with open(part_of(path, 0), "ab") as file:
        file.write(b'{"file": "torn')
    with pytest.raises(ImageError, match=r"m\.jsonl\.7 is no manifest"):
        Manifest(path, 7, 8)
    alone = Manifest(path)
    for job in jobs:
        alone.add(job, "skipped")
    alone.join()
    assert sorted(entry["status"] for entry in read_manifest(path)) == ["done"] * 2 + ["skipped"] * 4
    assert sorted(entry.name for entry in tmp_path.glob("m*")) == ["m.jsonl", "m.jsonl.7"]
    assert own.read_text() == "a file of the user's\n"


def test_a_file_of_another_kind_is_no_manifest_and_stays_as_it_is(photos, tmp_path):
    other = photos / "0.png"
    before = other.read_bytes()
    for world in (1, 2):
        with pytest.raises(ImageError, match="0.png is no manifest, and is kept"):
            Manifest(other, 0, world)
    assert other.read_bytes() == before
    for begun in (b"", b'{"fi', b'{"file": "a.png", "result": "b.png", "status": "done"}\n'):
        (tmp_path / "m.jsonl").write_bytes(begun)
        Manifest(tmp_path / "m.jsonl")


def test_a_manifest_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ImageError, match="cannot be written"):
        Manifest(tmp_path / "file" / "m.jsonl")


def test_the_bar_says_stage_tile_and_time(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with Bar(3, hidden=False) as bar:
        bar.begin("a.png")
        bar.show(Progress("upscaling", 0.25, 95.0, 1, 4))
    last = capsys.readouterr().err.split("\r")[-3]
    assert last.startswith("1/3 a.png  25%|") and last.endswith("upscaling, tile 2 of 4, 95 s left")
    assert [spell(seconds) for seconds in (0.4, 99, 150, 7200)] == ["0 s", "99 s", "2 min", "2.0 h"]
