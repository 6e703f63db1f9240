"""`upscale`: what comes out is exactly what the generator, bicubic, Lanczos and the options say."""

import json
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageCms
from standins import ColorGuide, Repeat, Shifted, make_model
from torch import nn

from ssg_hub.errors import ConfigError, ImageError, SSGError
from ssg_hub.images.reading import Picture, read_picture
from ssg_hub.images.resampling import pull_colors
from ssg_hub.networks.registry import build_generator
from ssg_hub.upscaling.options import Options, output_size
from ssg_hub.upscaling.pipeline import MARGIN
from ssg_hub.upscaling.upscale import predict, upscale

RNG = np.random.default_rng(11)
PHOTO = RNG.integers(0, 256, (37, 50, 3), dtype=np.uint8)
BICUBIC, LANCZOS = Image.Resampling.BICUBIC, Image.Resampling.LANCZOS


class Forbidden(nn.Module):
    """A generator that must not be asked."""

    scale = 4

    def forward(self, lr):
        raise AssertionError("the generator was called")


def array(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def repeat(values: np.ndarray, times: int = 4) -> np.ndarray:
    return values.repeat(times, 0).repeat(times, 1)


# ---------------------------------------------------------------- strength


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("outscale", [1, 1.5, 2, 3, 4, 7.3, 8])
def test_strength_0_is_pillows_bicubic_to_the_byte(mode, outscale):
    channels = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "I;16": 1}[mode]
    if mode == "I;16":
        image = Image.fromarray(RNG.integers(0, 65536, (37, 50), dtype=np.uint16))
    else:
        image = Image.fromarray(RNG.integers(0, 256, (37, 50, channels), dtype=np.uint8).squeeze())
    assert image.mode == mode
    result = upscale(make_model(Forbidden()), image, outscale=outscale, strength=0)
    expected = image.resize((round(50 * outscale), round(37 * outscale)), BICUBIC)
    assert result.image.mode == mode and result.image.size == expected.size
    assert np.array_equal(array(result.image), array(expected))


def test_strength_0_of_16_bit_colour_is_pillows_bicubic_of_each_channel():
    deep = RNG.integers(0, 65536, (9, 11, 3), dtype=np.uint16)
    result = upscale(make_model(Forbidden()), deep, strength=0)
    for channel in range(3):
        expected = Image.fromarray(np.ascontiguousarray(deep[..., channel])).resize((44, 36), BICUBIC)
        assert np.array_equal(result.picture.values[..., channel], np.asarray(expected))


def test_strength_0_by_class_is_bicubic_too():
    strength = dict.fromkeys(ColorGuide.labels, 0)
    result = upscale(make_model(Forbidden(), ColorGuide()), PHOTO, strength=strength, segment=False)
    assert np.array_equal(array(result.image), array(Image.fromarray(PHOTO).resize((200, 148), BICUBIC)))


@pytest.mark.parametrize("tile", [None, 16, 32])
def test_strength_1_is_the_generator(tile):
    result = upscale(make_model(), PHOTO, tile=tile)
    assert np.array_equal(array(result.image), repeat(PHOTO))


def test_strength_1_equals_the_generators_own_output():
    """Of the picture continued beyond its edges."""
    generator = build_generator("compact", {"features": 8, "convs": 2})
    result = upscale(make_model(generator), PHOTO, tile=None, color_fix=False)
    lr = torch.from_numpy(PHOTO).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        sr = generator.eval()(F.pad(lr, [MARGIN] * 4, mode="reflect"))[0].clamp(0, 1).permute(1, 2, 0)
    sr = sr[4 * MARGIN : -4 * MARGIN, 4 * MARGIN : -4 * MARGIN]
    assert np.abs(array(result.image) - (sr * 255).numpy()).max() <= 0.501  # halves may be rounded to either side


