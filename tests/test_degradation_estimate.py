"""Learning a camera: known kernels, noise and compression are found again, and what cannot be learnt is said."""

import io
import math

import numpy as np
import pytest
import torch
from made_pictures import draw_scene, even_kernel, spoil, write_camera
from PIL import Image

from ssg_hub.degradation.bank import DegradationBank
from ssg_hub.degradation.kernels import check_kernel, measure_kernel, render_kernels
from ssg_hub.degradation.learning.compression import (
    MPEG2_TABLE,
    Compression,
    _kept_information,
    estimate_compression,
    find_lattices,
    luma_blocks,
    read_tables,
    reliability,
)
from ssg_hub.degradation.learning.estimate import is_like_the_others, learn_bank, spread_as_measured
from ssg_hub.degradation.learning.jpeg_noise import estimate_jpeg_noise
from ssg_hub.degradation.learning.kernelgan import estimate_kernelgan, expand_kernel
from ssg_hub.degradation.learning.noise_levels import band_powers, smooth_variances
from ssg_hub.degradation.learning.noise_patches import estimate_noise
from ssg_hub.degradation.learning.parametric import _Problem
from ssg_hub.degradation.learning.pictures import read_pictures
from ssg_hub.degradation.learning.spectrum import NaturalPrior, measure_spectra
from ssg_hub.degradation.noise import BINS
from ssg_hub.errors import ConfigError, ImageError


def scenes(count: int, size=(512, 384)) -> list[torch.Tensor]:
    return [draw_scene(seed, size) for seed in range(count)]


def measure(bank: DegradationBank):
    shape = measure_kernel(bank.kernels.mean(0))[0]
    return shape.major, shape.minor, math.degrees(shape.angle)


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    return write_camera(tmp_path_factory.mktemp("camera") / "lr", count=8)


@pytest.fixture(scope="module")
def bank(camera) -> DegradationBank:
    return learn_bank(camera)


def test_a_camera_is_learnt(bank):
    major, minor, angle = measure(bank)
    assert (major, minor) == pytest.approx((2.4, 1.6), rel=0.15)
    assert abs(angle - 30) < 15
    sigma = bank.noise.levels.square().mean().sqrt().item() * 255
    assert sigma == pytest.approx(4.0, rel=0.1)
    assert bank.luma_steps.amax() == 0 and bank.report["jpeg_found"] == {"tables": 0, "pictures": 0}
    assert len(bank.kernels) == bank.report["pictures"] == 8
    assert all(check_kernel(kernel, 4) == "" for kernel in bank.kernels)


def test_the_same_seed_learns_the_same_and_progress_goes_from_nothing_to_all(camera, bank):
    seen = []
    again = learn_bank(camera, on_progress=lambda done, total: seen.append(done / total))
    for name, tensor in bank._tensors().items():
        assert torch.equal(tensor, again._tensors()[name]), name
    assert seen == sorted(seen) and seen[0] < 0.1 and seen[-1] > 0.9 and len(seen) > 10


def test_long_motion_is_found(tmp_path):
    """A segment whose spectrum has zeros inside the pictures' band: from a short start the search would stop there."""
    log_ratio, turn = math.log(4.0 / 1.8), -2 * math.radians(95)
    stretch = torch.tensor([[log_ratio * math.cos(turn), log_ratio * math.sin(turn)]])
    kernel = render_kernels(torch.tensor([math.log(4.0 * 1.8)]), stretch, torch.tensor([1.0]), 32)[0]
    bank = learn_bank(write_camera(tmp_path / "lr", count=8, kernel=kernel, sigma=1.0))
    major, minor, angle = measure(bank)
    assert (major, minor) == pytest.approx((4.0, 1.8), rel=0.2)
    assert abs(angle - 95) < 10
    assert any("8 of 8 kernels are motion" in note for note in bank.report["notes"])


