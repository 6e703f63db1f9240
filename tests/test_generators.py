"""The generators: sizes, names, options; community weights in every dress; pickles that would run code are refused."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from ssg_hub.errors import CheckpointError, ConfigError
from ssg_hub.networks.compact import SRVGGNetCompact
from ssg_hub.networks.ncnn import keep_blocks, read_ncnn
from ssg_hub.networks.published import read_generator
from ssg_hub.networks.registry import build_generator
from ssg_hub.networks.rrdb import RRDBNet

TINY = {"features": 8, "blocks": 2, "growth": 4}


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
    ],
)
def test_impossible_generators_are_refused(build, words):
    with pytest.raises(ConfigError) as caught:
        build()
    assert all(word in str(caught.value) for word in words)


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


@pytest.mark.parametrize("dress", ["plain", "params", "params_ema", "old", "safetensors", "module", "half"])
@pytest.mark.parametrize("scale", [4, 2])
def test_community_rrdb_weights_load(tmp_path, dress, scale):
    network = RRDBNet(**TINY, scale=scale)
    state, path = network.state_dict(), tmp_path / "weights.pth"
    if dress == "safetensors":
        path = tmp_path / "weights.safetensors"
        save_file(state, path)
    else:
        other = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
        torch.save(
            {
                "plain": state,
                "params": {"params": state},
                "params_ema": {"params": other, "params_ema": state},
                "old": old_esrgan_names(state, TINY["blocks"]),
                "module": {f"module.{name}": tensor for name, tensor in state.items()},
                "half": {name: tensor.half() for name, tensor in state.items()},
            }[dress],
            path,
        )
    generator_type, config, loaded = read_generator(path)
    assert (generator_type, config) == ("rrdb", {**TINY, "scale": scale})
    tolerance = 1e-3 if dress == "half" else 0
    assert all((loaded[name] - tensor).abs().max() <= tolerance for name, tensor in state.items())


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
