"""Every metric against an outside oracle: scikit-image, scipy, published values, or figures worked out by hand."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import distance_transform_edt
from skimage.color import deltaE_cie76, rgb2lab, rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from ssg_hub.errors import CheckpointError, ConfigError, ImageError
from ssg_hub.evaluation import metrics
from ssg_hub.evaluation.segmentation_metrics import (
    boundary_f,
    class_iou,
    confusion_matrix,
    drift_auroc,
    drift_histograms,
    mean_iou,
)

VOID = 11


def noisy_pair(height=41, width=53, seed=0):
    random = np.random.default_rng(seed)
    hr = random.random((2, height, width, 3)).astype(np.float32)
    sr = np.clip(hr + random.normal(0, 0.1, hr.shape), 0, 1).astype(np.float32)
    return sr, hr


def to_tensor(pictures):
    return torch.from_numpy(pictures).permute(0, 3, 1, 2)


def load(path):
    return to_tensor(np.array(Image.open(path).convert("RGB"), np.float32)[None] / 255)


@pytest.mark.parametrize("border", [0, 4])
def test_psnr_y_equals_scikit_image(border):
    sr, hr = noisy_pair()
    inside = slice(border, -border or None)
    expected = [
        peak_signal_noise_ratio(
            *(rgb2ycbcr(picture)[inside, inside, 0] for picture in (true, estimate)), data_range=255
        )
        for estimate, true in zip(sr, hr, strict=True)
    ]
    assert metrics.psnr_y(to_tensor(sr), to_tensor(hr), border).tolist() == pytest.approx(expected, abs=1e-3)


def test_luma_runs_from_16_to_235():
    black_and_white = torch.stack([torch.zeros(3, 2, 2), torch.ones(3, 2, 2)])
    assert metrics.luma(black_and_white)[:, 0, 0, 0].tolist() == pytest.approx([16, 235], abs=1e-3)


@pytest.mark.parametrize("border", [0, 4])
def test_ssim_y_equals_scikit_image(border):
    sr, hr = noisy_pair()
    inside = slice(border, -border or None)
    expected = [
        structural_similarity(
            *(rgb2ycbcr(picture)[inside, inside, 0] for picture in (estimate, true)),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=255,
        )
        for estimate, true in zip(sr, hr, strict=True)
    ]
    assert metrics.ssim_y(to_tensor(sr), to_tensor(hr), border).tolist() == pytest.approx(expected, abs=1e-4)


def test_equal_pictures():
    picture = to_tensor(noisy_pair()[1])
    assert metrics.psnr_y(picture, picture).tolist() == [math.inf] * 2
    assert metrics.ssim_y(picture, picture).tolist() == pytest.approx([1, 1])
    assert metrics.color_drift(picture, picture).tolist() == [0, 0]


@pytest.mark.parametrize("metric", [metrics.psnr_y, metrics.ssim_y])
def test_pictures_that_cannot_be_compared(metric):
    with pytest.raises(ImageError, match=r"\(1, 3, 20, 20\) and \(1, 3, 20, 21\)"):
        metric(torch.zeros(1, 3, 20, 20), torch.zeros(1, 3, 20, 21))
    with pytest.raises(ImageError, match="8x8 with a border of 4"):
        metric(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8), border=4)


def test_lpips_gives_the_published_values(shared):
    """The two pairs of the LPIPS repository, and the distances that its README prints for them."""
    weights = shared / "weights"
    lpips = metrics.LPIPS.from_files(weights / "alexnet_features.safetensors")
    reference, *others = (load(weights / f"lpips_pairs/ex_{name}.png") for name in ("ref", "p0", "p1"))
    distances = lpips(torch.cat(others), reference.expand(2, -1, -1, -1))
    assert distances.tolist() == pytest.approx([0.722, 0.138], abs=5e-4)


def alexnet_files(folder, drop=()):
    """Random weights in the originals' key names: torchvision's AlexNet, classifier and all, and LPIPS' own heads."""
    generator = torch.Generator().manual_seed(0)
    network = metrics.LPIPS()
    features = {
        name: torch.randn(tensor.shape, generator=generator) * 0.05
        for name, tensor in network.state_dict().items()
        if name.startswith("features.")
    }
    features["classifier.1.weight"] = torch.zeros(3, 3)
    heads = {
        f"lin{index}.model.1.weight": torch.rand(head.shape, generator=generator)
        for index, head in enumerate(network.heads)
    }
    paths = folder / "alexnet-owt.pth", folder / "alex.pth"
    for path, tensors in zip(paths, (features, heads), strict=True):
        torch.save({name: tensor for name, tensor in tensors.items() if name not in drop}, path)
    return paths


def test_lpips_reads_the_original_pth_files(tmp_path):
    lpips = metrics.LPIPS.from_files(*alexnet_files(tmp_path))
    sr, hr = (to_tensor(picture) for picture in noisy_pair())
    assert (lpips(sr, hr) > 0.001).all()
    assert lpips(hr, hr).tolist() == [0, 0]
    assert not lpips(sr.requires_grad_(), hr).requires_grad


