"""LPIPS-VGG and DISTS against plain recomputations from their papers, and against what the authors' code gives."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_run import random_heads

from ssg_hub.errors import CheckpointError, ImageError
from ssg_hub.networks.perceptual import DISTS, LPIPSVGG, L2Pool, VGG16Features
from ssg_hub.networks.tensor_files import read_tensors


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return random_heads(tmp_path_factory.mktemp("perceptual"))


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(5)
    return [torch.rand(2, 3, 40, 32, generator=generator) for _ in range(2)]


def hanning_pool(x):
    """Roots of local mean squares, one output at a time."""
    x = F.pad(x.square(), (1, 1, 1, 1))
    line = torch.tensor([0.25, 0.5, 0.25])
    rows = [
        [(x[..., 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] * line.view(-1, 1) * line).sum((-2, -1)) for j in range(width)]
        for i, width in [(i, (x.shape[-1] - 1) // 2) for i in range((x.shape[-2] - 1) // 2)]
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2).sqrt()


def activations(state, picture, pool):
    """The five taps of VGG16, by the layer numbers of torchvision."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x, taps = (picture - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1), []
    for index in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28):
        if index in (5, 10, 17, 24):
            x = pool(x)
        x = F.conv2d(x, state[f"features.{index}.weight"], state[f"features.{index}.bias"], padding=1).relu()
        if index in (2, 7, 14, 21, 28):
            taps.append(x)
    return taps


def test_lpips_equals_its_definition(files, pair):
    vgg, heads = load_file(files["perceptual_weights"]), load_file(files["lpips_heads"])
    taps = [activations(vgg, picture, lambda x: F.max_pool2d(x, 2)) for picture in pair]
    expected = torch.zeros(2)
    for index, (a, b) in enumerate(zip(*taps, strict=True)):
        a, b = (x / x.norm(dim=1, keepdim=True) for x in (a, b))
        weighted = (a - b).square() * heads[f"vgg.lin{index}.model.1.weight"]
        expected += weighted.sum(1).mean((1, 2))
    network = LPIPSVGG(files["lpips_heads"], files["perceptual_weights"])
    assert network(*pair).tolist() == pytest.approx(expected.tolist(), rel=1e-4)


def test_dists_equals_its_definition(files, pair):
    """Equations 6 to 8 of the paper, map by map, with variances from numpy."""
    vgg, heads = load_file(files["perceptual_weights"]), load_file(files["dists_heads"])
    taps = [[picture, *activations(vgg, picture, hanning_pool)] for picture in pair]
    alpha, beta = (heads[name].flatten().double().numpy() for name in ("alpha", "beta"))
    expected, c = [], 1e-6
    for sample in range(2):
        maps = [[channel.double().numpy().ravel() for x in side for channel in x[sample]] for side in taps]
        pairs = list(zip(*maps, strict=True))
        texture = [(2 * a.mean() * b.mean() + c) / (a.mean() ** 2 + b.mean() ** 2 + c) for a, b in pairs]
        structure = [(2 * np.cov(a, b, bias=True)[0, 1] + c) / (a.var() + b.var() + c) for a, b in pairs]
        total = alpha.sum() + beta.sum()
        expected.append(1 - (alpha @ texture + beta @ structure) / total)
    network = DISTS(files["dists_heads"], files["perceptual_weights"])
    assert network(*pair).tolist() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kind", ["lpips", "dists"])
def test_equal_pictures_are_at_zero_and_only_sr_gets_a_gradient(files, pair, kind):
    cls, heads = {"lpips": (LPIPSVGG, "lpips_heads"), "dists": (DISTS, "dists_heads")}[kind]
    network = cls(files[heads], files["perceptual_weights"])
    sr, hr = (picture.clone().requires_grad_() for picture in pair)
    assert network(hr, hr).abs().max() < 1e-5
    network(sr, hr).sum().backward()
    assert sr.grad.abs().sum() > 0 and torch.isfinite(sr.grad).all() and hr.grad is None
    assert not [parameter for parameter in network.parameters() if parameter.requires_grad]
    # a step against the gradient brings the pictures together
    moved = (sr - 0.05 * sr.grad / sr.grad.abs().max()).detach()
    assert (network(moved, hr) < network(sr, hr)).all()


