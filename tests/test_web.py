"""The model as a web site: what is written, and what the page computes, held against Python on the same pictures."""

import base64
import hashlib
import io
import itertools
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image, ImageOps

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install 'ssg-hub[export]')")
pytest.importorskip("onnx", reason="onnx is not installed (pip install 'ssg-hub[export]')")

from benchmarks.site_visits import SiteServer, download, make_pictures, psnr, visit
from ssg_hub.cli import main
from ssg_hub.errors import CheckpointError, ConfigError, ImageError
from ssg_hub.images.picture import Picture
from ssg_hub.images.resampling import COLOR_RADIUS, COLOR_SIGMA, fill_transparent, pull_colors, resize_bicubic
from ssg_hub.model import SSGModel
from ssg_hub.networks.guide import Guide
from ssg_hub.upscaling import layers, tiling
from ssg_hub.upscaling.calibration import Calibration
from ssg_hub.upscaling.soft_masks import MaskSheet
from ssg_hub.web import runtime, site, weights


def make_model(grain: bool = True, guide: bool = True) -> SSGModel:
    """A small untrained model of three classes, with two sets of weights; without a guide it is exported sooner."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        labels = {"0": "sky", "1": "road", "2": "tree"}
        reader = Guide({"model_type": "ssg_lite_segmentation", "width": 8, "id2label": labels}) if guide else None
        model = SSGModel.from_components("compact", guide=reader, generator_config={"features": 8, "convs": 2}).eval()
        with torch.no_grad():
            for value in model.generator.parameters():
                value.add_(0.02 * torch.randn_like(value))  # no two tensors are alike, as in a trained network
        if grain:
            second = {
                name: value + 0.02 * torch.randn_like(value) for name, value in model.generator.state_dict().items()
            }
            model.set_denoise_weights(second)
    return model


@pytest.fixture
def archive(tmp_path, monkeypatch) -> Path:
    """A stand-in for the runtime's package, whose hash is taken for the right one."""
    path = tmp_path / runtime.ARCHIVE
    with tarfile.open(path, "w:gz") as package:
        for name in runtime.WASM + runtime.WEBGPU:
            entry = tarfile.TarInfo(f"package/dist/{name}")
            entry.size = len(name)
            package.addfile(entry, io.BytesIO(name.encode()))
    digest = hashlib.sha512(path.read_bytes()).digest()
    monkeypatch.setattr(runtime, "SHA512", base64.b64encode(digest).decode())
    return path


@pytest.fixture(scope="module")
def serve():
    """Serve a folder on this machine; yields a function folder -> address."""
    running = []

    def start(folder: Path) -> str:
        running.append(SiteServer(folder))
        return running[-1].url

    yield start
    for server in running:
        server.shutdown()


@pytest.fixture(scope="module")
def scripts(browser, serve, tmp_path_factory):
    """The site's modules in a blank page; gives a function (JavaScript of a function of modules and value, value)."""
    folder = tmp_path_factory.mktemp("scripts")
    for path in site.STATIC.glob("*.js"):
        shutil.copy(path, folder)
    (folder / "index.html").write_text("<!doctype html><title>modules</title>")
    page = browser.new_page()
    page.goto(serve(folder))
    page.evaluate(
        "async () => { window.m = {}; for (const name of ['tiling', 'resampling', 'sheets', 'layers', 'png', 'engine', "
        "'decode']) Object.assign(window.m, await import(`./${name}.js`)); }"
    )
    yield lambda script, value=None: page.evaluate(f"async value => ({script})(window.m, value)", value)
    page.close()


# What is written.


