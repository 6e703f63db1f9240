"""SPAN: what its convolutions amount to, against the published definition; published files in every dress."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ssg_hub.errors import CheckpointError, ConfigError
from ssg_hub.model import SSGModel
from ssg_hub.networks.published import read_generator
from ssg_hub.networks.registry import build_generator
from ssg_hub.networks.span import SPAN, Conv3XC


def slow_conv(layer: Conv3XC, x: torch.Tensor) -> torch.Tensor:
    """The four layers one after the other, as the network was trained: zeros around the input, then no padding."""
    return layer.conv(F.pad(x, (1, 1, 1, 1))) + layer.sk(x)


def slow_span(network: SPAN, lr: torch.Tensor) -> torch.Tensor:
    """The paper's figure 2 with `slow_conv`, written out."""
    mean = torch.tensor([0.4488, 0.4371, 0.4040]).view(1, 3, 1, 1)
    x = (lr - mean) * 255 if network.options["norm"] else lr
    first = x = slow_conv(network.conv_1, x)
    outputs, inner = [], []
    for block in (network.block_1, network.block_2, network.block_3, network.block_4, network.block_5, network.block_6):
        c1 = F.silu(slow_conv(block.c1_r, x))
        c3 = slow_conv(block.c3_r, F.silu(slow_conv(block.c2_r, c1)))
        x = (c3 + x) * (torch.sigmoid(c3) - 0.5)
        outputs.append(x)
        inner.append(c1)
    x = slow_conv(network.conv_2, outputs[5])
    joined = network.conv_cat(torch.cat([first, x, outputs[0], inner[5]], 1))
    return F.pixel_shuffle(network.upsampler[0](joined), network.scale)


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_fused_path_is_the_training_path(norm, scale):
    torch.manual_seed(0)
    network = SPAN(8, scale, norm).double()
    lr = torch.rand(2, 3, 11, 7).double()
    torch.testing.assert_close(network(lr), slow_span(network, lr), rtol=1e-9, atol=1e-9)
    assert torch.equal(network.train()(lr), network.eval()(lr))


def test_gradients_are_those_of_the_training_path():
    torch.manual_seed(0)
    layer, x = Conv3XC(5, 7), torch.rand(2, 5, 6, 9)
    parameters = list(layer.parameters())
    weight = torch.rand(2, 7, 6, 9)
    fast = torch.autograd.grad((layer(x) * weight).sum(), parameters)
    slow = torch.autograd.grad((slow_conv(layer, x) * weight).sum(), parameters)
    for got, expected in zip(fast, slow, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_close(dtype):
    torch.manual_seed(0)
    network, lr = SPAN(8), torch.rand(1, 3, 8, 8)
    expected = network(lr)
    got = network.to(dtype)(lr.to(dtype)).float()
    assert (got - expected).abs().max() < 0.05 * expected.abs().max()


def test_context_is_how_far_a_pixel_of_sr_reaches():
    network = SPAN(4, 2).double()
    for parameter in network.parameters():
        parameter.data = parameter.data.abs() * 0.1 + 0.01
    lr = torch.rand(1, 3, 61, 61, dtype=torch.float64, requires_grad=True)
    network(lr)[..., 60:62, 60:62].sum().backward()
    columns = lr.grad.abs().sum((0, 1, 2)).nonzero().flatten()
    assert (int(columns.min()), int(columns.max())) == (30 - network.context, 30 + network.context)


def published(network: SPAN) -> dict:
    """As the authors' code and its descendants save it: with fused kernels beside the layers, stale ones here."""
    state = dict(network.state_dict())
    for name, layer in network.named_modules():
        if isinstance(layer, Conv3XC):
            stale = nn.Conv2d(layer.sk.in_channels, layer.sk.out_channels, 3)
            state |= {f"{name}.eval_conv.weight": stale.weight, f"{name}.eval_conv.bias": stale.bias}
    return state if network.options["norm"] else state | {"no_norm": torch.zeros(1)}


# Names and shapes of the authors' spanx4_ch48, a few of each kind, as their code makes them.
PUBLISHED_SHAPES = {
    "conv_1.sk.weight": (48, 3, 1, 1),
    "conv_1.conv.0.weight": (6, 3, 1, 1),
    "conv_1.conv.1.weight": (96, 6, 3, 3),
    "conv_1.conv.2.weight": (48, 96, 1, 1),
    "conv_1.eval_conv.weight": (48, 3, 3, 3),
    "block_6.c3_r.conv.1.weight": (96, 96, 3, 3),
    "block_6.c3_r.eval_conv.bias": (48,),
    "conv_cat.weight": (48, 192, 1, 1),
    "conv_2.conv.0.bias": (96,),
    "upsampler.0.weight": (48, 48, 3, 3),
}


def test_names_and_shapes_are_the_published_ones():
    state = published(SPAN())
    assert {name: tuple(state[name].shape) for name in PUBLISHED_SHAPES} == PUBLISHED_SHAPES
    assert len(state) == 20 * 10 + 4


@pytest.mark.parametrize("options", [{"features": 12}, {"features": 8, "scale": 2}, {"features": 8, "norm": False}])
@pytest.mark.parametrize("dress", ["plain", "params_ema", "module"])
def test_published_weights_round_trip(tmp_path, options, dress):
    torch.manual_seed(0)
    network = build_generator("span", options).eval()
    state = published(network)
    state = {"params_ema": state} if dress == "params_ema" else state
    if dress == "module":
        state = {f"module.{name}": tensor for name, tensor in state.items()}
    torch.save(state, tmp_path / "span.pth")
    generator_type, config, loaded = read_generator(tmp_path / "span.pth")
    assert (generator_type, config) == ("span", {"features": 48, "scale": 4, "norm": True} | options)
    model = SSGModel.from_components("compact", generator_config={"features": 4, "convs": 0})
    model.load_generator(tmp_path / "span.pth")
    model.save_pretrained(tmp_path / "model")
    again = SSGModel.from_pretrained(tmp_path / "model")
    lr = torch.rand(1, 3, 8, 8)
    assert torch.equal(again(lr).sample, network(lr)) and loaded.keys() == network.state_dict().keys()


def test_what_cannot_be_used_is_told(tmp_path):
    state = published(SPAN(8))
    torch.save(state | {"conv_1.sk.weight": torch.zeros(8, 1, 1, 1)}, tmp_path / "gray.pth")
    with pytest.raises(CheckpointError, match="SPAN from 1 to 48 channels.*only RGB"):
        read_generator(tmp_path / "gray.pth")
    torch.save(state | {"block_7.c1_r.sk.weight": torch.zeros(8, 8, 1, 1)}, tmp_path / "more.pth")
    with pytest.raises(CheckpointError, match="block_7.c1_r.sk.weight"):
        read_generator(tmp_path / "more.pth")
    with pytest.raises(ConfigError, match="norm 1; it is defined for False and True"):
        build_generator("span", {"norm": 1})
