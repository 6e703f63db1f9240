"""An attack on the loaders: made model folders, guides, weights files and ncnn graphs that are wrong in any way.

What must hold: nothing ends in another exception than an SSGError of one line, nor takes 10 seconds, nor much memory;
no code in a file is run; no file outside the folder is opened; and what loads without complaint upscales a picture.

    SSG_ATTACKS=500 python -m pytest -m attack -s tests/test_attack_models.py        SSG_SEED=1 for others
"""

import json
import os
import pickle
import resource
import shutil
import struct
import sys
from pathlib import Path

import pytest
import torch
from attack import attack, attempt, damage, numbers, rng_seed, spoil, strange_texts, strange_values
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save
from test_generators import write_ncnn

from ssg_hub.errors import SSGError
from ssg_hub.loading import load_guide, load_model, load_networks
from ssg_hub.model import SSGModel
from ssg_hub.networks.compact import SRVGGNetCompact
from ssg_hub.networks.guide import Guide
from ssg_hub.networks.ncnn import read_ncnn

pytestmark = [pytest.mark.attack, pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("attack_figures")]
WEIGHTS, INDEX = "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.safetensors.index.json"
MOST_MEMORY = 600  # MB that the whole attack may need beyond what Python, torch and diffusers do
PICTURE = Image.new("RGB", (9, 7), (90, 120, 200))
opened: list[str] = []


@pytest.fixture(scope="module", autouse=True)
def room(tmp_path_factory):
    """A folder to be spoilt, with a secret beside it, which nothing may open."""
    folder = tmp_path_factory.mktemp("attack")
    (folder / "secret").write_text("{}")
    save_templates(folder)
    load_model(folder / "guided"), load_guide(folder / "guide"), load_networks(folder / "guided")  # all imports
    sys.addaudithook(lambda event, arguments: opened.append(str(arguments[0])) if event == "open" else None)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield folder
    assert not [path for path in opened if path.endswith(("secret", "/etc/passwd"))]
    assert not (folder / "it_ran").exists()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"\nmemory: {grown:.0f} MB more at the peak")
    assert grown < MOST_MEMORY


def save_templates(folder: Path) -> None:
    from conftest import make_tiny_guide_config, make_tiny_model

    model = make_tiny_model()
    model.save_pretrained(folder / "guided")
    model.save_pretrained(folder / "sharded", max_shard_size=20_000)
    model.guide.save_pretrained(folder / "guide")
    light = {"model_type": "ssg_lite_segmentation", "width": 8, "id2label": make_tiny_guide_config()["id2label"]}
    pair = SSGModel.from_components("compact", Guide(light), {"features": 4, "convs": 1, "scale": 2})
    pair.set_denoise_weights(pair.generator.state_dict(), default=0.5)
    pair.save_pretrained(folder / "light")


def fresh(room: Path, name: str) -> Path:
    """A copy of a template, the former one removed."""
    shutil.rmtree(room / "tried", ignore_errors=True)
    return Path(shutil.copytree(room / name, room / "tried"))


def try_model(name: str, load, folder: Path) -> None:
    """Load; what loads must work."""
    model = attempt(name, SSGError, load, folder)
    if model is not None:
        try:
            result = model.upscale(PICTURE, engine="torch", segment=bool(model.labels))
            assert result.image.size == (36, 28)
        except SSGError as error:
            assert "\n" not in str(error)


templates = st.sampled_from(["guided", "sharded", "light"])
loaders = st.sampled_from([load_model, load_networks])


# ---------------------------------------------------------------- folders


@rng_seed
@attack
@given(template=templates, load=loaders, data=st.data())
def test_configs(template, load, data, room):
    folder = fresh(room, template)
    path = folder / "config.json"
    content = spoil(data.draw, json.loads(path.read_text()))
    if data.draw(st.integers(0, 9)):
        path.write_text(json.dumps(content), encoding="utf-8", errors="surrogatepass")
    else:
        path.write_bytes(damage(data.draw, path.read_bytes()))
    try_model("configs of models", load, folder)


@rng_seed
@attack
@given(template=templates, load=loaders, data=st.data())
def test_headers_of_weights(template, load, data, room):
    folder = fresh(room, template)
    path = data.draw(st.sampled_from(sorted(folder.glob("*.safetensors"))))
    path.write_bytes(spoil_tensors(data.draw, path.read_bytes()))
    try_model("weights of models", load, folder)


