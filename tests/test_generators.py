"""The generators: sizes, names, options; community weights in every dress; pickles that would run code are refused."""

import pickle
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from standins import small_generators

from ssg_hub.errors import CheckpointError, ConfigError
from ssg_hub.networks.compact import SRVGGNetCompact
from ssg_hub.networks.ncnn import read_ncnn
from ssg_hub.networks.published import read_generator
from ssg_hub.networks.registry import build_generator, check_options, generators
from ssg_hub.networks.rrdb import RRDBNet, keep_blocks

TINY = {"features": 8, "blocks": 2, "growth": 4}
SMALL = small_generators()


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("size", [(1, 1), (7, 10), (16, 12)])
def test_rrdb_takes_any_size(scale, size):
    sr = RRDBNet(**TINY, scale=scale)(torch.rand(2, 3, *size))
    assert sr.shape == (2, 3, scale * size[0], scale * size[1])


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_compact_takes_any_size(scale):
    assert SRVGGNetCompact(8, 2, scale)(torch.rand(1, 3, 5, 9)).shape == (1, 3, 5 * scale, 9 * scale)


def test_compact_adds_to_the_enlarged_input():
    network = SRVGGNetCompact(8, 2, 4)
    for parameter in network.body[-1].parameters():
        torch.nn.init.zeros_(parameter)
    lr = torch.rand(1, 3, 4, 4)
    assert torch.equal(network(lr), lr.repeat_interleave(4, -1).repeat_interleave(4, -2))


def first_answers(generator):
    """What the last layer of a new network makes of two pictures: SR, or what is added to the enlarged input."""
    answers = []
    last = next(layer for layer in generator.modules() if getattr(layer, "weight", None) is generator.last_layer)
    last.register_forward_hook(lambda layer, inputs, output: answers.append(output))
    for _ in range(2):
        generator(torch.rand(1, 3, 12, 12))
    return answers


@pytest.mark.parametrize(
    ("generator_type", "config"),
    [(name, {}) for name in generators()]
    + [("compact", {"convs": 2}), ("compact", {"convs": 32}), ("span", {"norm": False})],
)
def test_a_new_network_sees_the_picture_and_answers_in_its_range(generator_type, config):
    """Otherwise training from scratch never begins, or spends its first thousand steps on the way to the range."""
    torch.manual_seed(0)
    with torch.no_grad():
        a, b = first_answers(build_generator(generator_type, config))
    assert (a - b).std() > 0.001 and max(a.std(), b.std()) < 0.5


def test_dense_block_against_its_definition():
    from ssg_hub.networks.rrdb import ResidualDenseBlock

    block = ResidualDenseBlock(4, 2)
    x = torch.randn(1, 4, 6, 6)
    features = [x]
    for conv in (block.conv1, block.conv2, block.conv3, block.conv4):
        features.append(torch.nn.functional.leaky_relu(conv(torch.cat(features, 1)), 0.2))
    torch.testing.assert_close(block(x), x + 0.2 * block.conv5(torch.cat(features, 1)))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: RRDBNet(scale=3), ["3", "1, 2 and 4"]),
        (lambda: SRVGGNetCompact(scale=0), ["0"]),
        (lambda: build_generator("swin", {}), ["swin", "compact", "rrdb"]),
        (lambda: build_generator("rrdb", {"depth": 3}), ["depth", "blocks"]),
        (lambda: build_generator("rrdb", {"features": 10**9}), ["features 1000000000", "from 1 to 1024"]),
        (lambda: build_generator("rrdb", {"features": "many"}), ["features 'many'", "whole number"]),
        (lambda: build_generator("rrdb", {"features": "9" * 10**6}), ["features '999", "…"]),
        (lambda: build_generator("rrdb", {"blocks": True}), ["blocks True"]),
        (lambda: build_generator("rrdb", {"growth": -1}), ["growth -1"]),
        (lambda: build_generator("rrdb", {"scale": 4.0}), ["scale 4.0"]),
        (lambda: build_generator("compact", {"convs": 10**12}), ["convs 1000000000000", "from 0 to 256"]),
        (lambda: build_generator("compact", {"scale": None}), ["scale None"]),
        (lambda: build_generator(["rrdb"], {}), ["rrdb"]),
    ],
)
def test_impossible_generators_are_refused(build, words):
    with pytest.raises(ConfigError) as caught:
        build()
    assert all(word in str(caught.value) for word in words)


