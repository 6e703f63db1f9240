"""A disk that is full: one sentence, nothing damaged left, files from before intact; for everything that is written.

The disk is a file system of some MB in memory, which only root can mount; elsewhere these tests are skipped, and what
tests/test_video_resume.py and tests/test_training_script.py do by a limit on the size of files remains.
"""

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from made_clips import Recipe, decode, make_clip
from PIL import Image
from safetensors.torch import load_file, save_file
from standins import Repeat, make_model
from test_hub import load
from tiny_run import train_here, weights, write_config

from ssg_hub.cli import main
from ssg_hub.errors import CheckpointError, ConfigError, HubError, SSGError, VideoError
from ssg_hub.loading import load_networks
from ssg_hub.processes.ending import end_plainly
from ssg_hub.training.adversary import save_discriminator
from ssg_hub.training.checkpoints import list_checkpoints, read_record
from ssg_hub.video.upscale_video import upscale_video

SIZE = 8 * 2**20  # bytes
WEIGHTS = "diffusion_pytorch_model.safetensors"


def slow(room: int):
    """Room at which what is written fails at another moment."""
    return pytest.param(room, marks=pytest.mark.slow)


class Disk:
    """A small disk, of which a filler leaves some room."""

    def __init__(self, place: Path):
        self.place, self._filler = place, place / "filler"

    def leave(self, room: int) -> None:
        """Fill it up to `room` bytes."""
        self._filler.unlink(missing_ok=True)
        free = os.statvfs(self.place)
        self._filler.write_bytes(bytes(max(0, free.f_bavail * free.f_bsize - room)))

    def empty(self) -> None:
        self._filler.unlink()

    def files(self) -> dict[str, bytes]:
        """Everything on it but the filler."""
        found = (path for path in self.place.rglob("*") if path.is_file() and path != self._filler)
        return {str(path.relative_to(self.place)): path.read_bytes() for path in found}


