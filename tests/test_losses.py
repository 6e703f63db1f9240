"""Each term of the objective against a value computed by hand or by autograd."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator

from ssg_hub.errors import ConfigError
from ssg_hub.networks.discriminators import build_discriminator
from ssg_hub.training.balance import GradientBalance
from ssg_hub.training.batches import sharpened, with_grain
from ssg_hub.training.losses import (
    PerceptualLoss,
    artifact_loss,
    deceive_loss,
    guide_feature_loss,
    low_pass_consistency,
    mesh_loss,
    real_fake_loss,
    unevenness,
)
from ssg_hub.training.segmentation import class_weights, lovasz_loss, pseudo_labels, random_view, segmentation_loss


def test_segmentation_loss_by_hand():
    """Two classes, one pixel of each and a void one; log-odds of 0 and of ln 3."""
    logits = torch.tensor([[[[0.0, math.log(3.0), 9.0]], [[0.0, 0.0, -9.0]]]])
    labels = torch.tensor([[[0, 1, 7]]])
    by_hand = (-math.log(1 / 2) - math.log(1 / 4)) / 2
    assert segmentation_loss(logits, labels, 7).item() == pytest.approx(by_hand, rel=1e-6)
    weights = torch.tensor([1.0, 3.0])
    weighted = (-math.log(1 / 2) - 3 * math.log(1 / 4)) / 4
    assert segmentation_loss(logits, labels, 7, weights).item() == pytest.approx(weighted, rel=1e-6)


def test_segmentation_loss_of_void_alone_is_zero_with_a_gradient():
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = segmentation_loss(logits, torch.full((1, 8, 8), 255), 255)
    loss.backward()
    assert loss.item() == 0 and logits.grad.abs().sum() == 0


def test_lovasz_loss_of_hard_answers_is_what_the_classes_lack_of_an_iou_of_1():
    """It is the Jaccard loss there, over the classes that the labels hold; void pixels and odd ones do not count."""
    generator = torch.Generator().manual_seed(0)
    labels, answers = (torch.randint(0, 3, (2, 16, 16), generator=generator) for _ in range(2))
    labels[:, :4] = 9
    seen, said = labels[:, ::2, ::2], answers[:, ::2, ::2]
    counted = seen != 9
    ious = [((said == k) & (seen == k)).sum() / (counted & ((said == k) | (seen == k))).sum() for k in range(3)]
    hard, right = (1000 * F.one_hot(ids, 10).movedim(-1, 1).float() for ids in (said, seen))
    assert lovasz_loss(hard, labels, 9).item() == pytest.approx(1 - sum(ious).item() / 3, rel=1e-5)
    assert lovasz_loss(right, labels, 9).item() == pytest.approx(0, abs=1e-6)


def test_lovasz_loss_by_hand():
    """Four pixels, the second of class 1; the errors of both classes are 0.7, 0.4, 0.2, 0.1, sorted already.

    With each further pixel taken as wrong, class 1 lacks 1/2, 1, 1, 1 of its IoU and class 0 1/3, 1/2, 3/4, 1.
    """
    shares = torch.tensor([0.7, 0.6, 0.2, 0.1])
    logits = torch.stack((torch.zeros(4), (shares / (1 - shares)).log())).view(1, 2, 4, 1)
    labels = torch.tensor([0, 1, 0, 0]).repeat_interleave(2).view(1, 8, 1)
    by_hand = (0.7 / 2 + 0.4 / 2) + (0.7 / 3 + 0.4 / 6 + 0.2 / 4 + 0.1 / 4)
    assert lovasz_loss(logits, labels, 9).item() == pytest.approx(by_hand / 2, rel=1e-6)


def test_lovasz_loss_of_void_alone_is_zero_with_a_gradient():
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = lovasz_loss(logits, torch.full((1, 8, 8), 255), 255)
    loss.backward()
    assert loss.item() == 0 and logits.grad.abs().sum() == 0


@pytest.fixture
def noise():
    return torch.rand(1, 3, 130, 130, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("moved", [0, 1, 3])
def test_a_mesh_is_unevenness_wherever_the_grid_begins(noise, moved):
    """A pixel in sixteen with twice the contrast; and rows that have it, which people see as dashes."""
    plain = unevenness(noise, 4)
    for pattern in ((slice(None, None, 4), slice(None, None, 4)), (slice(None, None, 4), slice(None))):
        meshed = noise.clone()
        meshed[..., pattern[0], pattern[1]] = 0.5 + 2 * (meshed[..., pattern[0], pattern[1]] - 0.5)
        meshed = meshed[..., moved:, moved:]
        assert unevenness(meshed, 4).mean() > 2 * plain.mean()
        assert mesh_loss(meshed, noise[..., moved:, moved:], 4) > 0.5 * plain.mean()


def test_a_checkerboard_is_a_mesh_though_its_detail_has_one_size(noise):
    board = 0.1 * torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(65, 65)
    weak, colors = 0.5 + 0.2 * (noise - 0.5), torch.tensor([2.0, -1.0, -1.0]).view(3, 1, 1)
    for mesh in (board, board * colors):  # the second has no gray
        assert unevenness(weak + mesh, 4).mean() > 10 * unevenness(weak, 4).mean()


def test_the_mesh_loss_is_not_paid_with_detail_that_is_added_everywhere(noise):
    """A term that is lower where detail is added everywhere would be paid with a lattice."""
    meshed = noise.clone()
    meshed[..., ::4, ::4] = 0.5 + 2 * (meshed[..., ::4, ::4] - 0.5)
    meshed.requires_grad_(True)
    mesh_loss(meshed, noise * 0 + 0.5, 4).backward()
    detail = (meshed - 0.5).detach()
    step = meshed.grad * detail  # > 0: descent weakens the contrast there
    assert step[..., ::4, ::4].mean() > 0 and step.mean() > 0
    shrunk = [mesh_loss(0.5 + factor * detail, noise * 0 + 0.5, 4) for factor in (1, 2)]
    assert shrunk[0] == pytest.approx(float(shrunk[1]), rel=0.05)  # the measure itself knows no contrast


def test_the_mesh_loss_wants_no_less_than_hr_has(noise):
    plain = noise.mean((-2, -1), keepdim=True).expand_as(noise)
    assert mesh_loss(noise, noise, 4) == 0 and mesh_loss(plain, noise, 4) == 0
    assert mesh_loss(noise, noise.flip(-1), 1) == 0  # without enlarging there is no grid
    assert torch.isfinite(mesh_loss(noise[..., :16, :16], noise[..., 16:32, :16], 4))


def test_the_mesh_loss_takes_a_mesh_away(noise):
    sr = (0.5 + 0.02 * (noise - 0.5) + torch.tensor([0.05, 0.0, 0.0, 0.0]).repeat(33)[:130]).requires_grad_(True)
    before = mesh_loss(sr, noise, 4)
    (gradient,) = torch.autograd.grad(before, sr)
    after = mesh_loss(sr - 0.5 * before / gradient.square().sum() * gradient, noise, 4)
    assert after < before


def test_low_pass_consistency_ignores_detail_but_not_colour():
    lr = torch.rand(1, 3, 8, 8)
    sr = lr.repeat_interleave(4, -1).repeat_interleave(4, -2)
    detail = torch.tensor([0.1, -0.1]).repeat(16)
    assert low_pass_consistency(sr + detail, lr).item() == pytest.approx(0, abs=1e-6)
    assert low_pass_consistency(sr + 0.05, lr).item() == pytest.approx(0.05, rel=1e-4)


def test_random_view_moves_picture_and_labels_together():
    labels = torch.randint(0, 5, (6, 32, 32))
    picture = labels.unsqueeze(1).repeat(1, 3, 1, 1).float()
    view, moved = random_view(picture, labels, torch.arange(6), 255)
    seen = moved != 255
    assert torch.equal(view[:, 0][seen], moved[seen].float())
    assert 0.5 < seen.float().mean() < 1
    again = random_view(picture[3:4], labels[3:4], torch.tensor([3]), 255)
    assert torch.equal(again[0][0], view[3])


def test_pseudo_labels_are_void_below_the_threshold():
    class Teacher(torch.nn.Module):
        def forward(self, picture):
            return torch.stack((picture[:, 0] * 8, torch.zeros_like(picture[:, 0])), 1)

    lr = torch.zeros(1, 3, 4, 8)
    lr[..., 4:] = 1
    labels = pseudo_labels(Teacher(), lr, 4, threshold=0.9, void_id=255)
    assert labels.shape == (1, 16, 32)
    assert (labels[..., :12] == 255).all() and (labels[..., 20:] == 0).all()


def test_class_weights_follow_their_formula():
    from datasets import Dataset
    from PIL import Image

    label = Image.new("L", (10, 10), 0)
    label.paste(1, (0, 0, 10, 1))
    label.paste(11, (0, 9, 10, 10))
    table = Dataset.from_dict({"label": [0]}).with_transform(lambda rows: {"label": [label]})
    expected = [1 / math.log(1.02 + 80 / 90), 1 / math.log(1.02 + 10 / 90)]
    assert class_weights(table, 2, void_id=255).tolist() == pytest.approx(expected, rel=1e-6)
    expected = [1 / math.log(1.02), 1 / math.log(2.02)]
    assert class_weights(table, 2, void_id=0).tolist() == pytest.approx(expected, rel=1e-6)
    assert class_weights(table, 2, 0, power=0.5).tolist() == pytest.approx([value**0.5 for value in expected], rel=1e-6)
    assert class_weights(table, 2, 0, power=0).tolist() == [1, 1]


def test_adversarial_losses_by_hand():
    real, fake = torch.tensor([[0.0, 2.0]]), torch.tensor([[-1.0]])
    all_judged = torch.ones(1)
    by_hand = (math.log(2) + math.log(1 + math.exp(-2))) / 2 + math.log(1 + math.exp(-1))
    assert real_fake_loss(real, fake, all_judged).item() == pytest.approx(by_hand / 2, rel=1e-6)
    assert deceive_loss(fake, all_judged).item() == pytest.approx(math.log(1 + math.exp(1)), rel=1e-6)


def test_a_picture_that_is_not_judged_adds_nothing_to_the_adversarial_losses():
    real, fake = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4, requires_grad=True)
    first, one = torch.tensor([1.0, 0.0]), torch.ones(1)
    for both, alone in (
        (deceive_loss(fake, first), deceive_loss(fake[:1], one)),
        (real_fake_loss(real, fake, first), real_fake_loss(real[:1], fake[:1], one)),
    ):
        assert both.item() == pytest.approx(alone.item() / 2, rel=1e-6)
    (gradient,) = torch.autograd.grad(deceive_loss(fake, first), fake)
    assert gradient[0].abs().sum() > 0 and gradient[1].abs().sum() == 0


def test_perceptual_loss_by_hand(tmp_path):
    """VGG16 with random weights, its taps recomputed with plain functions; and zero for equal pictures."""
    from tiny_run import make_data

    weights = make_data(tmp_path, pictures=1) / "vgg.safetensors"
    loss = PerceptualLoss(weights)
    sr, hr = torch.rand(2, 3, 16, 16, requires_grad=True), torch.rand(2, 3, 16, 16)

    def taps(x):
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        x = (x - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
        found = []
        for index, layer in enumerate(loss.features.layers):
            x = F.relu(x) if index in (1, 3, 6, 8, 11, 13, 15) else layer(x)
            if index in (3, 8, 15):
                found.append(x)
        return found

    per_sample = [
        torch.stack([(a[i] - b[i]).abs().mean() / b[i].abs().mean() for a, b in zip(taps(sr), taps(hr), strict=True)])
        for i in range(2)
    ]
    value = loss(sr, hr)
    assert value.item() == pytest.approx(torch.stack(per_sample).mean().item(), rel=1e-5)
    assert loss(hr, hr).item() == 0
    value.backward()
    assert sr.grad.abs().sum() > 0 and all(parameter.grad is None for parameter in loss.parameters())


def test_balance_against_autograd():
    layer = torch.nn.Linear(3, 2)
    x = torch.randn(5, 3)
    others, guide = layer(x).square().mean(), layer(x).abs().mean() * 7
    gradients = [torch.autograd.grad(loss, layer.weight, retain_graph=True)[0] for loss in (others, guide)]
    expected = 0.5 * gradients[0].norm() / gradients[1].norm()
    balance = GradientBalance(Accelerator(cpu=True), layer.weight, share=0.5, every=16)
    assert balance(others, guide, step=0) == pytest.approx(expected.item(), rel=1e-5)
    assert balance(others * 100, guide, step=15) == pytest.approx(expected.item(), rel=1e-5)  # not refreshed yet
    assert balance(others * 100, guide, step=16) == pytest.approx(min(100 * expected.item(), 10), rel=1e-5)
    assert balance(others, guide * 0, step=32) == 10  # clamped
    assert GradientBalance(Accelerator(cpu=True), layer.weight, fixed=0.3)(others, guide, 0) == 0.3


@pytest.mark.parametrize("kind", ["unet", "patch"])
def test_discriminators_judge_places(kind):
    network = build_discriminator(kind, 8)
    verdict = network(torch.rand(2, 3, 64, 96))
    assert verdict.shape == ((2, 1, 64, 96) if kind == "unet" else (2, 1, 8, 12))
    assert not [layer for layer in network.modules() if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm)]
    with pytest.raises(ConfigError, match="vgg"):
        build_discriminator("vgg", 8)


def test_kept_grain_is_the_noise_of_lr_enlarged():
    hr, grain = (
        torch.full((1, 3, 32, 32), 0.5),
        torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)) / 50,
    )
    assert with_grain(hr, grain, 0.0) is hr
    kept = with_grain(hr, grain, 0.5) - hr
    # reduced again by the mean of 4x4 pixels, half of the noise is there, and nothing of it is shifted
    reduced = F.avg_pool2d(kept, 4)
    overlap = (reduced * grain).sum() / grain.square().sum()
    shifted = (reduced[..., 1:] * grain[..., :-1]).sum() / grain.square().sum()
    assert 0.35 < overlap < 0.5 and abs(shifted) < 0.15
    assert with_grain(hr + 0.5, grain.abs(), 1.0).max() == 1


def test_artifact_loss_by_hand():
    """One channel's error is a checkerboard in one half: the loss from variances by numpy, window by window."""
    generator = torch.Generator().manual_seed(0)
    hr = torch.rand(1, 3, 20, 24, generator=generator) * 0.5 + 0.25
    sr = hr + 0.1 * torch.randn(1, 3, 20, 24, generator=generator)
    average = hr + 0.1 * torch.randn(1, 3, 20, 24, generator=generator)
    error, steady = ((picture - hr).abs().sum(1)[0].numpy() for picture in (sr, average))
    padded = np.pad(error, 3, mode="reflect")
    local = np.array([[padded[i : i + 7, j : j + 7].var(ddof=1) for j in range(24)] for i in range(20)])
    weight = error.var(ddof=1) ** 0.2 * local * (error >= steady)
    expected = (weight * (sr - hr).abs()[0].numpy()).mean()
    sr.requires_grad_()
    loss = artifact_loss(sr, hr, average)
    assert loss.item() == pytest.approx(expected, rel=1e-4) and 0 < (weight == 0).mean() < 1
    loss.backward()
    assert torch.equal(sr.grad[0, 0] != 0, torch.from_numpy(weight > 0))  # no gradient through the map itself
    assert artifact_loss(hr, hr, average).item() == 0