def test_bounds_are_checked_before_anything_is_built(monkeypatch):
    monkeypatch.setattr(torch.nn.Conv2d, "__init__", lambda *args, **options: pytest.fail("something was built"))
    for generator_type, cls in generators().items():
        for name, allowed in cls.OPTIONS.items():
            for wrong in (10**9, -1, "4", None, float("nan"), [1]):
                assert wrong not in allowed
                with pytest.raises(ConfigError, match=name):
                    build_generator(generator_type, {name: wrong})
                with pytest.raises(ConfigError, match=name):
                    check_options(generator_type, {name: wrong})


@pytest.mark.parametrize(("generator_type", "config"), SMALL)
def test_context_is_how_far_a_pixel_of_sr_reaches(generator_type, config):
    """Against the gradient: the farthest LR pixel on which the SR of one LR pixel depends, at each place in a fold."""
    torch.manual_seed(0)
    generator = build_generator(generator_type, config).double()
    for parameter in generator.parameters():
        parameter.data = parameter.data.abs() * 0.1 + 0.01  # so that no path cancels another, and no ReLU is closed
    side, reach = 2 * generator.context + 21, 0
    for offset in range(4):
        lr = torch.rand(1, 3, side, side, dtype=torch.float64, requires_grad=True)
        at = side // 8 * 4 + offset
        sr = generator(lr)
        window = slice(at * generator.scale, (at + 1) * generator.scale)
        sr[..., window, window].sum().backward()
        columns = lr.grad.abs().sum((0, 1, 2)).nonzero().flatten()
        reach = max(reach, at - int(columns.min()), int(columns.max()) - at)
    assert generator.context == reach


@pytest.mark.parametrize(("generator_type", "config"), SMALL)
def test_a_generator_knows_its_options_scale_and_last_layer(generator_type, config):
    generator = build_generator(generator_type, config)
    assert generator.options == config and generator.scale == config["scale"]
    assert any(generator.last_layer is parameter for parameter in generator.parameters())
    sr = generator(torch.rand(1, 3, 9, 5))
    assert sr.shape == (1, 3, 9 * generator.scale, 5 * generator.scale)
    assert torch.autograd.grad(sr.sum(), generator.last_layer)[0].abs().sum() > 0


@pytest.mark.parametrize(("generator_type", "config"), SMALL)
def test_its_own_weights_are_recognised(tmp_path, generator_type, config):
    state = build_generator(generator_type, config).state_dict()
    save_file(state, tmp_path / "weights.safetensors")
    found_type, found_config, found = read_generator(tmp_path / "weights.safetensors")
    assert (found_type, found_config) == (generator_type, config)
    assert found.keys() == state.keys() and all(torch.equal(found[name], state[name]) for name in state)


def test_a_generator_from_elsewhere_registers_itself():
    from ssg_hub.networks import registry

    try:

        class Nearest(registry.Generator, name="nearest"):
            title, OPTIONS = "Nearest", {"scale": range(1, 5)}

            def __init__(self, scale: int = 2):
                super().__init__(scale=scale)

        assert build_generator("nearest", {"scale": 3}).scale == 3
        with pytest.raises(ConfigError, match="Nearest got scale 9"):
            build_generator("nearest", {"scale": 9})
    finally:
        registry._REGISTERED.pop("nearest", None)


def old_esrgan_names(state: dict, blocks: int) -> dict:
    """ESRGAN's first key style, the other way round from what the reader does, written out by hand."""
    plain = {"conv_first": "model.0", "conv_body": f"model.1.sub.{blocks}", "conv_up1": "model.3"}
    plain |= {"conv_up2": "model.6", "conv_hr": "model.8", "conv_last": "model.10"}
    renamed = {}
    for name, tensor in state.items():
        parts = name.split(".")
        if parts[0] == "body":
            _, block, rdb, conv, kind = parts
            renamed[f"model.1.sub.{block}.{rdb.upper()}.{conv}.0.{kind}"] = tensor
        else:
            renamed[f"{plain[parts[0]]}.{parts[1]}"] = tensor
    return renamed


def with_prefix(prefix: str, state: dict) -> dict:
    return {prefix + name: tensor for name, tensor in state.items()}


def middle_esrgan_names(state: dict) -> dict:
    """BasicSR's names before its renaming, written out by hand."""
    plain = {"conv_body": "trunk_conv", "conv_up1": "upconv1", "conv_up2": "upconv2", "conv_hr": "HRconv"}
    renamed = {}
    for name, tensor in state.items():
        parts = name.split(".")
        if parts[0] == "body":
            name = ".".join(["RRDB_trunk", parts[1], parts[2].upper(), *parts[3:]])
        renamed[".".join([plain.get(parts[0], parts[0]), *parts[1:]]) if parts[0] != "body" else name] = tensor
    return renamed