@pytest.fixture
def disk(tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(mount, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"no small disk can be mounted here ({error})")
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here ({mounted.stderr.strip()})")
    yield Disk(place)
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def make_photos(folder: Path, count: int = 4) -> Path:
    folder.mkdir()
    for index in range(count):
        pixels = np.random.default_rng(index).integers(0, 256, (32, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


@pytest.mark.parametrize("room", [slow(0), 4096, slow(30_000)])
def test_pictures_masks_and_the_manifest(room, disk, saved, tmp_path, capsys):
    photos, out = make_photos(tmp_path / "photos"), disk.place / "out"
    command = ["upscale", photos, "-o", out, "--model", saved, "--mask", "--manifest", disk.place / "list.jsonl"]
    out.mkdir()
    (out / "2.png").write_bytes(b"of before")
    disk.leave(room)
    code = main([str(word) for word in command])
    said = capsys.readouterr().err
    assert code in (1, 2) and "No space left" in said and "Traceback" not in said and "OSError" not in said
    check_pictures(disk)
    disk.empty()
    assert main([str(word) for word in command]) == 0
    assert len(check_pictures(disk)) == 7  # masks of four, pictures of three


def check_pictures(disk: Disk) -> list[str]:
    """All that has a picture's name is a whole picture, but for the file of before, which is untouched."""
    files = disk.files()
    assert files.pop("out/2.png") == b"of before"
    files.pop("list.jsonl", None)
    for name in files:
        with Image.open(disk.place / name) as image:
            image.load()
            assert image.size == (160, 128)
    return list(files)


@pytest.mark.parametrize("room", [slow(0), 20_000, slow(150_000)])
def test_a_clip(room, disk, tmp_path):
    source = make_clip(tmp_path, Recipe("noise.mkv", "ffv1", "yuv444p", size=(96, 64)), draw_noise)
    before = disk.place / "before.mkv"
    before.write_bytes(b"of before")
    disk.leave(room)
    for target in (disk.place / "out.mkv", before):
        with pytest.raises(VideoError, match="No space left") as told:
            upscale_video(make_model(Repeat(2)), source, target, outscale=2, codec="ffv1", overwrite=True)
        assert "\n" not in str(told.value)
    assert before.read_bytes() == b"of before" and not (disk.place / "out.mkv").exists()
    disk.empty()
    upscale_video(make_model(Repeat(2)), source, disk.place / "out.mkv", outscale=2, codec="ffv1", overwrite=True)
    assert len(decode(disk.place / "out.mkv")) == 10
    assert set(disk.files()) == {"before.mkv", "out.mkv"} | {
        n for n in disk.files() if n.startswith("before.mkv.parts")
    }


def draw_noise(number: int, size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("room", [slow(0), 100_000, slow(500_000)])
def test_a_training(room, disk, data, tmp_path, capsys):
    """Its record, its checkpoints, its log for TensorBoard, and the finished model."""
    config = write_config(tmp_path, data, output_dir=str(disk.place / "run"), tracker="tensorboard")
    train_here(config, "--adversarial_steps", "2")
    whole = {name: content for name, content in disk.files().items() if "checkpoints" in name}
    disk.leave(room)
    more = "--adversarial_steps", "8", "--resume", "latest"
    assert end_plainly("train", lambda: train_here(config, *more)) == 2
    assert re.search("could not be (written|saved)", capsys.readouterr().err)
    kept = list_checkpoints(disk.place / "run/checkpoints", "adversarial")
    assert kept and all(read_record(checkpoint) for checkpoint in kept)
    files = disk.files()
    assert whole and whole.items() <= files.items()
    assert not [name for name in files if ".part/" in name or ".saving-" in name]
    disk.empty()
    train_here(config, "--adversarial_steps", "8", "--resume", "latest")
    assert weights(disk.place / "run/model")


def test_a_discriminator(disk):
    save_discriminator(torch.nn.Linear(64, 64), disk.place)
    before = disk.files()
    disk.leave(0)
    with pytest.raises(CheckpointError, match=r"discriminator.safetensors could not be written \(No space left"):
        save_discriminator(torch.nn.Linear(64, 64), disk.place)
    assert disk.files() == before


def test_a_model_a_bank_and_converted_weights(disk, tiny_model, tmp_path, capsys):
    from test_hub_faults import make_bank

    tiny_model.save_pretrained(disk.place / "model")
    make_bank().save(disk.place / "bank")
    save_file(tiny_model.generator.state_dict(), tmp_path / "weights.safetensors")
    before = disk.files()
    disk.leave(0)
    for save, kind in (
        (lambda: tiny_model.save_pretrained(disk.place / "model"), SSGError),
        (lambda: tiny_model.save_pretrained(disk.place / "other"), SSGError),
        (lambda: make_bank().save(disk.place / "bank"), ConfigError),
    ):
        with pytest.raises(kind, match="No space left") as told:
            save()
        assert "\n" not in str(told.value)
    assert main(["convert", str(tmp_path / "weights.safetensors"), "-o", str(disk.place / "new.safetensors")]) == 2
    assert "No space left" in capsys.readouterr().err
    assert disk.files() == before
    assert load_file(disk.place / "model" / WEIGHTS)


def test_the_cache_of_converted_networks_is_a_convenience(disk, saved, monkeypatch):
    pytest.importorskip("openvino")
    monkeypatch.setenv("SSG_CACHE", str(disk.place / "cache"))
    picture = Image.new("RGB", (20, 16), (90, 120, 200))
    disk.leave(0)
    full = load_networks(saved).upscale(picture, engine="openvino")
    disk.empty()
    again = load_networks(saved).upscale(picture, engine="openvino")
    assert full.report["engine"] == again.report["engine"] == "openvino"
    assert np.array_equal(np.asarray(full.image), np.asarray(again.image))


def test_the_cache_of_the_hub(disk, saved, hub, client):
    hub.add_repo("ann/model", {path.name: path.read_bytes() for path in saved.iterdir()})
    for room in (0, 20_000):
        disk.leave(room)
        answer = client.run(load, name="ann/model", cache_dir=str(disk.place / "hub"))
        assert answer["error"] == HubError.__name__ and "Make room" in answer["message"], answer
        assert "\n" not in answer["message"]
    disk.empty()
    assert "digest" in client.run(load, name="ann/model", cache_dir=str(disk.place / "hub"))