def test_lpips_names_what_is_wrong_with_its_files(tmp_path):
    features, heads = alexnet_files(tmp_path, drop=["features.8.bias"])
    with pytest.raises(CheckpointError, match=r"alexnet-owt\.pth has no layer features\.8\.bias"):
        metrics.LPIPS.from_files(features, heads)
    with pytest.raises(CheckpointError, match="no AlexNet weights at"):
        metrics.LPIPS.from_files(tmp_path / "absent.safetensors", heads)
    for name in ("damaged.safetensors", "damaged.pth"):
        (tmp_path / name).write_bytes(b"not weights")
        with pytest.raises(CheckpointError, match="not a readable file of AlexNet weights"):
            metrics.LPIPS.from_files(tmp_path / name, heads)


def test_lpips_refuses_what_alexnet_cannot_pool(tmp_path):
    lpips = metrics.LPIPS.from_files(*alexnet_files(tmp_path))
    lpips(torch.zeros(1, 3, 31, 31), torch.zeros(1, 3, 31, 31))
    with pytest.raises(ImageError, match="31 pixels must remain"):
        lpips(torch.zeros(1, 3, 30, 31), torch.zeros(1, 3, 30, 31))


def test_color_drift_equals_scikit_image():
    """On flat blocks the mean colours are the colours, and CIE76 is known from outside."""
    random = np.random.default_rng(0)
    sr, hr = (random.random((2, 3, 4, 3)).astype(np.float32) for _ in range(2))
    expected = deltaE_cie76(rgb2lab(sr), rgb2lab(hr)).mean((1, 2))
    blocks = [to_tensor(picture.repeat(16, 1).repeat(16, 2)) for picture in (sr, hr)]
    assert metrics.color_drift(*blocks).tolist() == pytest.approx(expected, abs=0.01)


def test_color_drift_sees_no_detail_but_takes_a_reference_of_any_size():
    low = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    high = low.repeat_interleave(4, 2).repeat_interleave(4, 3)
    detail = 0.05 * (-1) ** torch.arange(32.0).view(1, 1, 1, 32)
    assert metrics.color_drift((high * 0.8 + 0.1 + detail), low * 0.8 + 0.1).item() == pytest.approx(0, abs=1e-2)
    assert metrics.color_drift(high * 0.8 + 0.1, low * 0.8).item() > 5


