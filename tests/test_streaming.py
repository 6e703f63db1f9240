"""From file to file: pixels, mask, drift and metadata as through memory, and no more memory for more rows."""

import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from standins import ColorGuide, Repeat, make_model

from ssg_hub.cli import main
from ssg_hub.errors import ConfigError, ImageError
from ssg_hub.images.picture import Picture
from ssg_hub.images.reading import read_picture
from ssg_hub.images.rows import Rows, open_rows
from ssg_hub.images.tiff_writer import TiffWriter
from ssg_hub.images.writing import write_picture
from ssg_hub.networks.registry import build_generator
from ssg_hub.upscaling.streaming import upscale_file
from ssg_hub.upscaling.upscale import upscale

RNG = np.random.default_rng(5)
SMOOTH = np.asarray(Image.fromarray(RNG.integers(0, 256, (12, 10, 3), np.uint8)).resize((53, 131), Image.BICUBIC))
DEEP = SMOOTH.astype(np.uint16) * 257 + RNG.integers(0, 50, SMOOTH.shape).astype(np.uint16)
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = build_generator("compact", {"features": 8, "convs": 2}).eval()
    return make_model(generator, ColorGuide(certainty=2.0))


def save_picture(path: Path, values: np.ndarray, alpha: np.ndarray | None = None, **metadata) -> None:
    write_picture(Picture(values, alpha, **metadata), path)


def save_pillow(path: Path, values: np.ndarray, mode: str = "RGB", **options) -> None:
    Image.fromarray(values).convert(mode).save(path, **options)


def save_tiles(path: Path, values: np.ndarray) -> None:
    with open(path, "wb") as file:
        writer = TiffWriter(file, values.shape[1::-1], Picture(values).metadata, tiled=True)
        writer.add(values)
        writer.finish()


def save_others(path: Path, values: np.ndarray, **options) -> None:
    pytest.importorskip("tifffile").imwrite(path, values, **options)


# name -> (suffix, what writes it, whether its rows can be read by themselves)
FILES = {
    "tiff": (".tif", lambda path: save_picture(path, SMOOTH), True),
    "tiff, 16 bit": (".tif", lambda path: save_picture(path, DEEP), True),
    "tiff, 16 bit gray": (".tif", lambda path: save_picture(path, DEEP[..., 0]), True),
    "tiff, tiles": (".tif", lambda path: save_tiles(path, np.tile(SMOOTH, (3, 6, 1))), True),
    "tiff, uncompressed in one strip": (".tif", lambda path: save_pillow(path, SMOOTH), True),
    "tiff, palette": (".tif", lambda path: save_pillow(path, SMOOTH, "P"), True),
    "tiff, 1 bit": (".tif", lambda path: save_pillow(path, SMOOTH, "1"), True),
    "tiff, planes": (
        ".tif",
        lambda path: save_others(path, np.moveaxis(DEEP, 2, 0), planarconfig="separate", photometric="rgb"),
        True,
    ),
    "tiff, big-endian": (".tif", lambda path: save_others(path, DEEP, byteorder=">", rowsperstrip=7), True),
    "tiff, alpha": (".tif", lambda path: save_picture(path, SMOOTH, SMOOTH[..., 0]), False),
    "tiff, CMYK": (".tif", lambda path: save_pillow(path, SMOOTH, "CMYK"), False),
    "png": (".png", lambda path: save_pillow(path, SMOOTH), True),
    "png, gray": (".png", lambda path: save_pillow(path, SMOOTH, "L"), True),
    "png, 16 bit": (".png", lambda path: save_picture(path, DEEP), True),
    "png, 16 bit gray": (".png", lambda path: save_picture(path, DEEP[..., 0]), True),
    "png, palette": (".png", lambda path: save_pillow(path, SMOOTH, "P"), False),
    "png, 16 bit alpha": (".png", lambda path: save_picture(path, DEEP[..., 0], DEEP[..., 1]), False),
    "jpeg": (".jpg", lambda path: save_pillow(path, SMOOTH), False),
}