def test_a_site_holds_the_page_the_networks_and_what_the_page_must_know(archive, tmp_path):
    model = make_model()
    done = site.export_site(model, tmp_path / "out", archive, title="Street")
    names = set(done.files)
    assert {"index.html", "sw.js", "files.js", "model.json", "README.md", "runtime/LICENSE.txt"} <= names
    assert {"generator.onnx", "generator.clean.f16", "generator.grain.f16", "guide.onnx", "guide.f16"} <= names
    said = json.loads((done.folder / "model.json").read_text())
    assert said["palette"] == [list(color) for color in model.palette] and said["labels"] == model.labels
    assert said["color_fix"] == {"sigma": COLOR_SIGMA, "radius": COLOR_RADIUS}
    assert said["scale"] == 4 and said["denoise"] == 1 and said["tiling"]["overlap"] == tiling.OVERLAP
    card = (done.folder / "README.md").read_text()
    assert "sdk: static" in card and "app_file: index.html" in card and "custom_headers" in card
    page = (done.folder / "index.html").read_text()
    assert f'content="{site.POLICY}"' in page and "Street" in page and "{{" not in page
    for path in done.folder.rglob("*"):
        if path.suffix in (".html", ".js", ".json", ".css", ".md"):
            assert "http://" not in path.read_text().replace("http://www.w3.org", ""), path
    listed = (done.folder / "files.js").read_text()
    assert all(name in listed for name in names - {"README.md", "sw.js", "files.js", "runtime/LICENSE.txt"})
    assert max(done.difference.values()) < 0.02


def test_any_title_is_text_on_the_page_and_in_the_card(archive, tmp_path):
    title = 'Night: <b>"A & B"</b>'
    done = site.export_site(make_model(False, guide=False), tmp_path / "out", archive, title=title)
    head = (done.folder / "README.md").read_text().split("---")[1]
    assert yaml.safe_load(head)["title"] == title and yaml.safe_load(head)["license"] == "other"  # none was stated
    assert "<h1>Night: &lt;b&gt;" in (done.folder / "index.html").read_text()
    manifest = json.loads((done.folder / "site.webmanifest").read_text())
    assert (manifest["name"], manifest["short_name"], manifest["start_url"]) == (title, title, "./")


def test_the_page_says_how_many_times_its_own_model_enlarges(tmp_path):
    model = SSGModel.from_components("compact", generator_config={"features": 4, "convs": 1, "scale": 2})
    shutil.copytree(site.STATIC, tmp_path / "page")
    site.write_page(model, {"generator": {}}, tmp_path / "page", "Street")
    page = (tmp_path / "page" / "index.html").read_text()
    assert "photographs 2 times" in page and "Upscale 2×" in page and "four" not in page and "{{" not in page


def test_a_folder_that_holds_something_is_kept(archive, tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "one.txt").write_text("Dear Sir or Madam")
    with pytest.raises(ImageError, match="no site, and is kept"):
        site.export_site(make_model(), tmp_path / "letters", archive, overwrite=True)
    (tmp_path / "out/.git").mkdir(parents=True)  # hidden: nothing that a site could replace
    site.export_site(make_model(False, guide=False), tmp_path / "out", archive)
    with pytest.raises(ImageError, match="holds a site"):
        site.export_site(make_model(), tmp_path / "out", archive)
    done = site.export_site(make_model(guide=False), tmp_path / "out", archive, overwrite=True)
    assert "generator.grain.f16" in done.files
    assert sorted(path.name for path in tmp_path.iterdir()) == ["letters", runtime.ARCHIVE, "out"]


@pytest.mark.parametrize("name", [".", "out"])
def test_a_new_site_takes_the_place_of_the_old_one_and_other_files_stay(name, archive, tmp_path, monkeypatch):
    place = tmp_path / "out"
    place.mkdir()
    monkeypatch.chdir(place if name == "." else tmp_path)
    site.export_site(make_model(guide=False), Path(name), archive)
    own = {".git/HEAD": "ref: refs/heads/main", "CNAME": "example.org", "runtime/notes.txt": "mine"}
    for path, text in own.items():
        (place / path).parent.mkdir(exist_ok=True)
        (place / path).write_text(text)
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match="no file"):
        site.export_site(make_model(False, guide=False), Path(name), tmp_path / "none.tgz", overwrite=True)
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before
    done = site.export_site(make_model(False, guide=False), Path(name), archive, title="New", overwrite=True)
    assert "New" in (place / "index.html").read_text() and "generator.grain.f16" not in done.files
    assert {path: (place / path).read_text() for path in own} == own
    names = {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}
    assert names == {*done.files, *own}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--web", "OUT", "--part", "guide"], "are for ONNX files"),
        (["-o", "OUT.onnx", "--runtime", "x.tgz"], "is for a site"),
        (["--web", "OUT", "--runtime", "none.tgz"], "no file at none.tgz"),
        (["--web", "OUT.txt/site"], "cannot be written"),
    ],
)
def test_a_request_that_cannot_be_done_is_refused_in_a_sentence(options, words, tmp_path, capsys):
    (tmp_path / "OUT.txt").touch()
    options = [str(tmp_path / option) if option.startswith("OUT") else option for option in options]
    assert main(["export", *options]) != 0
    assert words in capsys.readouterr().err
    assert not (tmp_path / "OUT").exists()