def test_iou_by_hand():
    """Three classes, and a fourth that nobody has; the void pixel, wrong as it is, does not count."""
    labels = torch.tensor([[[0, 0, 1, VOID], [0, 1, 1, 2]]])
    prediction = torch.tensor([[[0, 1, 1, 2], [0, 1, 0, 2]]])
    confusion = confusion_matrix(prediction, labels, 4)
    assert confusion.tolist() == [[2, 1, 0, 0], [1, 2, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert class_iou(confusion).tolist() == pytest.approx([2 / 4, 2 / 4, 1, math.nan], nan_ok=True)
    assert mean_iou(confusion) == pytest.approx((0.5 + 0.5 + 1) / 3)


def test_a_class_that_is_only_predicted_counts_as_zero():
    confusion = confusion_matrix(torch.tensor([[[0, 1]]]), torch.tensor([[[0, 0]]]), 3)
    assert mean_iou(confusion) == pytest.approx((1 / 2 + 0) / 2)


def test_confusion_matrix_refuses_what_cannot_be_counted():
    with pytest.raises(ConfigError, match="one shape"):
        confusion_matrix(torch.zeros(1, 2, 2, dtype=torch.int64), torch.zeros(1, 2, 3, dtype=torch.int64), 2)
    with pytest.raises(ConfigError, match="0 to 1 exist"):
        confusion_matrix(torch.full((1, 2, 2), 2), torch.zeros(1, 2, 2, dtype=torch.int64), 2)


def disk_oracle(prediction, labels, index, radius):
    """The F-score of one class's boundary by exact Euclidean distances."""
    void = labels == VOID

    def boundary(image, left_out):
        edge = np.zeros(image.shape, bool)
        across = (image[:, 1:] != image[:, :-1]) & ~left_out[:, 1:] & ~left_out[:, :-1]
        down = (image[1:] != image[:-1]) & ~left_out[1:] & ~left_out[:-1]
        edge[:, 1:] |= across
        edge[:, :-1] |= across
        edge[1:] |= down
        edge[:-1] |= down
        return edge & (image == index)

    def near(mask):
        return distance_transform_edt(~mask) <= radius if mask.any() else mask

    predicted, true = boundary(prediction, np.zeros_like(void)), boundary(labels, void)
    counted = predicted & ~near(void)
    precision = (near(true) & counted).sum() / max(1, counted.sum())
    recall = (near(predicted) & true).sum() / max(1, true.sum())
    if not counted.any() and not true.any():
        return math.nan
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def some_labels():
    """Squares of three classes, and the same as a segmenter may read them."""
    labels = np.random.default_rng(0).integers(0, 3, (6, 8)).repeat(16, 0).repeat(16, 1)
    return labels, np.roll(labels, (2, -5), (0, 1))


def half_void(labels):
    return np.arange(labels.shape[1]) >= labels.shape[1] // 2 + np.zeros(labels.shape)


VOIDS = {
    "none": lambda labels: np.zeros(labels.shape, bool),
    "half": half_void,
    "a frame": lambda labels: np.pad(np.zeros((80, 120), bool), ((6, 10), (4, 4)), constant_values=True),
    "speckled": lambda labels: np.random.default_rng(1).random(labels.shape) < 0.003,
    "all but one pixel": lambda labels: np.arange(labels.size).reshape(labels.shape) != 5000,
    "all": lambda labels: np.ones(labels.shape, bool),
}


@pytest.mark.parametrize("void", VOIDS)
def test_boundary_f_equals_distances_by_scipy(void):
    labels, prediction = some_labels()
    labels = np.where(VOIDS[void](labels), VOID, labels)
    tolerance = 0.02
    radius = tolerance * math.hypot(*labels.shape)
    score = boundary_f(torch.from_numpy(prediction)[None], torch.from_numpy(labels)[None], 3, tolerance)
    expected = [disk_oracle(prediction, labels, index, radius) for index in range(3)]
    assert score[0].tolist() == pytest.approx(expected, abs=1e-9, nan_ok=True)
    if void in ("none", "half", "a frame"):
        assert 0.3 < min(expected) < max(expected) < 0.99


@pytest.mark.parametrize("kind", ["half of it void", "a prediction of noise"])
def test_boundary_f_takes_memory_for_the_pixels_and_not_for_their_surroundings(kind):
    """The disk has 509 pixels here; to list them around each pixel took 100 MB and more per index."""
    labels, prediction = (image.repeat(2, 0).repeat(2, 1) for image in some_labels())
    if kind == "half of it void":
        labels = np.where(half_void(labels), VOID, labels)
    else:
        prediction = np.random.default_rng(2).integers(0, 3, labels.shape)
    with torch.profiler.profile(profile_memory=True) as profile:
        boundary_f(torch.from_numpy(prediction)[None], torch.from_numpy(labels)[None], 3, 0.04)
    assert max(event.cpu_memory_usage for event in profile.events()) < 50e6


def test_boundary_f_by_hand():
    """An edge in a 480x360 picture: 4 px off is within 0.75 % of the diagonal (4.5 px), 6 px off is not."""
    labels = torch.zeros(1, 360, 480, dtype=torch.int64)
    labels[..., 240:] = 1
    scores = [boundary_f(labels.roll(shift, 2)[..., 20:460], labels[..., 20:460], 3) for shift in (0, 4, 6)]
    assert [score[0, :2].tolist() for score in scores] == [[1, 1], [1, 1], [0, 0]]
    assert all(score[0, 2].isnan() for score in scores)


def test_boundary_f_forgives_what_is_predicted_on_void():
    labels = torch.zeros(1, 100, 100, dtype=torch.int64)
    labels[..., 50:] = 1
    prediction = labels.clone()
    labels[:, :30, :30] = VOID
    prediction[:, 10:20, 10:20] = 1
    assert boundary_f(prediction, labels, 2)[0].tolist() == [1, 1]
    prediction[:, 70:80, 10:20] = 1
    assert (boundary_f(prediction, labels, 2)[0] < 0.9).all()


def test_drift_auroc_equals_the_share_of_ordered_pairs():
    """The definition, pair by pair, with ties; void left out."""
    generator = torch.Generator().manual_seed(0)
    drift = torch.randint(0, 256, (1, 12, 12), generator=generator) // 16 * 16 / 255
    wrong = torch.rand(1, 12, 12, generator=generator) < 0.2 + 0.5 * drift
    valid = torch.rand(1, 12, 12, generator=generator) < 0.8
    positive, negative = drift[valid & wrong], drift[valid & ~wrong]
    difference = positive[:, None] - negative[None]
    expected = ((difference > 0).double() + 0.5 * (difference == 0).double()).mean().item()
    histograms = drift_histograms(drift, wrong, valid)
    assert drift_auroc(histograms) == pytest.approx(expected)
    assert drift_auroc(histograms * 3) == pytest.approx(expected)
    assert expected > 0.55


def test_drift_auroc_of_a_perfect_and_of_a_mute_drift():
    wrong = torch.tensor([[[True, False, False, True]]])
    assert drift_auroc(drift_histograms(wrong.float(), wrong)) == 1
    assert drift_auroc(drift_histograms(torch.full(wrong.shape, 0.3), wrong)) == 0.5
    assert math.isnan(drift_auroc(drift_histograms(wrong.float(), torch.zeros_like(wrong))))