@pytest.mark.parametrize("name", FILES)
def test_rows_are_those_of_the_whole(name, tmp_path, monkeypatch):
    monkeypatch.setattr("ssg_hub.images.png_rows.PIECE", 100)
    suffix, write, cut = FILES[name]
    write(path := tmp_path / f"a{suffix}")
    whole = read_picture(path)
    with open_rows(path) as picture:
        assert isinstance(picture.values, Rows) == cut
        assert (picture.mode, picture.size, picture.metadata) == (whole.mode, whole.size, whole.metadata)
        if cut:
            assert picture.notes == whole.notes
        for rows in (slice(0, 20), slice(4, 30), slice(5, 9), slice(90, 131), slice(0, 2), slice(64, 80)):
            columns = slice(3, 40)
            assert np.array_equal(picture.values[rows, columns], whole.values[rows, columns])


@pytest.mark.parametrize("suffix", [".tif", ".png"])
@pytest.mark.parametrize("name", FILES)
def test_files_hold_what_upscale_returns(name, suffix, model, tmp_path):
    ending, write, _ = FILES[name]
    write(source := tmp_path / f"a{ending}")
    paths = {kind: tmp_path / f"{kind}{suffix}" for kind in ("picture", "mask", "drift")}
    options = {"tile": 32, "outscale": 2.7 if suffix == ".tif" else 4, "engine": "torch"}
    expected = upscale(model, source, **options)
    done = upscale_file(model, source, paths["picture"], paths["mask"], paths["drift"], **options)
    found = read_picture(paths["picture"])
    assert done.size == found.size == expected.content.size
    values = np.dstack([expected.picture.values] * 3) if found.mode == "RGB+alpha 16 bit" else expected.picture.values
    assert np.array_equal(found.values, values.reshape(found.values.shape))
    assert (found.alpha is None) == (expected.picture.alpha is None)
    assert found.alpha is None or np.array_equal(found.alpha, expected.picture.alpha)
    mask = Image.open(paths["mask"])
    assert mask.mode == "P" and mask.getpalette()[:12] == expected.mask.getpalette()[:12]
    assert np.array_equal(mask, expected.mask)
    drift, whole = (np.asarray(image).astype(int) for image in (Image.open(paths["drift"]), expected.drift))
    assert (
        np.abs(drift - whole).max() <= 1 and (drift != whole).mean() < 0.01
    )  # Pillow's weights differ in the last bit
    for key in expected.report.keys() - {"seconds", "notes"}:
        assert done.report[key] == expected.report[key]


def test_by_class_bicubic_and_colours(model, tmp_path):
    save_picture(source := tmp_path / "a.png", SMOOTH)
    cases = ({"strength": 0}, {"strength": 0.5, "color_fix": False}, {"strength": {"red thing": 0.2}})
    for number, options in enumerate(cases):
        result = upscale(model, source, tile=32, outscale=3, engine="torch", **options)
        target = tmp_path / f"{number}.tif"
        upscale_file(model, source, target, tile=32, outscale=3, engine="torch", **options)
        assert np.array_equal(Image.open(target), result.image)


def test_metadata_comes_along(tmp_path):
    exif = Image.Exif()
    exif[315] = "an artist"
    save_picture(source := tmp_path / "a.png", SMOOTH, icc=ICC, dpi=(300, 300), text={"Title": "x"})
    Image.open(source).save(source, exif=exif, icc_profile=ICC, dpi=(300, 300))
    for suffix in (".tif", ".png"):
        upscale_file(make_model(), source, tmp_path / f"b{suffix}", tile=32)
        upscale(make_model(), source).save(tmp_path / f"c{suffix}")
        streamed, whole = read_picture(tmp_path / f"b{suffix}"), read_picture(tmp_path / f"c{suffix}")
        assert streamed.metadata == whole.metadata and streamed.icc == ICC and streamed.exif