def test_strength_in_between_is_the_mean_of_both():
    result = upscale(make_model(), PHOTO, strength=0.25, tile=32)
    bicubic = array(Image.fromarray(PHOTO).resize((200, 148), BICUBIC))
    assert np.abs(array(result.image) - (0.75 * bicubic + 0.25 * repeat(PHOTO))).max() <= 0.51


@pytest.mark.parametrize("tile", [None, 16])
def test_strength_by_class_follows_the_mask(tile):
    """Red on the left asks for bicubic, blue on the right for the generator; textures tell them apart."""
    texture = RNG.integers(0, 60, (40, 64), dtype=np.uint8)
    photo = np.stack([texture] * 3, -1)
    photo[:, :32, 0] += 190
    photo[:, 32:, 2] += 190
    result = array(upscale(make_model(guide=ColorGuide()), photo, strength={"red thing": 0.0}, tile=tile).image)
    bicubic = array(Image.fromarray(photo).resize((256, 160), BICUBIC))
    assert np.abs(result - bicubic)[:, : 31 * 4].max() <= 1
    assert np.abs(result - repeat(photo))[:, 33 * 4 :].max() <= 1
    assert np.abs(bicubic - repeat(photo))[:, 33 * 4 :].max() > 20


# ---------------------------------------------------------------- any size


@pytest.mark.parametrize("outscale", [1, 1.5, 2, 2.9, 8])
def test_other_sizes_come_by_lanczos(outscale):
    result = upscale(make_model(), PHOTO, outscale=outscale, tile=None)
    size = output_size((50, 37), outscale)
    planes = [Image.fromarray(plane).resize(size, LANCZOS) for plane in repeat(PHOTO).transpose(2, 0, 1).astype("f4")]
    expected = np.clip(np.rint(np.stack(planes, -1)), 0, 255)
    assert result.image.size == size
    assert np.abs(array(result.image) - expected).max() <= 1  # the difference: a clip before the last rounding


@pytest.mark.parametrize("outscale", [1, 1.5, 2.9, 8])
def test_tiles_do_not_show_at_other_sizes(outscale):
    smooth = np.asarray(Image.fromarray(PHOTO[:8, :10]).resize((130, 90), BICUBIC))
    whole = array(upscale(make_model(), smooth, outscale=outscale, tile=None).image)
    tiled = array(upscale(make_model(), smooth, outscale=outscale, tile=32).image)
    assert np.abs(whole - tiled).max() <= 2


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_generators_of_any_scale(scale):
    result = upscale(make_model(Repeat(scale), ColorGuide()), PHOTO, outscale=scale, tile=16)
    assert np.array_equal(array(result.image), repeat(PHOTO, scale))
    assert result.mask.size == result.drift.size == result.image.size


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 2)])
def test_extreme_shapes(size):
    values = RNG.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    model = make_model(Shifted((0.1, 0.0, -0.1)), ColorGuide())
    result = upscale(model, values, strength={"red thing": 0.5})
    assert result.image.size == result.mask.size == result.drift.size == (4 * size[0], 4 * size[1])


def test_extreme_shapes_through_the_real_networks(tiny_model):
    for size in ((1, 1), (1, 700)):
        assert tiny_model.upscale(np.zeros((size[1], size[0], 3), np.uint8)).mask.size == (4 * size[0], 4 * size[1])


# ---------------------------------------------------------------- colours, alpha, depth