def test_slopes_of_the_posterior():
    """The analytic derivatives against differences."""
    pictures = [spoil(hr, even_kernel(2.4, 1.6, 30), 3.0).astype(np.float32) / 255 for hr in scenes(2)]
    spectra = measure_spectra(pictures, 64)
    problem = _Problem(spectra, torch.full_like(spectra.power, 1e-4), 4, NaturalPrior.built_in())
    p = problem.start() + 0.1 * torch.randn(2, 13, generator=torch.Generator().manual_seed(0)).double()
    for motion in (torch.tensor(0.0).double(), torch.tensor(1.0).double()):
        gradient, _ = problem._derivatives(p, motion)
        _, jacobian = problem._differentiate(p, motion)
        for k in range(p.shape[1]):
            step = 1e-5 * torch.nn.functional.one_hot(torch.tensor(k), 13).double()
            numeric = (problem._log_model(p + step, motion) - problem._log_model(p - step, motion)) / 2e-5
            torch.testing.assert_close(jacobian[:, k], numeric, atol=1e-4, rtol=1e-4)
            numeric = (problem.loss(p + step, motion) - problem.loss(p - step, motion)) / 2e-5
            torch.testing.assert_close(gradient[:, k], numeric, atol=1e-2, rtol=1e-4)


def test_the_spread_of_estimates_is_that_of_the_truth():
    generator = torch.Generator().manual_seed(0)
    truth = 1 + 0.3 * torch.randn(400, generator=generator)
    seen = truth + 0.4 * torch.randn(400, generator=generator)
    error, usable = torch.full((400, 3), 0.4), torch.ones(400, dtype=torch.bool)
    area, stretch = spread_as_measured(seen, torch.zeros(400, 2), error, usable)
    assert area.std().item() == pytest.approx(0.3, rel=0.15) and area.mean().item() == pytest.approx(1, abs=0.05)
    assert stretch.abs().max() == 0


@pytest.mark.parametrize(("read", "shot"), [(6.0, 0.0), (2.0, 0.25)])
def test_known_noise(read, shot):
    """Gaussian, and Poisson-Gaussian with variance read^2 + shot * level: within 10 % per brightness bin."""
    rng = np.random.default_rng(0)
    pictures = []
    for seed in range(8):
        clean = spoil(draw_scene(seed, smallest=30), even_kernel(2.0, 2.0)).astype(np.float64)
        noise = rng.normal(size=clean.shape) * np.sqrt(read**2 + shot * clean)
        pictures.append(((clean + noise).round().clip(0, 255) / 255).astype(np.float32))
    levels = estimate_noise(pictures).levels.square().mean((0, 1)).sqrt() * 255
    for b in range(5, 12):  # what the scenes hold enough of
        expected = math.sqrt(read**2 + shot * (b + 0.5) * 256 / BINS)
        assert levels[b].item() == pytest.approx(expected, rel=0.1), b


def test_correlated_noise_stays_correlated():
    rng = np.random.default_rng(0)
    pictures = []
    for hr in scenes(4):
        white = rng.normal(0, 8, (97, 129, 3))
        noise = (white[1:, 1:] + white[:-1, 1:] + white[1:, :-1] + white[:-1, :-1]) / 2
        clean = spoil(hr, even_kernel(2.5, 2.5)).astype(np.float64)
        pictures.append(((clean + noise).round().clip(0, 255) / 255).astype(np.float32))
    model = estimate_noise(pictures)
    made = model.sample(torch.full((4, 3, 96, 128), 0.5), torch.arange(4), torch.Generator().manual_seed(0))
    neighbours = (made[..., 1:] * made[..., :-1]).mean() / made.square().mean()
    assert neighbours.item() == pytest.approx(0.5, abs=0.12)
    assert made.std().item() * 255 == pytest.approx(8, rel=0.15)


