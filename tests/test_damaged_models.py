"""Damaged, foreign and malicious models: each ends in one sentence at load, before memory is taken."""

import json
import os
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ssg_hub.errors import CheckpointError, ConfigError, SSGError
from ssg_hub.loading import load_guide, load_model, load_networks
from ssg_hub.networks.guide import Guide
from ssg_hub.networks.published import read_generator

WEIGHTS = "diffusion_pytorch_model.safetensors"
INDEX = f"{WEIGHTS}.index.json"


@pytest.fixture(autouse=True, params=[load_model, load_networks])
def load_model(request, monkeypatch):
    """Both ways to read a model."""
    monkeypatch.setitem(globals(), "load_model", request.param)


def edit(path: Path, **changes) -> None:
    """Change entries of a JSON file; of its guide_config where the name starts with guide_."""
    content = json.loads(path.read_text())
    for name, value in changes.items():
        inner = content["guide_config"] if name.startswith("guide_") and name != "guide_config" else content
        inner[name.removeprefix("guide_") if inner is not content else name] = value
    path.write_text(json.dumps(content))


# values of the wrong kind


HUGE = 10**9
WRONG_CONFIGS = {
    "features": {"generator_config": {"features": HUGE, "blocks": 1, "growth": 4, "scale": 4}},
    "blocks": {"generator_config": {"features": 8, "blocks": HUGE, "growth": 4, "scale": 4}},
    "a list of options": {"generator_config": [1, 2]},
    "type 5": {"generator_type": 5},
    "type []": {"generator_type": []},
    "scale text": {"scale": "4"},
    "scale list": {"scale": [4]},
    "guide 5": {"guide_config": 5},
    "guide []": {"guide_config": []},
    "guide {}": {"guide_config": {}},
    "model_type 5": {"guide_model_type": 5},
    "model_type null": {"guide_model_type": None},
    "id2label 5": {"guide_id2label": 5},
    "id2label []": {"guide_id2label": []},
    "id2label {}": {"guide_id2label": {}},
    "id2label of words": {"guide_id2label": {"a": "b"}},
    "a million labels": {"guide_id2label": {str(i): str(i) for i in range(60_000)}},
    "num_labels": {"guide_id2label": None, "guide_num_labels": HUGE},
    "depths null": {"guide_depths": None},
    "depths huge": {"guide_depths": [HUGE, 1]},
    "depths large": {"guide_depths": [90_000, 90_000]},
    "depths text": {"guide_depths": ["1", "1"]},
    "hidden sizes": {"guide_hidden_sizes": [HUGE, HUGE]},
    "hidden sizes large": {"guide_hidden_sizes": [96_000, 96_000]},
    "no heads": {"guide_num_attention_heads": [0, 0]},
    "strides 0": {"guide_strides": [0, 0]},
    "activation": {"guide_hidden_act": "nonsense"},
    "mean text": {"guide_image_mean": "0.5"},
    "mean of two": {"guide_image_mean": [0.5, 0.5]},
    "mean NaN": {"guide_image_mean": [0.5, 0.5, float("nan")]},
    "std zero": {"guide_image_std": [0.0, 0.2, 0.2]},
    "input scale text": {"guide_input_scale": "4"},
    "input scale huge": {"guide_input_scale": 1e9},
    "input scale inf": {"guide_input_scale": float("inf")},
    "palette of texts": {"guide_palette": [["a", "b", "c"]] * 4},
    "palette of pairs": {"guide_palette": [[1, 2]] * 4},
    "palette beyond": {"guide_palette": [[1, 2, 256]] * 4},
    "palette 5": {"guide_palette": 5},
    "an infinity": {"guide_layer_norm_eps": float("inf")},
    "a method": {"guide_to_dict": 5},
    "trained_on 5": {"trained_on": 5},
    "metrics 5": {"trained_on": {"metrics": 5}},
    "title 5": {"trained_on": {"title": 5}},
    "base_model []": {"trained_on": {"base_model": []}},
    "license 5": {"license": 5},
    "format true": {"format_version": True},
    "quantised": {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
    "denoise_set text": {"denoise_set": "yes"},
    "denoise_set without weights": {"denoise_set": True},
    "denoise_default": {"denoise_set": True, "denoise_default": 7},
}


@pytest.mark.parametrize("kind", WRONG_CONFIGS)
def test_a_config_of_wrong_values_is_one_sentence_at_load(kind, saved):
    edit(saved / "config.json", **WRONG_CONFIGS[kind])
    with pytest.raises(CheckpointError) as caught:
        load_model(saved)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "changes", [{"guide_dtype": 5}, {"guide_torch_dtype": "float16"}, {"guide_attn_implementation": 5}, {"novel": 1}]
)
def test_what_says_how_to_run_does_not_matter(changes, saved, tiny_model):
    edit(saved / "config.json", **changes)
    lr = torch.rand(1, 3, 16, 16)
    model = load_model(saved)
    assert torch.equal(model.guide(model.generator(lr)), tiny_model(lr).logits)


@pytest.mark.parametrize("text", ['{"a":' * 5000 + "1" + "}" * 5000, "[" * 100_000, "\ufffe", "", "null", "5", "{}"])
def test_config_texts_that_are_none(text, saved):
    (saved / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match="config.json|not an SSGModel"):
        load_model(saved)