DRESSES = {  # how trainers, wrappers and users leave a state dict in a file
    "plain": lambda s: s,
    "params": lambda s: {"params": s},
    "params_ema is the better one": lambda s: {"params": zeros(s), "params_ema": s},
    "params-ema": lambda s: {"params-ema": s},
    "old names": lambda s: old_esrgan_names(s, TINY["blocks"]),
    "middle names": middle_esrgan_names,
    "half": lambda s: {name: tensor.half() for name, tensor in s.items()},
    "DataParallel": lambda s: with_prefix("module.", s),
    "compiled": lambda s: {"params_ema": with_prefix("_orig_mod.", s)},
    "both": lambda s: with_prefix("module._orig_mod.", s),
    "netG": lambda s: with_prefix("netG.", s),
    "net_g of a Lightning module": lambda s: {"state_dict": with_prefix("net_g.", s), "epoch": 3},
    "GAN": lambda s: {"net_d": {"conv.weight": torch.zeros(2, 2)}, "net_g": s, "optimizer": {"state": {0: {}}}},
    "GAN in one": lambda s: with_prefix("generator.", s) | {"discriminator.conv.weight": torch.zeros(2, 2)},
    "model": lambda s: {"model": s},
    "model.": lambda s: with_prefix("model.", s),
    "model_state_dict": lambda s: {"model_state_dict": s},
    "deep": lambda s: {"state_dict": with_prefix("model.generator.module.", s)},
    "unknown key": lambda s: {"my weights": s},
    "AveragedModel": lambda s: {"n_averaged": torch.tensor(3), **with_prefix("module.", s)},
}


def zeros(state: dict) -> dict:
    return {name: torch.zeros_like(tensor) for name, tensor in state.items()}


@pytest.mark.parametrize("dress", DRESSES)
@pytest.mark.parametrize("scale", [4, 2])
def test_community_rrdb_weights_load(tmp_path, dress, scale):
    state, path = RRDBNet(**TINY, scale=scale).state_dict(), tmp_path / "weights.pth"
    torch.save(DRESSES[dress](state), path)
    generator_type, config, loaded = read_generator(path)
    assert (generator_type, config) == ("rrdb", {**TINY, "scale": scale})
    tolerance = 1e-3 if dress == "half" else 0
    assert loaded.keys() == state.keys()
    assert all((loaded[name] - tensor).abs().max() <= tolerance for name, tensor in state.items())


@pytest.mark.parametrize("name", ["weights.safetensors", "WEIGHTS.SAFETENSORS"])
def test_the_ending_says_what_the_file_is_in_any_case(tmp_path, name):
    save_file(RRDBNet(**TINY).state_dict(), tmp_path / name)
    assert read_generator(tmp_path / name)[0] == "rrdb"


def test_community_compact_weights_load(tmp_path):
    network = SRVGGNetCompact(8, 3, 4)
    torch.save({"params": network.state_dict()}, tmp_path / "compact.pth")
    generator_type, config, state = read_generator(tmp_path / "compact.pth")
    assert (generator_type, config) == ("compact", {"features": 8, "convs": 3, "scale": 4})
    build_generator(generator_type, config).load_state_dict(state)


class Malicious:
    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return (open, (str(self.trace), "w"))


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_pickle_that_would_run_code_is_refused_and_nothing_ran(tmp_path, writer):
    trace, path = tmp_path / "it_ran", tmp_path / "evil.pth"
    if writer == "torch":
        torch.save({"params": Malicious(trace)}, path)
    else:
        path.write_bytes(pickle.dumps(Malicious(trace)))
    with pytest.raises(CheckpointError, match="could run code|not a PyTorch checkpoint"):
        read_generator(path)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Malicious(trace))).close()  # the same object does run where it is trusted
    assert trace.exists()


@pytest.mark.parametrize("data", [b"", b"<!DOCTYPE html><title>404</title>", b"version https://git-lfs", b"\xff\xd8"])
def test_what_was_never_a_checkpoint_is_not_called_a_pickle_that_could_run_code(data, tmp_path):
    (tmp_path / "x4.pth").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"is (empty|not a PyTorch checkpoint: it starts with b').*[Dd]ownload"):
        read_generator(tmp_path / "x4.pth")