def test_another_runtime_is_refused_and_without_npm_the_way_out_is_said(tmp_path, monkeypatch):
    other = tmp_path / "other.tgz"
    other.write_bytes(b"something else")
    with pytest.raises(ConfigError, match="its hash differs"):
        runtime.check_archive(other)
    monkeypatch.setenv("SSG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match="npm is not installed. Or fetch it where npm works"):
        runtime.place_runtime(tmp_path)


@pytest.fixture
def npm(archive, tmp_path, monkeypatch):
    """A stand-in for npm that packs a copy of `archive`, with an empty cache; gives the file that notes its calls."""
    npm, count = tmp_path / "bin" / "npm", tmp_path / "count"
    npm.parent.mkdir()
    npm.write_text(f'#!/bin/sh\necho fetched >> {count}\ncp {archive} "$4/"\n')
    npm.chmod(0o755)
    monkeypatch.setenv("SSG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{npm.parent}:{os.environ['PATH']}")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return count


def test_npm_fetches_the_package_once(npm, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        runtime.place_runtime(tmp_path / name)
        assert {path.name for path in (tmp_path / name).iterdir()} == {*runtime.WASM, *runtime.WEBGPU}
    assert npm.read_text() == "fetched\n"


def test_a_damaged_package_in_the_cache_is_fetched_again(npm, archive, tmp_path):
    kept = tmp_path / "cache" / runtime.ARCHIVE
    kept.parent.mkdir()
    kept.write_bytes(archive.read_bytes()[:100])
    (tmp_path / "out").mkdir()
    runtime.place_runtime(tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*runtime.WASM, *runtime.WEBGPU}
    assert kept.read_bytes() == archive.read_bytes() and list(kept.parent.iterdir()) == [kept]


@pytest.mark.parametrize("fails", ["fetching", "check", "keeping"])
def test_no_folder_stays_behind_where_the_package_cannot_be_had_or_kept(fails, npm, archive, tmp_path):
    if fails == "keeping":
        (tmp_path / "cache").write_text("in the way")
        runtime.place_runtime(tmp_path)
        assert (tmp_path / runtime.WASM[0]).is_file()
    else:
        archive.unlink() if fails == "fetching" else archive.write_bytes(b"another")
        with pytest.raises(ConfigError, match="npm cannot fetch" if fails == "fetching" else "its hash differs"):
            runtime.place_runtime(tmp_path)
    assert list((tmp_path / "temporary").iterdir()) == []


def test_weights_that_half_precision_cannot_hold_are_refused():
    with pytest.raises(CheckpointError, match="does not fit into half precision"):
        weights.Packed(b"", np.array([1e6], np.float32)).halves()


def test_one_graph_serves_both_sets_of_weights(archive, tmp_path):
    done = site.export_site(make_model(guide=False), tmp_path / "out", archive)
    one, other = ((done.folder / f"generator.{kind}.f16").read_bytes() for kind in ("clean", "grain"))
    assert len(one) == len(other) and one != other


# What the modules compute.


def test_the_grid_is_pythons(scripts):
    lengths = (1, 15, 64, 191, 192, 193, 500, 1023, 4001)
    cases = list(itertools.product(lengths, (16, 64, 130, 192), (2, 7, 34)))
    script = "(m, cases) => cases.map(each => m.planSpans(...each, {align: 4, overlap: 32}))"
    found = scripts(script, cases)
    assert found == [[list(span) for span in tiling.plan_spans(*case)] for case in cases]


@pytest.mark.parametrize("context", [0, 1])
def test_the_feather_is_pythons(scripts, context):
    random, grid = np.random.default_rng(0), tiling.plan_grid(90, 130, 48, 34)
    expected = np.zeros((2, 90, 130), np.float32)

    def emit(part, top, left):
        expected[:, top : top + part.shape[1], left : left + part.shape[2]] = part.numpy()

    feather, tiles = tiling.Feather(grid, emit, context), []
    for row, column in grid:
        (top, bottom), (left, right) = grid.rows[row], grid.columns[column]
        tile = random.random((2, bottom - top, right - left), np.float32)
        tiles.append({"row": row, "column": column, "shape": tile.shape, "data": tile.ravel().tolist()})
        feather.add(torch.from_numpy(tile.copy()), row, column)
    found = scripts(
        """(m, {grid, tiles, context}) => {
          const canvas = new m.Block(2, 90, 130);
          const feather = new m.Feather(grid, (part, top, left) => canvas.paste(part, top, left), context);
          for (const { row, column, shape, data } of tiles)
            feather.add(new m.Block(...shape, Float32Array.from(data)), row, column);
          return [...canvas.data];
        }""",
        {"grid": {"rows": grid.rows, "columns": grid.columns}, "tiles": tiles, "context": context},
    )
    assert np.allclose(np.reshape(found, expected.shape), expected, atol=1e-6)


def test_the_sides_that_the_feather_drops_are_pythons(scripts):
    grid = tiling.plan_grid(500, 193, 130, 34)
    script = (
        "(m, grid) => grid.rows.flatMap((_, row) => grid.columns.map((_, column) => m.droppedSides(grid, row, column)))"
    )
    names = ("left", "right", "top", "bottom")
    expected = [dict(zip(names, grid.dropped(*place), strict=True)) for place in grid]
    assert scripts(script, {"rows": grid.rows, "columns": grid.columns}) == expected


@pytest.mark.parametrize(
    ("size", "ignored"), [((31, 26), (0, 0, 0, 0)), ((31, 26), (3, 8, 0, 5)), ((5, 3), (0,) * 4), ((1, 1), (0,) * 4)]
)
def test_broad_colours_are_held_as_in_python(scripts, size, ignored):
    random, (width, height) = np.random.default_rng(0), size
    lr, sr = random.random((3, height, width), np.float32), random.random((3, 4 * height, 4 * width), np.float32)
    script = """(m, {lr, sr, width, height, ignored, numbers}) => {
          const found = new m.Block(3, 4 * height, 4 * width, Float32Array.from(sr));
          m.pullColors(found, new m.Block(3, height, width, Float32Array.from(lr)), ignored, numbers);
          return [...found.data];
        }"""
    sides = dict(zip(("left", "right", "top", "bottom"), ignored, strict=True))
    given = {"lr": lr.ravel().tolist(), "sr": sr.ravel().tolist(), "width": width, "height": height, "ignored": sides}
    found = scripts(script, given | {"numbers": {"sigma": COLOR_SIGMA, "radius": COLOR_RADIUS}})
    expected = pull_colors(torch.from_numpy(sr), torch.from_numpy(lr), ignored)
    assert not np.allclose(expected, sr, atol=0.05)
    assert np.allclose(np.reshape(found, expected.shape), expected, atol=1e-5)


def test_bicubic_is_pillows_to_the_byte(scripts):
    values = np.random.default_rng(0).integers(0, 256, (23, 31, 3), np.uint8)
    window = (8, 12, 100, 92)
    script = """(m, {data, window}) => {
          const picture = {channels: 3, height: 23, width: 31, data: Uint8Array.from(data)};
          return [...m.resizeBicubic(picture, [124, 92], window).data];
        }"""
    found = np.reshape(scripts(script, {"data": values.ravel().tolist(), "window": window}), (80, 92, 3))
    assert np.array_equal(found, resize_bicubic(Picture(values), (124, 92), window).values)


def test_colours_under_transparent_pixels_are_pythons(scripts):
    random = np.random.default_rng(0)
    values, alpha = random.integers(0, 256, (21, 34, 3), np.uint8), random.integers(0, 256, (21, 34), np.uint8)
    alpha[3:15, 4:30] = 0
    script = "(m, [color, alpha]) => [...m.fillTransparent(Uint8Array.from(color), Uint8Array.from(alpha), 21, 34)]"
    found = np.reshape(scripts(script, [values.ravel().tolist(), alpha.ravel().tolist()]), values.shape)
    assert np.abs(found - fill_transparent(Picture(values, alpha)).astype(int)).max() <= 1


def test_soft_labels_are_resized_as_torch_does(scripts):
    block = np.random.default_rng(0).random((3, 12, 17), np.float32)
    for height, width in ((24, 40), (5, 9), (12, 17)):
        script = """(m, {data, height, width}) =>
            [...m.resizeLinear(new m.Block(3, 12, 17, Float32Array.from(data)), height, width).data]"""
        found = scripts(script, {"data": block.ravel().tolist(), "height": height, "width": width})
        options = {"mode": "bilinear", "align_corners": False, "antialias": True}
        expected = torch.nn.functional.interpolate(torch.from_numpy(block)[None], size=(height, width), **options)[0]
        assert np.allclose(np.reshape(found, expected.shape), expected, atol=1e-5)


def test_the_calibrated_drift_is_pythons(scripts):
    calibration = Calibration((2.0, -1.0, -0.5), (-1.0, 0.5, 0.2), {0.1: 0.3})
    numbers = np.random.default_rng(0)
    labels = torch.from_numpy(numbers.random((3, 11, 14), np.float32) * 8).softmax(0)
    labels[:, 0, 0], drift = torch.tensor([1.0, 0, 0]), torch.from_numpy(numbers.random((1, 11, 14), np.float32))
    script = """(m, {calibration, labels, drift}) => [...m.calibrate(calibration,
        new m.Block(3, 11, 14, Float32Array.from(labels)), new m.Block(1, 11, 14, Float32Array.from(drift))).data]"""
    given = {"calibration": calibration.to_config(), "labels": labels.flatten().tolist()}
    found = scripts(script, given | {"drift": drift.flatten().tolist()})
    assert np.allclose(found, calibration.probability(labels, drift).flatten(), atol=1e-5)


def test_the_mask_and_its_layers_are_pythons(scripts):
    soft = torch.from_numpy(np.random.default_rng(0).random((3, 11, 14), np.float32) * 8).softmax(0)
    sheet = MaskSheet((54, 43), (4.0, 4.0), 3, 0.6)
    sheet.put(soft, 0, 0)
    drift = np.random.default_rng(1).integers(0, 256, (11, 14), np.uint8)
    palette, side = [(200, 0, 0), (0, 200, 0), (0, 0, 200)], 40
    numbers = {"palette": palette, "uncertain": 3, "hatch": list(layers.HATCH), "hatch_period": layers.HATCH_PERIOD}
    numbers |= {"mask_side": side, "heat": layers.HEAT.tolist()}
    ids, mask, heat = scripts(
        """(m, {soft, drift, numbers}) => {
          const sheet = new m.MaskSheet([54, 43], 4, 3, 0.6);
          sheet.put(new m.Block(3, 11, 14, Float32Array.from(soft)), 0, 0);
          const heat = m.driftLayer({data: Uint8Array.from(drift), width: 14, height: 11}, numbers);
          return [[...sheet.ids], m.maskLayer({ids: sheet.ids, width: 54, height: 43}, numbers), heat].map(
            each => each.data ? [each.height, each.width, ...each.data] : each);
        }""",
        {"soft": soft.flatten().tolist(), "drift": drift.ravel().tolist(), "numbers": numbers},
    )
    assert np.mean(np.reshape(ids, (43, 54)) == sheet.ids) > 0.999 and 3 in ids
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layers, "MASK_SIDE", side)
        expected = np.asarray(layers.mask_layer(sheet.to_image(palette), 3))
    assert np.mean(np.reshape(mask[2:], (*mask[:2], 4)) == expected) > 0.999
    assert (
        np.abs(np.reshape(heat[2:], (*heat[:2], 4)) - np.asarray(layers.drift_layer(Image.fromarray(drift)), int)).max()
        <= 1
    )


@pytest.mark.parametrize("textures", [True, False])
def test_colours_come_in_as_they_are_in_the_file_under_low_alpha_too(scripts, textures):
    pixels = np.random.default_rng(0).integers(0, 256, (23, 31, 4), np.uint8)
    script = """async (m, {file, textures}) => {
          const own = OffscreenCanvas.prototype.getContext;
          OffscreenCanvas.prototype.getContext = function (kind, ...rest) {
            return kind === "webgl" && !textures ? null : own.call(this, kind, ...rest);
          };
          const picture = await m.readPicture(new Blob([Uint8Array.from(file)]), 1e6);
          OffscreenCanvas.prototype.getContext = own;
          return [[...picture.color], [...picture.alpha]];
        }"""
    color, alpha = scripts(script, {"file": list(encode(Image.fromarray(pixels), "png")), "textures": textures})
    assert np.array_equal(np.reshape(alpha, (23, 31)), pixels[..., 3])
    difference = np.abs(np.reshape(color, (23, 31, 3)) - pixels[..., :3].astype(int)).max(-1)
    assert difference.max() == 0 if textures else difference[pixels[..., 3] > 200].max() <= 1


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_photograph_comes_in_with_its_channels_and_upright(scripts, mode):
    turned = Image.Exif()
    turned[0x0112] = 6
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)).convert(mode)
    data = encode(photo, "jpeg", quality=100, subsampling=0, exif=turned)
    at = data.index(b"\xff\xdb")
    data = data[:at] + b"\xff\xff" + data[at:]  # bytes that fill up, as some cameras write them
    script = (
        "async (m, file) => { const {color, ...rest} = await m.readPicture(new Blob([Uint8Array.from(file)]), 1e6); "
    )
    found = scripts(script + "return {...rest, color: [...color]}; }", list(data))
    assert (found["width"], found["height"], found["gray"], found["alpha"]) == (16, 24, mode == "L", None)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")).astype(int)
    assert np.abs(np.reshape(found["color"], expected.shape) - expected).max() <= 3  # decoders round otherwise