@pytest.mark.parametrize("size", [(64, 48), (1, 1), (3, 2)])
def test_a_shift_of_colour_is_taken_back_unless_that_is_switched_off(size):
    smooth = np.asarray(Image.fromarray(PHOTO[:4, :5] // 2 + 64).resize(size, BICUBIC))
    model = make_model(Shifted((0.1, 0.0, -0.1)))
    plain, fixed = upscale(model, smooth, tile=32, color_fix=False), upscale(model, smooth, tile=32)
    assert np.abs((array(plain.image) - repeat(smooth)).mean((0, 1)) - (25.5, 0, -25.5)).max() < 1
    assert np.abs(array(fixed.image) - repeat(smooth)).max() <= 1
    assert (plain.report["color_fix"], fixed.report["color_fix"]) == (False, True)


def test_the_colour_fix_leaves_noise_and_detail_alone():
    """What alternates from pixel to pixel is neither brought back from the LR nor taken from the SR."""
    lr, sr = (mean + checks(height, width) / 5 for mean, height, width in ((0.5, 40, 48), (0.4, 160, 192)))
    inside = (slice(None), slice(40, -40), slice(40, -40))
    assert torch.allclose(pull_colors(sr, lr)[inside], (sr + 0.1)[inside], atol=0.5 / 255)


def checks(height: int, width: int) -> torch.Tensor:
    board = torch.from_numpy(np.indices((height, width)).sum(0) % 2 - 0.5)
    return board.float().expand(3, -1, -1)


def test_the_colour_fix_does_not_rely_on_what_is_ignored():
    lr, sr = torch.full((3, 20, 30), 0.5), torch.full((3, 80, 120), 0.4)
    sr[:, :, :12], sr[:, -8:] = 0, 1
    fixed = pull_colors(sr, lr, ignored=(3, 0, 0, 2))
    assert torch.allclose(fixed[:, :-8, 12:], torch.tensor(0.5), atol=1e-6)


def test_tiles_do_not_show_with_the_colour_fix():
    """Of a generator that has colours wrong everywhere, and differently."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = build_generator("compact", {"features": 8, "convs": 2}).eval()
    noisy = np.asarray(Image.fromarray(PHOTO).resize((150, 110), BICUBIC))
    whole, tiled = (upscale(make_model(generator), noisy, tile=tile) for tile in (None, 64))
    assert tiled.report["tiles"] > 4
    assert np.abs(array(whole.image) - array(tiled.image)).max() <= 1


def disk(inside: tuple, outside: tuple) -> np.ndarray:
    rows, columns = np.mgrid[:48, :48]
    opaque = (rows - 23.5) ** 2 + (columns - 23.5) ** 2 < 16**2
    return np.where(opaque[..., None], (*inside, 255), (*outside, 0)).astype(np.uint8)


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("tile", [None, 32])
def test_alpha_has_no_fringe_of_the_colour_underneath(strength, depth, tile):
    image = disk((255, 0, 0), (0, 255, 0))
    image = image.astype(np.uint16) * 257 if depth == 16 else image
    generator = build_generator("compact", {"features": 4, "convs": 1})
    for parameter in generator.parameters():  # what remains is the enlarged LR
        nn.init.zeros_(parameter)
    result = upscale(make_model(generator), image, strength=strength, tile=tile).picture
    visible = result.alpha > 0
    assert result.bits == depth and visible.any() and not visible.all()
    assert result.values[..., 1][visible].max() == 0
    assert result.values[..., 0][visible].min() >= 0.99 * result.peak


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_alpha_has_no_dark_rim(strength):
    """A white disk over transparent black, laid on white, is white all over."""
    result = upscale(make_model(), disk((255, 255, 255), (0, 0, 0)), strength=strength, tile=32).image
    white = Image.new("RGBA", result.size, "white")
    assert array(Image.alpha_composite(white, result)).min() >= 254


def test_alpha_is_pillows_bicubic_whatever_the_strength():
    image = Image.fromarray(np.dstack((PHOTO, RNG.integers(0, 256, (37, 50), dtype=np.uint8))))
    expected = array(image.resize((200, 148), BICUBIC))[..., 3]
    for tile in (None, 16):
        assert np.array_equal(array(upscale(make_model(), image, tile=tile).image)[..., 3], expected)


def test_half_transparent_colours_stay_as_they_are():
    image = np.dstack((PHOTO, np.full((37, 50), 128, np.uint8)))
    image[0, 0, 3] = 0  # so that there is something to fill
    result = array(upscale(make_model(), image).image)
    assert np.array_equal(result[:, 4:, :3], repeat(PHOTO)[:, 4:])


def test_gray_stays_gray():
    gray = PHOTO[..., 0]
    model = make_model(Shifted((0.2, 0.0, 0.0)), ColorGuide())
    result = upscale(model, gray, tile=16, color_fix=False)
    assert result.image.mode == upscale(model, gray, tile=16).image.mode == "L"
    expected = np.minimum(repeat(gray) + 0.2 * 255, 255) * 0.299 + repeat(gray) * 0.701  # BT.601
    assert np.abs(array(result.image) - expected).max() <= 0.51


@pytest.mark.parametrize("shape", [(21, 30), (21, 30, 3), (21, 30, 4)])
def test_16_bits_stay_16_bits_to_the_last(shape, tmp_path):
    deep = RNG.integers(0, 65536, shape, dtype=np.uint16)
    if len(shape) == 3 and shape[2] == 4:
        deep[..., 3] = 65535
    result = upscale(make_model(), deep, tile=16)
    result.save(tmp_path / "deep.png")
    back = read_picture(tmp_path / "deep.png")
    channels = deep if deep.ndim == 2 else deep[..., :3]
    assert np.array_equal(back.values, repeat(channels)) and back.bits == 16
    assert (back.alpha is not None) == (deep.shape[-1] == 4) and result.report["input"]["mode"] == back.mode
    assert result.image.mode == {2: "I;16", 3: "RGB", 4: "RGBA"}[2 if deep.ndim == 2 else deep.shape[2]]


def test_profile_and_metadata_travel(tmp_path):
    exif = Image.Exif()
    exif[315] = "The artist"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = Picture(PHOTO, icc=profile, exif=exif.tobytes())
    for strength in (0, 1):
        result = upscale(make_model(), picture, strength=strength)
        result.image.save(tmp_path / "pillow.png")
        result.save(tmp_path / "ours.tif", overwrite=True)
        for name in ("pillow.png", "ours.tif"):
            back = read_picture(tmp_path / name)
            assert back.icc == profile
        assert Image.open(tmp_path / "ours.tif").getexif()[315] == "The artist"


def test_every_kind_of_input_gives_the_same(tmp_path):
    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    data = (tmp_path / "photo.png").read_bytes()
    tensor = torch.from_numpy(PHOTO).permute(2, 0, 1) / 255
    sources = [PHOTO, Image.fromarray(PHOTO), data, tmp_path / "photo.png", str(tmp_path / "photo.png"), tensor]
    for source in [*sources, tensor[None], PHOTO / 255]:
        assert np.array_equal(array(upscale(make_model(), source).image), repeat(PHOTO))


# ---------------------------------------------------------------- report, progress, manners


def test_report_is_json_and_honest(tiny_model):
    strength = {"car": np.float32(1)}
    assert json.loads(json.dumps(tiny_model.upscale(PHOTO, strength=strength).report))["strength"] == {"car": 1.0}
    numbers = {"outscale": np.float32(2), "strength": np.float32(1), "uncertain_below": np.float32(0.5)}
    report = json.loads(json.dumps(tiny_model.upscale(PHOTO, tile=32, **numbers).report))
    assert report["input"] == {"width": 50, "height": 37, "mode": "RGB 8 bit"}
    assert report["output"] == {"width": 100, "height": 74}
    assert (report["outscale"], report["scale"], report["tile"], report["tiles"]) == (2, 4, 32, 4)
    assert (report["device"], report["dtype"], report["strength"]) == ("cpu", "float32", 1.0)
    assert report["seconds"] >= 0 and 0 <= report["drift_mean"] <= 1
    assert sum(entry["share"] for entry in report["classes"]) == pytest.approx(1)
    assert "not evidence" in report["honesty"] and "invented" in report["honesty"]


def test_notes_of_reading_reach_the_report():
    image = Image.new("CMYK", (8, 8))
    assert "CMYK" in upscale(make_model(), image).report["notes"][0]


@pytest.mark.parametrize("tile", [None, "auto", 16, 32, 33])
def test_prediction_holds(tile):
    model = make_model()
    expected = predict(model, (50, 37), outscale=2.5, tile=tile)
    result = upscale(model, PHOTO, outscale=2.5, tile=tile)
    assert result.image.size == (expected.width, expected.height)
    assert (result.report["tile"], result.report["tiles"]) == (expected.tile, expected.tiles)
    assert isinstance(tile, str) or tile is None or expected.tile <= tile


def test_progress_counts_the_tiles():
    seen = []
    tiles = upscale(make_model(guide=ColorGuide()), PHOTO, tile=16, watch=seen.append).report["tiles"]
    counted = list(dict.fromkeys((progress.tiles_done, progress.tiles) for progress in seen if progress.tiles))
    assert counted == [(done, tiles) for done in range(tiles + 1)]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_cancelled_run_leaves_the_model_as_it_was(error):
    model = make_model(nn.Sequential(Repeat()), ColorGuide())
    model.generator.scale = 4
    model.generator.train()
    model.generator[0].eval()

    def cancel(progress):
        assert progress.stage == "reading" or not model.generator.training
        if progress.tiles_done == 2:
            raise error("enough")

    with pytest.raises(error, match="enough"):
        upscale(model, PHOTO, tile=16, watch=cancel)
    assert len(model.generator[0].seen) == 2
    assert model.generator.training and not model.generator[0].training


def test_the_same_twice(tiny_model):
    threads = torch.get_num_threads()
    first, second = (tiny_model.upscale(PHOTO, tile=32, strength={"car": 0.3}) for _ in range(2))
    for one, other in ((first.image, second.image), (first.mask, second.mask), (first.drift, second.drift)):
        assert one.tobytes() == other.tobytes()
    assert torch.get_num_threads() == threads and torch.is_grad_enabled()


@pytest.mark.parametrize("engine", ["torch", "auto"])
def test_autocast_outside_changes_nothing(tiny_model, engine):
    """`dtype` says what is computed in, and the report repeats it."""
    expected = upscale(tiny_model, PHOTO, engine=engine)
    with torch.autocast("cpu", torch.bfloat16):
        result = upscale(tiny_model, PHOTO, engine=engine)
    assert result.image.tobytes() == expected.image.tobytes() and result.drift.tobytes() == expected.drift.tobytes()
    assert result.report["dtype"] == expected.report["dtype"] == "float32"


def test_another_precision_is_computed_on_a_copy():
    model = make_model(guide=ColorGuide())
    result = upscale(model, PHOTO, dtype="bfloat16")
    assert result.report["dtype"] == "bfloat16" and model.generator.gain.dtype == torch.float32
    assert not model.generator.seen
    assert np.abs(array(result.image) - repeat(PHOTO)).max() <= 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"outscale": 0.5}, ["0.5", "1 to 16"]),
        ({"outscale": 17}, ["17"]),
        ({"outscale": float("nan")}, ["nan"]),
        ({"outscale": "4"}, ["'4'"]),
        ({"tile": 8}, ["8", "16"]),
        ({"tile": 64.0}, ["64.0"]),
        ({"tile": "big"}, ["'big'", "'auto'"]),
        ({"strength": 1.5}, ["1.5"]),
        ({"strength": float("nan")}, ["nan"]),
        ({"strength": True}, ["True"]),
        ({"strength": {"red thing": -1}}, ["'red thing'", "-1"]),
        ({"strength": {"Red thin": 0.5}}, ["'Red thin'", "mean 'red thing'", "red thing, green thing, blue thing"]),
        ({"strength": {"xyz": 0.5}}, ["'xyz'", "red thing, green thing, blue thing"]),
        ({"uncertain_below": 2}, ["2"]),
        ({"color_fix": "no"}, ["'no'", "False"]),
        ({"segment": None}, ["segment is None", "False"]),
        ({"max_pixels": None}, ["max_pixels is None", "1 or more"]),
        ({"max_pixels": float("nan")}, ["max_pixels is nan"]),
        ({"device": "abacus"}, ["'abacus'"]),
        ({"dtype": "int8"}, ["'int8'", "float16"]),
    ],
    ids=str,
)
def test_impossible_options_are_refused_before_any_work(options, words):
    with pytest.raises(ConfigError) as caught:
        upscale(make_model(Forbidden(), ColorGuide()), PHOTO, **options)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_an_unknown_option_is_refused_with_those_that_are_known():
    with pytest.raises(ConfigError, match="upscale got unknown option 'outscael'; known are .*max_pixels, outscale"):
        upscale(make_model(Forbidden()), PHOTO, outscael=2)
    with pytest.raises(ConfigError, match="predict got unknown option 'max_pixels'; known are .*outscale"):
        predict(make_model(), (50, 37), max_pixels=9)


def test_options_are_checked_without_torch():
    code = (
        "import sys\nfrom ssg_hub.errors import ConfigError\nfrom ssg_hub.upscaling.options import Options\n"
        "try: Options(dtype='int8')\nexcept ConfigError: assert 'torch' not in sys.modules\nelse: sys.exit(1)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"dtype": torch.float16, "device": torch.device("cpu")}, {"dtype": "float16", "device": "cpu"}),
        (
            {"tile": np.int64(32), "outscale": np.float32(2), "strength": 1},
            {"tile": 32, "outscale": 2, "strength": 1.0},
        ),
        ({"strength": {"sky": Fraction(1, 2)}, "denoise": 0}, {"strength": {"sky": 0.5}, "denoise": 0.0}),
    ],
)
def test_equal_options_are_kept_in_one_form(one, other):
    assert Options(**one) == Options(**other) and repr(Options(**one)) == repr(Options(**other))


def test_a_tile_may_be_a_number_of_numpy():
    assert upscale(make_model(), PHOTO, tile=np.int64(16)).report["tile"] == 16


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there():
    with pytest.raises(ConfigError, match="'cuda' cannot be used here"):
        upscale(make_model(), PHOTO, device="cuda")


@pytest.mark.parametrize("device", ["hpu", "privateuseone", "meta", "nonsense", "cpu:x", "", True])
def test_what_is_no_device_to_compute_on(device):
    with pytest.raises(ConfigError, match="cannot be used here") as caught:
        upscale(make_model(), PHOTO, device=device)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("device", [None, "cpu"])
def test_a_model_whose_weights_have_no_values(device):
    model = make_model(build_generator("compact", {"features": 8, "convs": 1}).to("meta"))
    with pytest.raises(ConfigError, match=r"on the device 'meta', where its weights have no values\. Load it again"):
        upscale(model, PHOTO, device=device)


def test_errors_of_reading_come_through():
    with pytest.raises(ImageError, match="max_pixels"):
        upscale(make_model(), PHOTO, max_pixels=100)
    assert issubclass(ImageError, SSGError)


def test_a_model_without_a_guide_says_so():
    result = upscale(make_model(), PHOTO)
    assert result.mask is None and result.drift is None and result.labels == []
    assert "no guide" in result.report["notes"][0]
    assert upscale(make_model(), PHOTO, segment=False).report["notes"] == []
    assert np.array_equal(array(result.overlay()), repeat(PHOTO))
    with pytest.raises(ConfigError, match="needs a guide"):
        upscale(make_model(), PHOTO, strength={"car": 0.5})


def test_too_many_classes_for_a_mask():
    guide = ColorGuide()
    guide.labels, guide.palette = [str(i) for i in range(256)], [(0, 0, 0)] * 256
    with pytest.raises(ConfigError, match="256 classes"):
        upscale(make_model(guide=guide), PHOTO)