def test_texture_is_not_counted_as_noise():
    """Where only textured patches are left of a brightness, the curve keeps to what the others say."""
    places, truth = np.arange(2.0, 14.0), 9 + 0.5 * np.arange(16)
    variances = truth[2:14].copy()
    variances[8:] *= 1.6  # by texture
    excess = np.where(np.arange(12) >= 8, 0.5, 0.0)
    fitted = smooth_variances(places, variances, np.full(12, 0.03), excess)
    assert fitted == pytest.approx(truth, rel=0.15)
    # without texture they are believed, and never is a variance taken to be too high because others are low
    assert smooth_variances(places, variances, np.full(12, 0.03), 0 * excess)[13] > 1.3 * truth[13]
    lowered = truth[2:14] * np.where(np.arange(12) >= 8, 0.7, 1)
    assert smooth_variances(places, lowered, np.full(12, 0.03), excess)[13] < 0.8 * truth[13]


def test_pictures_that_are_clipped_all_over_get_no_noise():
    board = np.kron(np.indices((12, 16)).sum(0) % 2, np.ones((8, 8))).astype(np.float32)
    model = estimate_noise([np.stack([board] * 3, axis=-1)] * 2)
    assert model.levels.shape == (2, 3, BINS) and model.levels.abs().max() == 0 and "No unclipped" in model.notes[0]


def test_one_brightness_stands_for_all():
    fitted = smooth_variances(np.array([7.3]), np.array([16.0]), np.array([0.05]), np.array([0.0]))
    assert fitted == pytest.approx(np.full(16, 16.0), rel=1e-3)