def test_a_turned_picture_is_turned(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(SMOOTH).save(tmp_path / "a.png", exif=exif)
    done = upscale_file(make_model(), tmp_path / "a.png", tmp_path / "b.png")
    assert done.size == (4 * 131, 4 * 53)
    assert np.array_equal(Image.open(tmp_path / "b.png"), upscale(make_model(), tmp_path / "a.png").image)


def test_the_height_costs_no_memory(tmp_path):
    peaks = []
    for height in (300, 1200):
        save_picture(source := tmp_path / f"{height}.tif", np.tile(SMOOTH, (10, 3, 1))[:height])
        model = make_model(Repeat(), ColorGuide())
        tracemalloc.start()
        upscale_file(model, source, tmp_path / "b.tif", tmp_path / "mask.png", tile=32, overwrite=True)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.15 * peaks[0]
    assert peaks[1] < 0.5 * 4 * 4 * 1200 * 3 * 53 * 3  # the result alone would be this


def test_what_cannot_be_streamed_is_refused(model, tmp_path):
    save_picture(source := tmp_path / "a.png", SMOOTH)
    for target, error in (("b.jpg", "encoded whole"), ("a.png", "exists"), ("no/b.png", "no folder")):
        with pytest.raises(ImageError, match=error):
            upscale_file(model, source, tmp_path / target)
    with pytest.raises(ImageError, match="is the file that is read"):
        upscale_file(model, source, source, overwrite=True)
    with pytest.raises(ImageError, match="different names"):
        upscale_file(model, source, tmp_path / "b.png", mask=tmp_path / "b.png")
    with pytest.raises(ImageError, match="the limit is"):
        upscale_file(model, source, tmp_path / "b.png", max_pixels=1000)
    with pytest.raises(ConfigError, match="no guide, so there is no mask"):
        upscale_file(make_model(), source, tmp_path / "b.png", mask=tmp_path / "m.png")
    with pytest.raises(ConfigError, match="upscale_file got unknown option 'segment'; known are .*drift.*outscale"):
        upscale_file(model, source, tmp_path / "b.png", segment=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png"]


def test_a_damaged_file_leaves_nothing(model, tmp_path):
    save_pillow(source := tmp_path / "a.png", RNG.integers(0, 256, (200, 50, 3), np.uint8))
    source.write_bytes(source.read_bytes()[:20000])
    with pytest.raises(ImageError, match="damaged or cut short"):
        upscale_file(model, source, tmp_path / "b.png", tile=32)
    (tmp_path / "empty.png").touch()
    with pytest.raises(ImageError, match="0 bytes"):
        upscale_file(model, tmp_path / "empty.png", tmp_path / "b.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "empty.png"]


def test_what_ends_a_run_passes_unchanged(tmp_path):
    save_picture(source := tmp_path / "a.png", SMOOTH)

    def stop(progress):
        if progress.tiles_done:
            raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        upscale_file(make_model(), source, tmp_path / "b.png", tile=32, watch=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_the_command_streams_what_is_large_or_told_to_be(tmp_path, monkeypatch, capsys):
    weights = tmp_path / "tiny.safetensors"
    from safetensors.torch import save_file

    save_file(build_generator("compact", {"features": 8, "convs": 1}).state_dict(), weights)
    (tmp_path / "in").mkdir()
    save_picture(tmp_path / "in" / "a.tif", SMOOTH, icc=ICC)
    common = ["upscale", str(tmp_path / "in"), "--model", str(weights), "--engine", "torch", "-q", "-o"]
    assert main([*common, str(tmp_path / "whole"), "--format", "same"]) == 0
    assert main([*common, str(tmp_path / "told"), "--format", "same", "--stream"]) == 0
    monkeypatch.setattr("ssg_hub.commands.pictures.STREAM_FROM", 1000)
    manifest = tmp_path / "log.jsonl"
    assert main([*common, str(tmp_path / "large"), "--format", "same", "--manifest", str(manifest)]) == 0
    assert '"width": 212, "height": 524' in manifest.read_text()
    files = [Image.open(tmp_path / kind / "a.tif") for kind in ("whole", "told", "large")]
    assert [322 in file.tag_v2 for file in files] == [False, True, True]  # tiles
    assert all(np.array_equal(files[0], file) and file.info["icc_profile"] == ICC for file in files)
    capsys.readouterr()
    assert main([*common, str(tmp_path / "jpegs"), "--format", "jpeg", "--stream"]) == 2
    assert "--stream writes .png and .tif" in capsys.readouterr().err
    assert main([*common, str(tmp_path / "jpegs"), "--format", "jpeg"]) == 0  # large, but its format needs the whole
    assert io.BytesIO((tmp_path / "jpegs" / "a.jpg").read_bytes()).read(2) == b"\xff\xd8"