@pytest.mark.parametrize("kind", ["missing", "empty", "truncated", "text", "truncated safetensors", "other network"])
def test_bad_weights_files_are_refused(tmp_path, kind):
    path = tmp_path / ("weights.safetensors" if "safetensors" in kind else "weights.pth")
    torch.save(RRDBNet(**TINY).state_dict(), path)
    if kind == "missing":
        path.unlink()
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncated":
        path.write_bytes(path.read_bytes()[:5000])
    elif kind == "text":
        path.write_text("<html>404</html>")
    elif kind == "truncated safetensors":
        save_file(RRDBNet(**TINY).state_dict(), path)
        path.write_bytes(path.read_bytes()[:5000])
    else:
        torch.save({"layer.weight": torch.zeros(3, 3)}, path)
    with pytest.raises(CheckpointError, match="weights"):
        read_generator(path)


KERNEL = torch.zeros(8, 3, 3, 3)
FOREIGN = {  # what people try, and what must not be said of it
    "SwinIR": {"conv_first.weight": KERNEL, "layers.0.residual_group.blocks.0.norm1.weight": torch.zeros(8)},
    "EDSR": {"conv_first.weight": KERNEL, "body.0.conv1.weight": KERNEL, "conv_after_body.weight": KERNEL},
    "numbers as names": {1: KERNEL},
    "tuples as names": {("a", 1): KERNEL},
    "a scalar kernel": {"conv_first.weight": torch.tensor(1.0), "body.0.rdb1.conv1.weight": torch.tensor(1.0)},
    "no number": {"body.x.weight": KERNEL, "body.0.weight": KERNEL},
    "a scalar last": {"body.0.weight": KERNEL, "body.1.weight": torch.tensor(1.0)},
    "no tensors": {"conv_first.weight": "text", "body": None},
    "nothing": {},
    "only wrappers": {"params": {"params": {"params": {"params": {"params": {"params": {}}}}}}},
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_other_networks_are_told_from_ours(tmp_path, kind):
    torch.save(FOREIGN[kind], tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match="not those of a ") as caught:
        read_generator(tmp_path / "weights.pth")
    assert "RGB" not in str(caught.value)


def test_a_gray_network_of_a_known_kind_is_told(tmp_path):
    state = RRDBNet(**TINY).state_dict() | {"conv_first.weight": torch.zeros(8, 1, 3, 3)}
    torch.save(state, tmp_path / "gray.pth")
    with pytest.raises(CheckpointError, match="gray.pth .* RRDBNet with 1 input channels; only RGB"):
        read_generator(tmp_path / "gray.pth")


@pytest.mark.parametrize("index", ["9999999", "9" * 12, "200"])
@pytest.mark.parametrize("kind", ["rrdb", "compact"])
def test_an_index_does_not_make_a_network_of_that_size(tmp_path, monkeypatch, kind, index):
    state = build_generator(kind, {"features": 4}).state_dict()
    state[f"body.{index}.weight"] = torch.zeros(4, 4, 3, 3)
    torch.save(state, tmp_path / "bomb.pth")
    monkeypatch.setattr(torch.nn.Conv2d, "__init__", fail_after(5000))
    with pytest.raises(CheckpointError, match="bomb.pth cannot be used"):
        read_generator(tmp_path / "bomb.pth")


def fail_after(times: int):
    """An `__init__` that may be called so often."""
    real, calls = torch.nn.Conv2d.__init__, []

    def counted(self, *args, **options):
        calls.append(1)
        assert len(calls) < times
        real(self, *args, **options)

    return counted


@pytest.mark.parametrize("kind", ["nan", "inf", "int8", "sparse", "expanded", "float8"])
def test_weights_that_are_no_plain_finite_numbers_are_refused(tmp_path, kind):
    state = RRDBNet(**TINY).state_dict()
    last = state["conv_last.weight"]
    if kind in ("nan", "inf"):
        last[0, 0, 0, 0] = float(kind)
    else:
        state["conv_last.weight"] = {
            "int8": lambda: last.to(torch.int8),
            "sparse": lambda: last.to_sparse(),
            "expanded": lambda: last,
            "float8": lambda: last.to(torch.float8_e4m3fn),
        }[kind]()
    if kind == "expanded":  # one number that claims to be a network
        state = {name: torch.zeros(1).expand(tensor.shape) for name, tensor in RRDBNet(64, 4, 32).state_dict().items()}
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match="conv_last.weight|larger than the file"):
        read_generator(tmp_path / "weights.pth")