def test_artifacts_weigh_more_than_blur():
    """The same mean error, once even and once as texture."""
    hr = torch.full((1, 3, 32, 32), 0.5)
    texture = 0.1 * (torch.arange(32) % 2).float().expand(1, 3, 32, 32)
    assert artifact_loss(hr + texture, hr, hr) > 10 * artifact_loss(hr + 0.05, hr, hr)


class Edges(torch.nn.Module):
    """A guide whose features are the picture and its horizontal differences."""

    def features(self, picture):
        return [picture, picture[..., 1:] - picture[..., :-1]]


def test_guide_feature_loss_by_hand():
    sr, hr = torch.zeros(1, 1, 2, 2), torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])
    assert guide_feature_loss(Edges(), hr, hr).item() == 0
    # every map is missed by as much as it holds
    assert guide_feature_loss(Edges(), sr, hr).item() == pytest.approx(1.0)
    half = torch.tensor([[[[0.0, 0.5], [0.0, 0.5]]]], requires_grad=True)
    loss = guide_feature_loss(Edges(), half, hr)
    loss.backward()
    assert loss.item() == pytest.approx(0.5) and half.grad.abs().sum() > 0


def test_sharpened_hr_is_an_unsharp_mask():
    """Against scipy's Gaussian of OpenCV's width for 51 pixels, away from the border."""
    from scipy.ndimage import correlate1d

    step = torch.zeros(1, 3, 128, 128)
    step[..., 64:] = 0.6
    picture = step + 0.2
    line = np.exp(-((np.arange(-25, 26) / 8.0) ** 2) / 2)
    line /= line.sum()

    def blur(x):
        return correlate1d(correlate1d(x, line, axis=0, mode="mirror"), line, axis=1, mode="mirror")

    plane = picture[0, 0].double().numpy()
    detail = plane - blur(plane)
    share = blur((np.abs(detail) > 10 / 255).astype(float))
    expected = plane + share * (np.clip(plane + 0.5 * detail, 0, 1) - plane)
    assert np.abs(sharpened(picture, 0.5)[0, 0].numpy() - expected).max() < 1e-4
    assert sharpened(picture, 0) is picture
    assert torch.allclose(sharpened(picture, 0.5)[..., :8], picture[..., :8], atol=1e-3)  # flat areas stay
    assert sharpened(torch.rand(1, 3, 16, 16), 0.5).shape == (1, 3, 16, 16)  # smaller than the Gaussian


def test_the_semantic_discriminator_begins_as_one_that_knows_nothing():
    network = build_discriminator("semantic", 8, semantics=5)
    picture = torch.rand(2, 3, 32, 48)
    maps = [torch.randn(2, 5, 4, 6) for _ in range(2)]
    verdicts = [network(picture, known) for known in maps]
    assert verdicts[0].shape == (2, 1, 4, 6) and torch.equal(*verdicts)
    verdicts[0].sum().backward()
    assert network.modulate.weight.grad.abs().sum() > 0
    torch.nn.init.normal_(network.modulate.weight)
    assert not torch.equal(network(picture, maps[0]), network(picture, maps[1]))