def test_noise_in_the_place_of_pixels_is_no_photograph(scripts):
    """As browsers give that resist fingerprinting."""
    script = """async (m, png) => {
      const { prototype } = OffscreenCanvasRenderingContext2D, { getImageData } = prototype;
      prototype.getImageData = function (...window) {
        const found = getImageData.apply(this, window);
        crypto.getRandomValues(found.data);
        return found;
      };
      const file = new Blob([Uint8Array.from(png)]);
      const said = await m.readPicture(file, 16).then(() => "read", error => error.message);
      prototype.getImageData = getImageData;
      return [said, await m.readPicture(file, 16).then(({ width }) => width)];
    }"""
    assert scripts(script, list(encode(Image.new("RGB", (4, 4)), "png"))) == ["no_pixels", 4]


def test_a_file_of_the_site_that_cannot_be_had_is_one_failure_whatever_the_reason(scripts):
    ask = "(m, name) => m.fetchFile(name).then(answer => answer.status, error => error.message)"
    assert scripts(ask, "engine.js") == 200 and scripts(ask, "none.f16") == "no_model"
    offline = """async m => {
      const own = self.fetch;
      self.fetch = async () => { throw new TypeError("Failed to fetch"); };
      const said = await m.fetchFile("engine.js").catch(error => error.message);
      self.fetch = own;
      return said;
    }"""
    assert scripts(offline) == "no_model"