def test_noise_is_measured_apart_from_what_the_patches_are_chosen_by():
    """Of white noise the flattest patches are as strong as all."""
    patches = torch.randn((4000, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    fine, whole, flatness = band_powers(patches)
    flat = flatness.argsort()[:200]
    assert flatness[flat].mean() < 0.85 * flatness.mean()
    assert fine[flat].mean().item() == pytest.approx(1, abs=0.03)
    assert whole[flat].mean().item() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("quality", [35, 75, 92])
def test_quality_is_read_from_tables_and_from_the_lattice(quality):
    buffer = io.BytesIO()
    Image.fromarray(spoil(scenes(1)[0], even_kernel(1.6, 1.6), 3.0)).save(buffer, "JPEG", quality=quality)
    image = Image.open(buffer)
    assert read_tables(image).quality == quality
    resaved = np.asarray(image.convert("RGB"))
    found = estimate_compression(resaved)
    assert (found.quality, found.source, found.offset) == (quality, "lattice", (0, 0))
    assert torch.equal(found.luma, read_tables(image).luma)
    assert torch.equal(found.chroma, read_tables(image).chroma)


@pytest.mark.parametrize("code", [4, 9, 12])
def test_the_quantiser_of_a_video_frame_is_found(code):
    frame = through_mpeg2(spoil(draw_scene(code), even_kernel(1.6, 1.6), 2.0), code)
    found = estimate_compression(frame)
    assert (found.codec, found.source) == ("mpeg2", "lattice")
    assert torch.allclose(found.luma, torch.tensor(MPEG2_TABLE) * code / 8 * 255 / 219)


def through_mpeg2(pixels: np.ndarray, code: int) -> np.ndarray:
    """A picture with even sides as an intra frame of MPEG-2 gives it back."""
    av = pytest.importorskip("av")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mpeg") as clip:
        stream = clip.add_stream("mpeg2video", rate=25)
        stream.height, stream.width, stream.pix_fmt = *pixels.shape[:2], "yuv420p"
        stream.codec_context.options = {"qmin": str(code), "qmax": str(code), "g": "1"}
        clip.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        clip.mux(stream.encode())
    buffer.seek(0)
    with av.open(buffer) as clip:
        return next(clip.decode(video=0)).to_ndarray(format="rgb24")


def test_a_cropped_lattice_is_found_with_its_offset():
    cropped = []
    for seed in range(2):
        buffer = io.BytesIO()
        Image.fromarray(spoil(draw_scene(seed), even_kernel(1.6, 1.6), 3.0)).save(buffer, "JPEG", quality=60)
        cropped.append(np.asarray(Image.open(buffer).convert("RGB"))[5:, 2:])
    found = find_lattices(cropped)
    assert [(c.quality, c.offset) for c in found] == [(60, (3, 6))] * 2


def test_pictures_that_were_never_compressed_have_no_lattice():
    pictures = [spoil(draw_scene(sigma), even_kernel(1.6, 1.6), sigma) for sigma in (0, 2, 6)]
    assert find_lattices(pictures) == [None] * 3


def test_noise_before_jpeg():
    """White noise of 8 levels, quantised away in part by quality 60, is fitted as it was before."""
    pictures, tables = [], []
    for seed in range(6):
        buffer = io.BytesIO()
        Image.fromarray(spoil(draw_scene(seed, smallest=40), even_kernel(2.5, 2.5), 8.0, seed)).save(
            buffer, "JPEG", quality=60
        )
        image = Image.open(buffer)
        tables.append(read_tables(image))
        pictures.append(np.asarray(image.convert("RGB")))
    levels = estimate_jpeg_noise(pictures, tables).levels.square().mean((0, 1)).sqrt() * 255
    assert levels[4:11].mean().item() == pytest.approx(8, rel=0.2)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_tables_of_a_jpeg_are_turned_upright_with_it(tmp_path, orientation):
    """The coefficients of the upright picture lie on its tables, whichever corner the blocks are counted from."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = spoil(draw_scene(0), even_kernel(1.6, 1.6), 3.0)[:91, :124]  # neither side divides by 8
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", quality=40, exif=exif)
    read = read_pictures(tmp_path)
    tables = read.tables[0]
    levels = luma_blocks(read.pixels[0], tables.offset)[0] / tables.luma
    off = ((levels - levels.round()) * tables.luma)[levels.abs() > 0.5].abs()
    assert off.mean() < 0.5 and tables.quality == 40
    assert bool(tables.luma[0, 7] < tables.luma[7, 0]) == (orientation < 5)  # libjpeg's 61 and 72, turned or not


def test_jpeg_files_make_a_bank_that_compresses(tmp_path):
    bank = learn_bank(write_camera(tmp_path / "lr", count=4, quality=50))
    assert bank.report["jpeg_found"] == {"tables": 4, "pictures": 4} and bank.report["jpeg_quality"] == [50, 50]
    bank.random_grid = False
    lr = bank.degrade(draw_scene(9, (512, 512)), 4, torch.Generator().manual_seed(0))
    found = estimate_compression((lr[0] * 255).round().byte().permute(1, 2, 0).numpy())
    assert found is not None and abs(found.quality - 50) <= 1


def test_compression_does_not_widen_or_turn_kernels(tmp_path):
    """JPEG empties the high frequencies, as blur does; where it did, the spectrum is not believed."""
    kernel = even_kernel(3.2, 1.6, 65)
    camera = write_camera(tmp_path / "lr", count=8, kernel=kernel, sigma=3.0, quality=85, smallest=3)
    bank = learn_bank(camera)
    major, minor, angle = measure(bank)
    assert (major, minor) == pytest.approx((3.2, 1.6), rel=0.2) and abs(angle - 65) < 15


@pytest.mark.parametrize("step", [0.2, 4.0, 8.0, 13.0])
def test_reliability_is_the_information_that_the_quantiser_leaves(step):
    """About the logarithm of a Laplacian scale of 1; from the chances of the levels, by differences."""

    def log_chance(scale):
        levels, step_of_scale = np.arange(2000), step / scale
        chances = -step_of_scale * (levels - 0.5) + np.log1p(-np.exp(-step_of_scale))
        chances[0] = np.log1p(-np.exp(-step_of_scale / 2))
        return chances

    slope = (log_chance(np.exp(1e-4)) - log_chance(np.exp(-1e-4))) / 2e-4
    share = (np.exp(log_chance(1.0)) * slope**2).sum()
    coefficients = torch.from_numpy(np.random.default_rng(0).laplace(0, 1, (4000, 8, 8)).astype(np.float32))
    found = _kept_information((coefficients / step).round().abs())
    assert found.mean().item() == pytest.approx(share, rel=0.05)


def test_reliability_falls_with_the_quality():
    """At mid frequencies, and is all there is where no block can be looked at."""
    pixels, frequency = spoil(draw_scene(0), even_kernel(2.0, 2.0)), torch.tensor([0.25, 0.4])
    shares = []
    for quality in (95, 75, 40):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
        image = Image.open(buffer)
        shares.append(reliability(np.asarray(image.convert("RGB")), read_tables(image), frequency, frequency).mean())
    assert 1 >= shares[0] > shares[1] > shares[2] >= 0
    white = np.full((32, 32, 3), 255, np.uint8)
    assert reliability(white, Compression(*torch.ones(2, 8, 8), 90), frequency, frequency).tolist() == [1, 1]


def test_kernels_unlike_all_others_are_dropped():
    area = torch.tensor([1.0, 1.1, 0.9, 1.05, 3.0, 1.0])
    stretch = torch.tensor([[0.1, 0.0], [0.12, 0.01], [0.08, 0.0], [0.1, 0.02], [0.1, 0.0], [0.1, 1.5]])
    told = torch.tensor([True] * 6)
    assert is_like_the_others(area, stretch, told).tolist() == [True] * 4 + [False] * 2
    assert is_like_the_others(area[4:5], stretch[4:5], told[:1]).tolist() == [True]  # alone it is the set


def test_kernelgan_gives_sane_kernels_by_seed():
    picture = spoil(scenes(1)[0], even_kernel(2.4, 1.6, 30)).astype(np.float32) / 255
    kernels, notes = estimate_kernelgan([picture, picture, picture], 4, seed=1, most=2, steps=30)
    assert kernels.shape == (3, 32, 32) and torch.equal(kernels[0], kernels[1])
    torch.testing.assert_close(kernels.sum((1, 2)), torch.ones(3))
    assert measure_kernel(kernels[0])[1].abs().max() < 0.05
    assert any("do not recommend it for noisy or small" in note for note in notes)
    assert any("2 of 3 pictures" in note for note in notes)
    assert torch.equal(kernels, estimate_kernelgan([picture] * 3, 4, seed=1, most=2, steps=30)[0])


def test_the_x4_kernel_of_kernelgan_follows_from_the_x2_kernel():
    """Reducing twice adds variances: that of x2, and four times that of x2."""
    kernel = torch.zeros(13, 13)
    kernel[4:9, 4:9] = torch.outer(*(torch.tensor([1.0, 4, 6, 4, 1]) / 16,) * 2)  # variance 1 along both axes
    shape, centre = measure_kernel(expand_kernel(kernel, 4))
    assert shape.major == pytest.approx(math.sqrt(5), rel=0.01) and centre.abs().max() < 0.02
    assert measure_kernel(expand_kernel(kernel, 2))[0].major == pytest.approx(1, rel=0.05)


# What cannot be learnt


def save(folder, *pictures):
    folder.mkdir(exist_ok=True)
    for i, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


def test_one_picture_is_enough_and_said_so(tmp_path):
    folder = save(tmp_path / "one", spoil(scenes(1)[0], even_kernel(2.4, 1.6, 30), 4.0))
    for source in (folder, folder / "0.png"):
        bank = learn_bank(source)
        assert len(bank.kernels) == 1
        assert any("one picture only" in note for note in bank.report["notes"])
        assert bank.degrade(torch.rand(2, 3, 64, 64), 4, torch.Generator().manual_seed(0)).isfinite().all()


def test_pictures_of_nothing_but_noise(tmp_path):
    rng = np.random.default_rng(0)
    noise = [rng.normal(128, 30, (96, 128, 3)).clip(0, 255).astype(np.uint8) for _ in range(4)]
    with pytest.raises(
        ImageError, match="no blur kernel could be estimated from 4 pictures.*no detail above the noise"
    ):
        learn_bank(save(tmp_path / "noise", *noise))


def test_pictures_of_one_colour(tmp_path):
    flat = [np.full((96, 128, 3), level, np.uint8) for level in (0, 90, 255)]
    with pytest.raises(ImageError, match="no blur kernel could be estimated"):
        learn_bank(save(tmp_path / "flat", *flat))


def test_pictures_smaller_than_the_kernel(tmp_path):
    small = [spoil(draw_scene(seed, (96, 80)), even_kernel(2, 2)) for seed in range(2)]
    with pytest.raises(ImageError, match=r"none of the pictures .* can be used \(2 too small\); sides of 32 px"):
        learn_bank(save(tmp_path / "small", *small))
    folder = save(tmp_path / "some", *small, *(spoil(draw_scene(s), even_kernel(2, 2), 3) for s in range(3)))
    bank = learn_bank(folder)
    assert len(bank.kernels) == 3 and bank.report["skipped"] == {"too small": 2}


def test_pictures_without_a_smooth_region(tmp_path):
    """Texture everywhere: the noise is bounded by the finest detail, and the bank says so."""
    rng = np.random.default_rng(0)
    pictures = []
    for _ in range(4):
        frequency = np.hypot(np.fft.fftfreq(96)[:, None], np.fft.fftfreq(128))
        spectrum = np.fft.fft2(rng.normal(size=(96, 128))) / np.maximum(frequency, 0.01) ** 2.5
        texture = np.fft.ifft2(spectrum).real
        gray = 128 + 45 * texture / texture.std()
        pictures.append(np.repeat(gray.clip(1, 254).astype(np.uint8)[..., None], 3, 2))
    bank = learn_bank(save(tmp_path / "texture", *pictures))
    assert any("No smooth region was found" in note for note in bank.report["notes"])
    assert (bank.noise.levels * 255).max() < 5


def test_folders_that_hold_no_pictures(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="holds no pictures.*Give a folder of LR pictures"):
        learn_bank(tmp_path / "empty")
    with pytest.raises(ImageError, match="no/where.*is not there"):
        learn_bank("no/where")
    (tmp_path / "empty" / "a.png").write_bytes(b"this is text")
    with pytest.raises(ImageError, match="1 unreadable"):
        learn_bank(tmp_path / "empty")


def test_what_a_bank_was_not_learnt_from_is_counted_and_told(tmp_path, monkeypatch):
    folder = write_camera(tmp_path / "lr", count=6)
    whole = (folder / "0.png").read_bytes()
    (folder / "0.png").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (128, 96), "gray").save(folder / "5.png")  # nothing by which to see a blur
    monkeypatch.setattr("ssg_hub.degradation.learning.pictures.MOST_PICTURES", 5)
    bank = learn_bank(folder)
    assert bank.report["skipped"] == {"unreadable": 1}
    assert bank.describe().splitlines()[4:7] == [
        "note: Of the 6 pictures 5 were looked at, evenly spread.",
        "note: Left out: 1 unreadable.",
        "note: No kernel could be estimated from 1 of 4 pictures (1 no detail above the noise): those of others take "
        "their place.",
    ]


def test_sixteen_bits_gray_and_alpha_are_read(tmp_path):
    pixels = spoil(scenes(1)[0], even_kernel(2, 2))
    Image.fromarray(pixels[..., 0]).save(tmp_path / "gray.png")
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(np.dstack((pixels, pixels[..., :1]))).save(tmp_path / "alpha.png")
    read = dict(zip((p := read_pictures(tmp_path)).names, p.pixels, strict=True))
    assert np.array_equal(read["gray.png"], read["deep.png"]) and np.array_equal(read["alpha.png"], pixels)


def test_impossible_requests(camera, tmp_path):
    with pytest.raises(ConfigError, match="unknown kernel estimator 'magic'; choose one of parametric, kernelgan"):
        learn_bank(camera, method="magic")
    for share in (-0.1, 1.5, float("nan")):
        with pytest.raises(ConfigError, match=f"generic_share is {share}; it must be a number from 0 to 1"):
            learn_bank(camera, generic_share=share)
    with pytest.raises(ConfigError, match="scale 3"):
        learn_bank(camera, scale=3)
    with pytest.raises(ConfigError, match="scale 1 reduces nothing. Use method parametric"):
        learn_bank(camera, scale=1, method="kernelgan")
    with pytest.raises(ImageError, match="holds 0 sharp pictures of at least 256 px; 20 are needed"):
        learn_bank(camera, clean=camera)