@pytest.mark.parametrize("kind", ["lpips", "dists"])
def test_gradients_stay_finite_on_flat_pictures_and_in_half_precision(files, kind):
    cls, heads = {"lpips": (LPIPSVGG, "lpips_heads"), "dists": (DISTS, "dists_heads")}[kind]
    network = cls(files[heads], files["perceptual_weights"])
    flat = torch.full((1, 3, 32, 32), 0.5, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        network(flat, torch.zeros(1, 3, 32, 32)).sum().backward()
    assert torch.isfinite(flat.grad).all()


def test_l2_pooling_by_hand():
    x = torch.tensor([[[[2.0, 2.0, 2.0], [2.0, 2.0, 2.0], [2.0, 2.0, 2.0]]]])
    # a corner sees 9/16 of the window, the rest is zero
    assert L2Pool(2)(x)[0, 0].flatten().tolist() == pytest.approx([1.5] * 4, rel=1e-6)


def test_weights_that_do_not_serve_are_refused(files, tmp_path, pair):
    heads, vgg = load_file(files["lpips_heads"]), load_file(files["perceptual_weights"])
    broken = {**vgg, "features.0.weight": vgg["features.0.weight"].fill_(float("nan"))}
    files_and_words = {
        "nan": (broken, "not finite, first in features.0.weight"),
        "short": ({"features.0.weight": torch.zeros(64, 3, 3, 3)}, r"no layer 0\.bias"),
        "small": ({**vgg, "features.0.weight": torch.zeros(8, 3, 3, 3)}, r"\(8, 3, 3, 3\), not \(64, 3, 3, 3\)"),
    }
    for name, (state, words) in files_and_words.items():
        save_file(state, tmp_path / f"{name}.safetensors")
        with pytest.raises(CheckpointError, match=words):
            VGG16Features(tmp_path / f"{name}.safetensors")
    with pytest.raises(CheckpointError, match="no VGG16 weights"):
        VGG16Features(tmp_path / "absent.safetensors")
    save_file({name.replace("vgg", "alex"): tensor for name, tensor in heads.items()}, tmp_path / "alex.safetensors")
    with pytest.raises(CheckpointError, match="heads for VGG16"):
        LPIPSVGG(tmp_path / "alex.safetensors", files["perceptual_weights"])
    with pytest.raises(CheckpointError, match="alpha"):
        DISTS(files["lpips_heads"], files["perceptual_weights"])
    (tmp_path / "text.pt").write_text("no weights")
    with pytest.raises(CheckpointError, match="not a readable file of DISTS heads"):
        read_tensors(tmp_path / "text.pt", "DISTS heads")
    for odd in (torch.zeros(2, 2).to_sparse(), torch.zeros(1).expand(10**9), torch.zeros(2, device="meta")):
        torch.save({"alpha": odd}, tmp_path / "odd.pt")
        with pytest.raises(CheckpointError, match="odd.pt is not a readable file of DISTS heads"):
            read_tensors(tmp_path / "odd.pt", "DISTS heads")
    with pytest.raises(ImageError, match="at least 16"):
        DISTS(files["dists_heads"], files["perceptual_weights"])(pair[0][..., :8], pair[1][..., :8])


@pytest.fixture
def published(shared):
    """The authors' pair of distorted pictures and their reference (64x64), and VGG16."""
    folder = shared / "weights"
    pictures = [
        torch.from_numpy(np.array(Image.open(folder / "lpips_pairs" / f"ex_{name}.png").convert("RGB"), np.float32))
        for name in ("p0", "p1", "ref")
    ]
    pictures = [picture.permute(2, 0, 1).unsqueeze(0) / 255 for picture in pictures]
    return folder, pictures


def test_lpips_gives_what_the_authors_network_gives(published):
    """Computed once by the published scaling, taps and heads with plain functions on VGG16 in half precision."""
    folder, (p0, p1, reference) = published
    network = LPIPSVGG(weights=folder / "vgg16_features_fp16.safetensors")
    assert [network(p, reference).item() for p in (p0, p1)] == pytest.approx([0.56860, 0.42165], abs=1e-4)


def test_dists_gives_what_the_authors_code_gives(published):
    """Computed once by DISTS-pytorch 0.1 itself on the same pictures and VGG16 in half precision."""
    folder, (p0, p1, reference) = published
    network = DISTS(weights=folder / "vgg16_features_fp16.safetensors")
    assert [network(p, reference).item() for p in (p0, p1)] == pytest.approx([0.38792, 0.22503], abs=1e-4)