def test_a_config_of_gigabytes_is_not_read(saved, monkeypatch):
    with (saved / "config.json").open("r+b") as file:
        file.truncate(2**33)  # sparse: takes no space
    monkeypatch.setattr(Path, "read_text", lambda *args, **options: pytest.fail("it was read"))
    with pytest.raises(CheckpointError, match="more than 10,485,760 bytes"):
        load_model(saved)


# weights of the wrong kind


def test_shapes_are_compared_before_a_weight_is_read(saved, monkeypatch):
    state = load_file(saved / WEIGHTS)
    state["generator.conv_hr.weight"] = torch.zeros(9, 9, 3, 3)
    save_file(state, saved / WEIGHTS)
    monkeypatch.setattr("diffusers.ModelMixin.from_pretrained", lambda *_, **__: pytest.fail("weights were read"))
    with pytest.raises(CheckpointError, match=r"generator\.conv_hr\.weight expected shape \[8, 8, 3, 3\]"):
        load_model(saved)


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.bool, torch.float8_e4m3fn])
def test_types_are_compared_too(saved, dtype):
    state = load_file(saved / WEIGHTS)
    state["generator.conv_hr.weight"] = state["generator.conv_hr.weight"].to(dtype)
    save_file(state, saved / WEIGHTS)
    with pytest.raises(CheckpointError, match=r"do not fit its config \(generator\.conv_hr\.weight"):
        load_model(saved)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["generator.conv_hr.bias", "guide.network.decode_head.batch_norm.running_var"])
def test_weights_that_are_not_finite_are_refused(saved, name, value):
    state = load_file(saved / WEIGHTS)
    state[name][0] = value
    save_file(state, saved / WEIGHTS)
    with pytest.raises(CheckpointError, match=f"hold values that are not finite, first in {name}"):
        load_model(saved)


def header(content: dict) -> bytes:
    text = json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "content",
    [
        header({"x": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}),
        header({"x": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}) + bytes(4),
        header({"x": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}) + bytes(4),
        header({"x": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}) + bytes(4),
        header({"x": 5}),
        struct.pack("<Q", 2**60) + b"{}",
        struct.pack("<Q", 2) + b"[]",
    ],
    ids=range(7),
)
def test_headers_that_lie(saved, content):
    (saved / WEIGHTS).write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged or truncated"):
        load_model(saved)
    (saved.parent / "alone.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="alone.safetensors"):
        load_model(saved.parent / "alone.safetensors")


@pytest.mark.parametrize(
    "shard", [5, None, "", "../secret.safetensors", "/etc/passwd", "a/b.safetensors", "..", "x.bin", ["a"]]
)
def test_an_index_stays_in_its_folder(saved, shard):
    save_file({"x": torch.zeros(1)}, saved.parent / "secret.safetensors")
    (saved / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": {"x": shard}}))
    with pytest.raises(CheckpointError, match=f"{INDEX} of .* is damaged"):
        load_model(saved)


@pytest.mark.parametrize("weight_map", [{}, [], 5, None, {"generator.conv_hr.bias": WEIGHTS}, {"x": WEIGHTS}])
def test_an_index_lists_what_is_there(saved, weight_map):
    (saved / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    with pytest.raises(CheckpointError, match=INDEX):
        load_model(saved)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("name", ["config.json", WEIGHTS])
def test_a_pipe_in_place_of_a_file_is_not_waited_for(saved, name):
    (saved / name).unlink()
    os.mkfifo(saved / name)
    with pytest.raises(CheckpointError):
        load_model(saved)


@pytest.mark.parametrize(
    "content", [b"hello", b"\x80\x05N.", b"\x80\x02}.", b"PK\x03\x04" + bytes(50), bytes(100)], ids=range(5)
)
def test_bytes_that_are_no_weights(tmp_path, content):
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"w\.pth") as caught:
        read_generator(tmp_path / "w.pth")
    assert "\n" not in str(caught.value)


def test_a_transformers_folder_with_wrong_values_is_one_sentence(tiny_model, tmp_path):
    tiny_model.guide.save_pretrained(tmp_path)
    for changes in ({"depths": None}, {"hidden_sizes": [HUGE, 16]}, {"id2label": 5}, {"num_attention_heads": [0, 0]}):
        before = (tmp_path / "config.json").read_text()
        edit(tmp_path / "config.json", **changes)
        with pytest.raises(SSGError) as caught:
            load_guide(tmp_path)
        assert "\n" not in str(caught.value)
        (tmp_path / "config.json").write_text(before)
    state = load_file(tmp_path / "model.safetensors")
    first = next(name for name in state if name.endswith("weight"))
    save_file({name: tensor for name, tensor in state.items() if name != first}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="lack 1 tensors"):
        load_guide(tmp_path)
    state[first].fill_(float("nan"))
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="not finite"):
        load_guide(tmp_path)


def test_a_guide_of_another_size_than_its_weights_takes_no_memory(tiny_guide_config):
    """A configuration with layers of 100,000 channels is drawn and refused; built, it would take 40 GB."""
    from ssg_hub.networks.building import MOST_LAYERS, sketch

    wide = sketch(lambda: Guide({**tiny_guide_config, "decoder_hidden_size": 96_000}))
    assert all(parameter.is_meta for parameter in wide.parameters())
    with pytest.raises(ConfigError, match=f"more than {MOST_LAYERS:,} layers"):
        sketch(lambda: Guide({**tiny_guide_config, "depths": [50_000, 1]}))