def test_a_packed_file_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    torch.save({"conv_first.weight": torch.zeros(2**22)}, tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(tmp_path / "packed.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry))
    assert (tmp_path / "packed.pth").stat().st_size < 2**17
    monkeypatch.setattr(torch, "load", lambda *args, **options: pytest.fail("it was unpacked"))
    with pytest.raises(CheckpointError, match="packed and would expand"):
        read_generator(tmp_path / "packed.pth")


def test_a_variant_with_other_layers_is_refused(tmp_path):
    state = RRDBNet(**TINY).state_dict()
    state["body.0.rdb1.conv6.weight"] = torch.zeros(4, 4)
    torch.save(state, tmp_path / "variant.pth")
    with pytest.raises(CheckpointError, match="conv6"):
        read_generator(tmp_path / "variant.pth")


def test_pruned_network_computes_what_its_kept_blocks_compute():
    network = RRDBNet(8, 3, 4)
    config, state = keep_blocks({"features": 8, "blocks": 3, "growth": 4, "scale": 4}, network.state_dict(), [0, 2])
    pruned = RRDBNet(**config)
    pruned.load_state_dict(state)
    network.body = torch.nn.Sequential(network.body[0], network.body[2])
    lr = torch.rand(1, 3, 6, 6)
    assert torch.equal(pruned(lr), network(lr))
    with pytest.raises(ConfigError, match="block 3"):
        keep_blocks({"blocks": 3}, {}, [3])
    with pytest.raises(ConfigError, match="no block"):
        keep_blocks({"blocks": 3}, {}, [])


def write_ncnn(network: torch.nn.Module, folder, half: bool):
    """An ncnn pair as its exporter writes it: layer by layer, weights tagged and aligned, biases in float32."""
    lines, data = ["7767517", "0 0", "Input in 0 1 data"], b""
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            weight = layer.weight.detach().numpy().ravel()
            lines.append(f"Convolution c 1 1 a b 0={layer.out_channels} 1=3 4=1 5=1 6={weight.size}")
            raw = weight.astype("float16" if half else "float32").tobytes()
            tag = (0x01306B47 if half else 0).to_bytes(4, "little")
            data += tag + raw + b"\0" * (-len(raw) % 4) + layer.bias.detach().numpy().tobytes()
        elif isinstance(layer, torch.nn.PReLU):
            lines.append(f"PReLU p 1 1 a b 0={layer.num_parameters}")
            data += layer.weight.detach().numpy().tobytes()
    (folder / "net.param").write_text("\n".join(lines))
    (folder / "net.bin").write_bytes(data)
    return folder / "net.param"


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("network", [SRVGGNetCompact(7, 2, 4), RRDBNet(8, 1, 4)], ids=["compact", "rrdb"])
def test_ncnn_weights_are_read_back(tmp_path, network, half):
    param = write_ncnn(network, tmp_path, half)
    generator_type, config, state = read_ncnn(param)
    rebuilt = build_generator(generator_type, config)
    rebuilt.load_state_dict(state)
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(state[name], tensor.half().float() if half and tensor.ndim == 4 else tensor)
    (tmp_path / "net.bin").write_bytes((tmp_path / "net.bin").read_bytes()[:-8])
    with pytest.raises(CheckpointError, match="ends before"):
        read_ncnn(param)


@pytest.mark.parametrize(
    "graph",
    [
        b"7767517\n1 1\nConvolution a 1 1 a b\n",
        b"7767517\n1 1\nConvolution a 1 1 a b 0=0 6=0\n",
        b"7767517\n1 1\nConvolution a 1 1 a b 0=x 6=y\n",
        b"7767517\n1 1\n" + b"Convolution a 1 1 a b 0=-4 6=108\n" * 21,
        b"7767517\n1 1\n" + b"Convolution a 1 1 a b 0=1000000000 6=27000000000\n" * 21,
        b"7767517\n1 1\n" + b"Convolution a 1 1 a b 0=4 6=108\n" * 10**5,
        b"7767517\n1 1\nPReLU a 1 1 a b 0=8\n",
        b"\xff\xfe\x00",
        b"",
    ],
)
def test_text_that_is_no_graph_of_a_generator_is_refused(tmp_path, graph):
    (tmp_path / "net.param").write_bytes(graph)
    (tmp_path / "net.bin").write_bytes(bytes(100))
    with pytest.raises(CheckpointError, match="net.param"):
        read_ncnn(tmp_path / "net.param")


def test_nan_in_ncnn_weights_is_refused(tmp_path):
    network = SRVGGNetCompact(7, 2, 4)
    network.body[0].weight.data[0, 0, 0, 0] = float("nan")
    with pytest.raises(CheckpointError, match=r"not finite, first in body\.0\.weight"):
        read_ncnn(write_ncnn(network, tmp_path, half=False))