def encode(image: Image.Image, kind: str, **options) -> bytes:
    with io.BytesIO() as file:
        image.save(file, kind, **options)
        return file.getvalue()


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P"])
def test_png_loses_nothing(scripts, mode):
    channels = len(mode) if mode != "P" else 1
    values = np.random.default_rng(0).integers(0, 256 if mode != "P" else 3, (37, 1203, channels), np.uint8)
    values[:, :400] = 7
    palette = [[9, 8, 7], [1, 2, 3], [250, 251, 252]] if mode == "P" else None
    found = scripts(
        """async (m, {data, channels, palette}) => {
          const blob = await m.encodePng({data: Uint8Array.from(data), width: 1203, height: 37, channels, palette});
          return [...new Uint8Array(await blob.arrayBuffer())];
        }""",
        {"data": values.ravel().tolist(), "channels": channels, "palette": palette},
    )
    image = Image.open(io.BytesIO(bytes(found)))
    image.load()
    assert image.mode == mode and np.array_equal(np.asarray(image).reshape(values.shape), values)
    assert mode != "P" or image.getpalette()[:9] == sum(palette, [])


def test_half_precision_is_read_as_numpy_reads_it(scripts):
    halves = np.concatenate([np.random.default_rng(0).normal(size=500), [0, -0.0, 6e-8, 65504, -1e-5]]).astype("<f2")
    found = scripts("(m, bytes) => [...m.toFloats(Uint8Array.from(bytes))]", list(halves.tobytes()))
    assert np.array_equal(np.float32(found), halves.astype(np.float32))


