"""Making LR: the parts against outside oracles, and what every degradation promises."""

import io
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from made_pictures import draw_scene, even_kernel
from PIL import Image

from ssg_hub.degradation import BicubicDegradation, GenericPrior, Mixture, generic, load_degradation
from ssg_hub.degradation.bank import DegradationBank
from ssg_hub.degradation.kernels import centre_kernel, check_kernel, measure_kernel, render_kernels
from ssg_hub.degradation.learning.compression import read_tables
from ssg_hub.degradation.noise import BINS, NoiseModel, white_noise
from ssg_hub.degradation.ops import blur, compress_with, gaussian_kernels, reduce_with
from ssg_hub.errors import ConfigError


def make_bank(sigma: float = 4.0, quality: int | None = None, records: int = 3, **options) -> DegradationBank:
    """A bank whose records differ in width; its noise is white."""
    kernels = torch.stack([even_kernel(1.5 + i / 2, 1.5, 30 * i) for i in range(records)])
    noise = white_noise(sigma / 255, records, "white")
    steps = torch.zeros(records, 8, 8), torch.zeros(records, 8, 8)
    if quality:
        found = read_tables(as_jpeg(np.zeros((16, 16, 3), np.uint8), quality))
        steps = found.luma.expand(records, 8, 8), found.chroma.expand(records, 8, 8)
    return DegradationBank(4, kernels, noise, *steps, **options)