def spoil_tensors(draw, content: bytes) -> bytes:
    """A safetensors file with lies in its header, or values that are none, or cut, or damaged anywhere."""
    length = struct.unpack("<Q", content[:8])[0]
    header, body = json.loads(content[8 : 8 + length]), bytearray(content[8 + length :])
    kind = draw(st.integers(0, 4))
    if kind == 0:
        return damage(draw, content)
    if kind == 1:
        name = draw(st.sampled_from(sorted(header)))
        header[name] = draw(strange_values)
    elif kind == 2:
        name = draw(st.sampled_from(sorted(set(header) - {"__metadata__"})))
        part = draw(st.sampled_from(["dtype", "shape", "data_offsets"]))
        kinds = st.sampled_from(["F32", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "C64", "F4", "X"])
        header[name][part] = draw(kinds if part == "dtype" else st.lists(numbers, max_size=5))
    elif kind == 3:
        place = draw(st.integers(0, max(0, len(body) // 4 - 1))) * 4
        body[place : place + 4] = struct.pack("<f", draw(st.floats(width=32)))
    else:
        spoil(draw, header)
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    length = draw(st.sampled_from([len(text), len(text), len(text), len(text) - 1, 2**40, 2**63, 0]))
    return struct.pack("<Q", length) + text + bytes(body)


@rng_seed
@attack
@given(load=loaders, data=st.data())
def test_indices_of_shards(load, data, room):
    folder = fresh(room, "sharded")
    index = json.loads((folder / INDEX).read_text())
    (folder / INDEX).write_text(json.dumps(spoil(data.draw, index)), encoding="utf-8", errors="surrogatepass")
    try_model("indices of shards", load, folder)


@rng_seed
@attack
@given(template=templates, load=loaders, data=st.data())
def test_other_things_in_place_of_files(template, load, data, room):
    folder = fresh(room, template)
    for path in data.draw(st.lists(st.sampled_from(sorted(folder.iterdir())), min_size=1, max_size=2, unique=True)):
        path.unlink()
        kind = data.draw(st.sampled_from(["none", "folder", "empty", "loop", "nowhere", "pipe", "bytes", "large"]))
        if kind == "folder":
            path.mkdir()
        elif kind in ("empty", "bytes"):
            path.write_bytes(b"" if kind == "empty" else data.draw(st.binary(max_size=100)))
        elif kind in ("loop", "nowhere"):
            path.symlink_to(path if kind == "loop" else folder / "absent")
        elif kind == "pipe":
            os.mkfifo(path)
        elif kind == "large":
            with path.open("wb") as file:
                file.truncate(2**34)  # sparse
    try_model("other things in place of files", load, folder)


# ---------------------------------------------------------------- guides


@rng_seed
@attack
@given(data=st.data())
def test_guides_of_transformers(data, room):
    folder = fresh(room, "guide")
    path = data.draw(st.sampled_from(sorted(folder.iterdir())))
    if path.suffix == ".json":
        content = spoil(data.draw, json.loads(path.read_text()))
        path.write_text(json.dumps(content), encoding="utf-8", errors="surrogatepass")
    else:
        path.write_bytes(spoil_tensors(data.draw, path.read_bytes()))
    guide = attempt("guides", SSGError, load_guide, folder)
    if guide is not None:
        assert guide(torch.rand(1, 3, 32, 32)).shape[1] == len(guide.labels)


# ---------------------------------------------------------------- weights alone


class Malicious:
    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self):
        return (open, (str(self.trace), "w"))


def odd_tensors(tensor: torch.Tensor) -> list:
    """What may stand where a tensor of weights belongs."""
    return [
        tensor.int(),
        tensor.double(),
        tensor.half(),
        tensor * torch.nan,
        tensor.to(torch.complex64),
        tensor.to_sparse(),
        torch.zeros(1).expand(10**12),
        torch.zeros(tensor.shape, device="meta"),
        tensor.reshape(-1),
        torch.zeros(0),
        torch.tensor(5.0),
        tensor[:1],
        torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8),
        torch.nn.Parameter(tensor),
        5,
        None,
        "text",
        [tensor],
        {"params": tensor},
    ]


@st.composite
def states(draw, trace: Path):
    """What a trainer may have left: weights under names of all kinds, some odd, in wrappers of all kinds."""
    kind = draw(st.sampled_from([("compact", {"features": 4, "convs": 1}), ("rrdb", {"features": 4, "blocks": 1})]))
    model = SSGModel.from_components(
        kind[0], generator_config={**kind[1], **({"growth": 2} if kind[0] == "rrdb" else {})}
    )
    plain = model.generator.state_dict()
    state = dict(plain)
    for _ in range(draw(st.integers(0, 2))):
        name = draw(st.sampled_from(sorted(plain)))
        change = draw(st.integers(0, 3))
        state.pop(name, None)
        if change == 1:
            state[draw(strange_texts)] = plain[name]
        elif change > 1:
            state[name] = draw(st.sampled_from(odd_tensors(plain[name])))
    if draw(st.integers(0, 5)) == 0:
        state[draw(st.one_of(strange_texts, st.integers(0, 9)))] = Malicious(trace)
    prefix = draw(st.sampled_from(["", "", "module.", "generator.module.", "x."]))
    content = {f"{prefix}{name}" if isinstance(name, str) else name: value for name, value in state.items()}
    for _ in range(draw(st.integers(0, 6))):
        key = draw(st.sampled_from(["params", "params_ema", "state_dict", "model", "other", 5]))
        content = draw(st.sampled_from([{key: content}, {key: content, "iter": 5}, [content]]))
    return content


@rng_seed
@attack
@given(load=loaders, data=st.data())
def test_weights_files(load, data, room):
    content = data.draw(states(room / "it_ran"))
    suffix = data.draw(st.sampled_from([".pth", ".pt", ".ckpt", ".PTH", ".safetensors"]))
    path = room / f"weights{suffix}"
    writer = data.draw(st.sampled_from(["zip", "old", "pickle", "safetensors"]))
    try:
        if writer == "pickle":
            path.write_bytes(pickle.dumps(content))
        elif writer == "safetensors":
            path.write_bytes(save(content))
        else:
            torch.save(content, path, _use_new_zipfile_serialization=writer == "zip")
    except Exception:  # this writer cannot write it
        return
    if data.draw(st.integers(0, 3)) == 0:
        path.write_bytes(damage(data.draw, path.read_bytes()))
    try_model("weights files", load, path)


@rng_seed
@attack
@given(data=st.data(), half=st.booleans())
def test_ncnn_graphs(data, half, room):
    param = write_ncnn(SRVGGNetCompact(4, 1, 2), room, half)
    path = data.draw(st.sampled_from([param, param.with_suffix(".bin")]))
    path.write_bytes(damage(data.draw, path.read_bytes()))
    attempt("ncnn graphs", SSGError, read_ncnn, param)