# The whole site, with the real runtime.


@pytest.fixture(scope="module")
def real_site(tmp_path_factory, serve):
    """(model, address) of a site with the runtime from npm, or from SSG_WEB_RUNTIME."""
    archive = os.environ.get("SSG_WEB_RUNTIME")
    folder = tmp_path_factory.mktemp("site")
    if archive is None:
        if shutil.which("npm") is None:
            pytest.skip("npm is not installed, and SSG_WEB_RUNTIME names no package of onnxruntime-web")
        command = ["npm", "pack", f"{runtime.PACKAGE}@{runtime.VERSION}", "--silent"]
        if subprocess.run(command, cwd=folder, capture_output=True, timeout=300).returncode:
            pytest.skip("npm cannot fetch onnxruntime-web here")
        archive = folder / runtime.ARCHIVE
    model = make_model()
    site.export_site(model, folder / "out", Path(archive))
    return model, serve(folder / "out")


@pytest.mark.slow
def test_nine_pictures_and_their_masks_come_out_as_from_python(browser, real_site, tmp_path):
    model, url = real_site
    pictures = make_pictures(tmp_path)[:-1]
    page, errors, asked = visit(browser, url)
    page.set_input_files("#files", pictures)
    page.wait_for_selector("#run:not([disabled])")
    page.click("#run")
    page.wait_for_selector("#status:has-text('9 of 9 done')")
    pace = page.evaluate(
        "Object.keys(localStorage).filter(key => key.startsWith('ssg')).map(key => +localStorage[key])"
    )
    assert len(pace) == 1 and pace[0] < 600, "one pixel says nothing about the time that a megapixel takes"
    for number, path in enumerate(pictures):
        page.click(f".strip button >> nth={number}")
        page.wait_for_selector(f".headline:has-text('{path.name}')")
        expected = model.upscale(path, tile=site.TILE, engine="torch")
        found, mask = compare(page, path, expected), download(page, "mask")
        assert "exif" not in found.info
        assert float(np.mean(np.asarray(mask) == np.asarray(expected.mask))) > 0.98
        assert mask.mode == "P" and mask.getpalette()[:9] == expected.mask.getpalette()[:9]
    assert errors == [] and all(address.startswith((url, "blob:")) for address in asked)
    page.context.close()