def as_jpeg(pixels: np.ndarray, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


EVERY = {
    "bicubic": BicubicDegradation(),
    "generic": GenericPrior(),
    "bank": make_bank(quality=60),
    "bank and prior": make_bank(generic_share=0.5),
    "mixture": Mixture([BicubicDegradation(), GenericPrior(), make_bank()]),
}


@pytest.mark.parametrize("name", EVERY)
def test_sizes_ranges_and_seeds(name):
    hr = torch.cat([draw_scene(seed, (96, 64)) for seed in range(4)])
    lr = EVERY[name].degrade(hr, 4, generators(0, 1, 2, 3))
    assert lr.shape == (4, 3, 16, 24) and lr.dtype == torch.float32
    assert lr.min() >= 0 and lr.max() <= 1
    assert torch.equal(lr, EVERY[name].degrade(hr, 4, generators(0, 1, 2, 3)))
    if name != "bicubic":
        assert not torch.equal(lr, EVERY[name].degrade(hr, 4, generators(4, 5, 6, 7)))


@pytest.mark.parametrize("name", EVERY)
def test_double_precision_is_degraded_as_single(name):
    hr = draw_scene(0, (96, 64))
    lr = EVERY[name].degrade(hr.double(), 4, generators(0))
    assert lr.dtype == torch.float64
    assert (lr.float() - EVERY[name].degrade(hr, 4, generators(0))).abs().median() < 1e-5  # JPEG may round another way


@pytest.mark.parametrize("name", EVERY)
def test_a_sample_does_not_depend_on_its_neighbours(name):
    hr = torch.cat([draw_scene(seed, (96, 64)) for seed in range(4)])
    together = EVERY[name].degrade(hr, 4, generators(0, 1, 2, 3))
    for i in range(4):
        alone = EVERY[name].degrade(hr[i : i + 1], 4, generators(i))
        torch.testing.assert_close(alone, together[i : i + 1], atol=1.01 / 255, rtol=0)
        assert (alone - together[i]).abs().gt(1e-5).float().mean() < 0.02  # rounding of sums in another order


def test_a_degradation_named_twice_has_two_chances_and_works_once():
    class Counted(BicubicDegradation):
        calls = 0

        def degrade_with_grain(self, hr, scale, generator=None):
            self.calls += 1
            lr, grain = super().degrade_with_grain(hr, scale, generator)
            return lr * 0, grain

    hr, counted = torch.rand(200, 3, 8, 8) / 2 + 0.5, Counted()
    lr = Mixture([counted, BicubicDegradation(), counted, counted]).degrade(hr, 4, generators(*range(200)))
    assert counted.calls == 1
    assert 0.65 < (lr.amax((1, 2, 3)) == 0).float().mean() < 0.85
    same = load_degradation("generic+bicubic+generic").parts
    assert same[0] is same[2] and [type(part) for part in same] == [GenericPrior, BicubicDegradation, GenericPrior]


@pytest.mark.parametrize("scale", [1, 2])
def test_other_scales(scale):
    assert GenericPrior().degrade(torch.rand(2, 3, 32, 32), scale, generators(0, 1)).shape[-1] == 32 // scale


def test_bicubic_is_pils():
    hr = (draw_scene(0, (96, 64)) * 255).round() / 255
    lr = BicubicDegradation().degrade(hr, 4)
    image = Image.fromarray((hr[0].permute(1, 2, 0) * 255).round().byte().numpy())
    expected = np.asarray(image.resize((24, 16), Image.Resampling.BICUBIC), np.float32)
    assert np.abs(lr[0].permute(1, 2, 0).numpy() * 255 - expected).max() < 1


@pytest.mark.parametrize("quality", [30, 60, 90])
def test_compression_is_libjpegs(quality):
    """Against Pillow's libjpeg: what differs is its rounding and its way of enlarging colour."""
    pixels = (draw_scene(1, (128, 96))[0].permute(1, 2, 0) * 255).round().byte().numpy()
    image = as_jpeg(pixels, quality)
    found = read_tables(image)
    assert found.quality == quality and found.source == "tables"
    x = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    ours = compress_with(x, found.luma[None], found.chroma[None])[0].permute(1, 2, 0).numpy() * 255
    theirs, before = np.asarray(image.convert("RGB"), np.float32), pixels.astype(np.float32)
    luma = np.array([0.299, 0.587, 0.114])
    assert np.abs((ours - theirs) @ luma).mean() < 0.7  # levels; their rounding alone makes 0.4
    assert np.abs(ours - theirs).mean() < 0.5 * np.abs(theirs - before).mean()


@pytest.mark.parametrize(
    ("major", "minor", "degrees"), [(2.0, 2.0, 0), (3.0, 1.5, 20), (4.0, 2.0, 110), (2.5, 1.6, 179)]
)
@pytest.mark.parametrize("motion", [0.0, 0.5, 1.0])
def test_kernels_are_drawn_as_they_are_measured(major, minor, degrees, motion):
    log_ratio, turn = math.log(major / minor), -2 * math.radians(degrees)
    stretch = torch.tensor([[log_ratio * math.cos(turn), log_ratio * math.sin(turn)]])
    kernel = render_kernels(torch.tensor([math.log(major * minor)]), stretch, torch.tensor([motion]), 48)[0]
    shape, centre = measure_kernel(kernel)
    assert kernel.sum() == pytest.approx(1, abs=1e-5) and centre.abs().max() < 1e-4
    assert (shape.major, shape.minor) == pytest.approx((major, minor), rel=0.02)
    if major > minor:
        off = (math.degrees(shape.angle) - degrees + 90) % 180 - 90
        assert abs(off) < 1


def test_gaussian_kernels_turn_the_same_way():
    shape, _ = measure_kernel(even_kernel(3.0, 1.5, 40))
    assert math.degrees(shape.angle) == pytest.approx(40, abs=0.5)


def test_blur_is_convolution():
    scipy_signal = pytest.importorskip("scipy.signal")
    x, kernel = torch.rand(1, 1, 20, 24), torch.rand(1, 5, 5)
    inner = scipy_signal.convolve2d(x[0, 0], kernel[0], mode="valid")
    np.testing.assert_allclose(blur(x, kernel)[0, 0, 2:-2, 2:-2], inner, rtol=1e-5)


def test_checks_of_kernels():
    good = even_kernel(2.5, 1.5, 30)
    assert check_kernel(good, 4) == ""
    assert check_kernel(good.roll(2, 0), 4) == "off-centre"
    assert check_kernel(torch.full((32, 32), 1 / 1024), 4) == "too wide"
    assert check_kernel(good - 0.6 * even_kernel(5, 5), 4) == "negative"
    assert check_kernel(-good, 4) == "negative" and check_kernel(good * torch.nan, 4) == "negative"
    rim = good.clone()
    rim[0, :] = rim[-1, :] = 0.002
    assert check_kernel(rim, 4) == "at the border"
    moved = F.pad(good, (1, 0, 0, 0))[:, :-1]
    assert measure_kernel(centre_kernel(moved))[1].abs().max() < 0.01


@pytest.mark.parametrize("width", [(1.5, 1.5, 0), (3.5, 1.6, 60)])
def test_lr_is_registered_to_hr(width):
    """The shift of LR against HR enlarged after a bicubic reduction, by least squares on the slopes: under 0.05 px."""
    hr = blur(draw_scene(3, (256, 192)), gaussian_kernels(*(torch.full((1,), v) for v in (2.0, 2.0, 0.0)), 15))
    bank = make_bank(sigma=0.0)
    bank.kernels = even_kernel(*width).expand(3, -1, -1)
    lr = bank.degrade(hr, 4, generators(0))
    assert measure_shift(lr, BicubicDegradation().degrade(hr, 4)).abs().max() < 0.05 / 4


def measure_shift(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """(y, x) in pixels of `b` by which a (1, 3, h, w) lies off b, beside a difference in blur."""
    a, b = (x.mean(1)[0].double() for x in (a, b))
    gy, gx = torch.gradient(b)
    curvature = torch.gradient(gy)[0] + torch.gradient(gx)[1]
    columns = torch.stack([c[6:-6, 6:-6].flatten() for c in (gy, gx, curvature)], dim=1)
    return -torch.linalg.lstsq(columns, (a - b)[6:-6, 6:-6].reshape(-1, 1)).solution[:2, 0]


def test_the_measure_of_shift_sees_shifts():
    x = draw_scene(3, (256, 192))
    smooth = blur(x, gaussian_kernels(*(torch.full((1,), v) for v in (3.0, 3.0, 0.0)), 25))
    moved = F.pad(smooth, (1, 0, 0, 0))[..., :-1]
    assert measure_shift(moved, smooth)[1] == pytest.approx(1, abs=0.1)


def test_colours_are_kept():
    hr = torch.cat([draw_scene(seed, (192, 128)) for seed in range(8)])
    lr = make_bank(sigma=6, quality=50).degrade(hr, 4, generators(*range(8)))
    assert ((lr.mean((0, 2, 3)) - hr.mean((0, 2, 3))).abs() * 255).max() < 0.5


def test_noise_is_as_strong_as_its_levels_say():
    levels = torch.linspace(2, 12, BINS).expand(2, 3, BINS) / 255
    model = white_noise(0.0, 2, "")
    model = NoiseModel(model.patches, model.owners, levels)
    for brightness in (0.2, 0.5, 0.8):
        noise = model.sample(torch.full((2, 3, 128, 128), brightness), torch.tensor([0, 1]), generators(0, 1))
        expected = np.interp(brightness * BINS - 0.5, np.arange(BINS), levels[0, 0].numpy())
        assert noise.std().item() == pytest.approx(expected, rel=0.06)
        # even across the seams of the patches
        rows = noise.square().mean((0, 1, 3)).sqrt()
        assert rows.max() < 1.5 * rows.min()


@pytest.mark.parametrize("side", range(1, 26))
def test_noise_covers_pictures_of_any_size_at_any_shift(side):
    model, lr = white_noise(0.1, 1, ""), torch.full((64, 3, side, 25), 0.5)
    noise = model.sample(lr, torch.zeros(64, dtype=torch.long), generators(*range(64)))
    assert noise.shape == lr.shape
    assert noise.square().mean((0, 1)).sqrt().min() > 0.05  # also in the last row and column


def test_noise_of_a_record_comes_from_its_own_patches():
    model = white_noise(0.05, 2, "")
    owners = torch.arange(len(model.patches)) % 2
    sign = torch.ones_like(model.patches) * torch.where(owners == 0, 1.0, -1.0).view(-1, 1, 1, 1)
    model = NoiseModel(sign, owners, model.levels)
    noise = model.sample(torch.full((2, 3, 32, 32), 0.5), torch.tensor([0, 1]), generators(0, 1))
    assert noise[0].min() > 0 and noise[1].max() < 0


def test_the_block_grid_is_shifted_at_random_or_not():
    hr = draw_scene(5, (256, 256))
    still, moving = (make_bank(sigma=0, quality=40, records=1, random_grid=flag) for flag in (False, True))
    made = [still.degrade(hr, 4, generators(seed)) for seed in range(3)]
    assert torch.equal(made[0], made[1]) and torch.equal(made[0], made[2])
    made = [moving.degrade(hr, 4, generators(seed)) for seed in range(3)]
    assert not torch.equal(made[0], made[1])
    clean = reduce_with(hr, moving.kernels[:1], 4)
    moved = (clean.roll((4, 4), (-2, -1)) - clean).abs().mean()
    assert all((m - clean).abs().mean() < 0.4 * moved for m in made)  # shifted blocks, unshifted pictures


def test_the_generic_share_is_kept():
    hr = draw_scene(2, (64, 64)).expand(64, -1, -1, -1)
    bank = make_bank(sigma=0.0, records=1, generic_share=0.25)
    pure = make_bank(sigma=0.0, records=1).degrade(hr[:1], 4, generators(0))
    lr = bank.degrade(hr, 4, torch.Generator().manual_seed(0))
    same = (lr - pure).abs().amax((1, 2, 3)) < 1.1 / 255
    assert 0.6 < same.float().mean() < 0.9


def test_names_of_degradations():
    assert isinstance(load_degradation("bicubic"), BicubicDegradation)
    assert isinstance(load_degradation("generic"), GenericPrior)
    assert len(load_degradation("bicubic + generic").parts) == 2
    with pytest.raises(ConfigError, match="no/such/bank is no degradation bank.*ssg degradation estimate"):
        load_degradation("no/such/bank")
    for name, shown in (("", "an empty name"), ("generic+", "an empty name"), ("n" * 5000, "nnn"), ("a\0b", "a\0b")):
        with pytest.raises(ConfigError, match=f"^{shown}.* is no degradation bank"):
            load_degradation(name)


def test_a_bank_may_have_a_plus_in_its_name(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    make_bank().save(tmp_path / "day+night")
    for name in (str(tmp_path / "day+night"), "~/day+night"):
        assert load_degradation(name).scale == 4


def test_what_a_bank_cannot_do_is_said():
    with pytest.raises(ConfigError, match="estimated for scale 4, degrade got 2"):
        make_bank().degrade(torch.rand(1, 3, 32, 32), 2, generators(0))
    for degradation in EVERY.values():
        with pytest.raises(ConfigError, match="30x32; both sides must divide by 4"):
            degradation.degrade(torch.rand(1, 3, 32, 30), 4, generators(0))
    with pytest.raises(ConfigError, match="the scale must be 1, 2 or 4"):
        GenericPrior().degrade(torch.rand(1, 3, 33, 33), 3, generators(0))


@pytest.mark.parametrize("name", EVERY)
def test_the_grain_comes_with_the_same_lr(name):
    hr = torch.cat([draw_scene(seed, (96, 64)) for seed in range(4)])
    lr, grain = EVERY[name].degrade_with_grain(hr, 4, generators(0, 1, 2, 3))
    assert torch.equal(lr, EVERY[name].degrade(hr, 4, generators(0, 1, 2, 3)))
    assert grain.shape == lr.shape and (name == "bicubic") == (grain.abs().max() == 0)


def test_the_grain_of_a_bank_is_lr_less_the_one_without_noise():
    hr = draw_scene(3, (96, 64)).expand(3, -1, -1, -1)
    noisy, clean = make_bank(sigma=8), make_bank(sigma=0)
    lr, grain = noisy.degrade_with_grain(hr, 4, generators(0, 1, 2))
    difference = lr - clean.degrade(hr, 4, generators(0, 1, 2))
    assert (difference - grain).abs().max() < 1.01 / 255  # both LR are in steps of 1/255
    assert grain.std() * 255 == pytest.approx(8, rel=0.15)


def test_the_grain_of_the_prior_is_lr_less_the_one_without_noise(monkeypatch):
    """Noise of the first round is blurred and halved by the second; mid-gray, so that nothing is clipped."""
    hr = draw_scene(3, (96, 64)).expand(4, -1, -1, -1) * 0.4 + 0.3
    still = [replace(ranges, jpeg_chance=0.0) for ranges in generic.ROUNDS]
    monkeypatch.setattr(generic, "ROUNDS", [replace(ranges, noise=(0.01, 0.05), noise_chance=1.0) for ranges in still])
    lr, grain = GenericPrior().degrade_with_grain(hr, 4, generators(0, 1, 2, 3))
    monkeypatch.setattr(generic, "ROUNDS", [replace(ranges, noise=(0.0, 0.0)) for ranges in still])
    clean = GenericPrior().degrade(hr, 4, generators(0, 1, 2, 3))
    assert torch.allclose(lr - clean, grain, atol=1e-5) and grain.std() > 0.005