@pytest.mark.slow
def test_four_megapixels_come_out_as_from_python(browser, real_site, tmp_path):
    model, url = real_site
    path = make_pictures(tmp_path)[-1]
    page, errors, _ = visit(browser, url)
    page.uncheck("#segment")  # the guide takes most of the time, and reads tiles as it does in smaller pictures
    page.set_input_files("#files", path)
    page.wait_for_selector("#run:not([disabled])")
    page.click("#run")
    page.wait_for_selector(".viewer[data-state=done]")
    compare(page, path, model.upscale(path, tile=site.TILE, engine="torch", segment=False))
    assert errors == [] and page.locator(".modes").is_hidden()
    page.context.close()


def compare(page, path: Path, expected) -> Image.Image:
    """The picture that the page offers, once it is found to be the one of Python."""
    found = download(page, "picture")
    assert found.mode == expected.image.mode and found.size == expected.image.size
    likeness = psnr(np.asarray(found), np.asarray(expected.image))
    print(f"{path.name}: {found.size[0]} x {found.size[1]}, {likeness:.1f} dB")
    assert likeness >= 50
    return found


@pytest.mark.slow
def test_the_site_works_without_a_network_cancels_and_knows_the_denoise_strength(browser, real_site, tmp_path):
    model, url = real_site
    paths = make_pictures(tmp_path)
    small, large = paths[0], paths[-1]
    page, errors, asked = visit(browser, url)
    page.wait_for_selector("#offline:has-text('without a network')")
    assert page.evaluate("crossOriginIsolated"), "the service worker does not isolate the page"
    page.context.set_offline(True)
    page.reload()
    page.wait_for_selector(".picker")
    asked.clear()
    page.set_input_files("#files", small)
    page.wait_for_selector("#run:has-text('about')")
    assert "WebAssembly" in page.inner_text("#machine")
    page.fill("#denoise", "0.35")
    page.click("#run")
    page.wait_for_selector(".viewer[data-state=done]")
    expected = model.upscale(small, tile=site.TILE, engine="torch", denoise=0.35)
    assert psnr(np.asarray(download(page, "picture")), np.asarray(expected.image)) >= 50
    page.click(".modes [data-mode=drift]")
    cover = page.evaluate(
        """async () => {
          const image = document.querySelector(".layer"), canvas = document.createElement("canvas");
          await image.decode();
          [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
          const context = canvas.getContext("2d");
          context.drawImage(image, 0, 0);
          return [...context.getImageData(0, 0, canvas.width, canvas.height).data].filter((_, at) => at % 4 === 3);
        }"""
    )
    wanted = np.asarray(layers.drift_layer(expected.drift_map[0]))[..., 3]
    assert np.abs(np.reshape(cover, wanted.shape) - wanted.astype(int)).max() <= 4
    page.click(".modes [data-mode=mask]")
    assert page.locator(".legend li").count() == len(expected.labels)
    page.set_input_files("#files", large)
    page.wait_for_selector("#run:not([disabled])")
    page.click("#run")
    page.wait_for_selector("#status:has-text('tile 2 of')")
    page.click("#cancel")
    page.wait_for_selector("#status:has-text('Cancelled')")
    assert page.is_enabled("#run") and page.is_hidden("#cancel")
    page.set_input_files("#files", small)
    page.wait_for_selector("#run:not([disabled])")
    page.click("#run")  # with a new worker
    page.wait_for_selector(".viewer[data-state=done]")
    assert errors == [] and all(address.startswith((url, "blob:")) for address in asked)
    page.context.close()


@pytest.mark.slow
def test_neither_the_page_nor_its_worker_can_reach_another_host(browser, real_site, tmp_path):
    _, url = real_site
    elsewhere = SiteServer(tmp_path)
    page, errors, _ = visit(browser, url)
    page.wait_for_selector("#offline:has-text('without a network')")
    page.set_input_files("#files", make_pictures(tmp_path)[0])
    page.wait_for_selector("#run:not([disabled])")
    page.click("#run")
    page.wait_for_selector(".viewer[data-state=done]")
    assert errors == []
    ask = "address => fetch(address, {mode: 'no-cors'}).then(() => 'through', () => 'refused')"
    [worker] = [each for each in page.workers if each.url.endswith("/worker.js")]  # its threads sleep, and hear nothing
    for place in (page, worker):
        assert place.evaluate(ask, elsewhere.url) == "refused"
    assert elsewhere.asked == []
    elsewhere.shutdown()
    page.context.close()
