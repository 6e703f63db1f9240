"""A model that is only used: the same pictures as `SSGModel`'s, without what takes long to import."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ssg_hub.errors import CheckpointError, ConfigError
from ssg_hub.loading import load_model, load_networks
from ssg_hub.storage.finding import PRETRAINED

ROOT = Path(__file__).resolve().parents[1]
PHOTO = np.random.default_rng(2).integers(0, 256, (24, 31, 3), dtype=np.uint8)
HEAVY = ("diffusers", "transformers", "huggingface_hub", "accelerate", "scipy", "gradio", "datasets")


@pytest.fixture
def saved(tiny_model, tmp_path) -> Path:
    with torch.no_grad():
        tiny_model.generator.conv_last.bias += 0.5
    second = {name: tensor + 0.01 for name, tensor in tiny_model.generator.state_dict().items()}
    tiny_model.set_denoise_weights(second, default=0.5)
    tiny_model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_it_makes_the_same_pictures(saved):
    full, plain = load_model(saved), load_networks(saved)
    assert (plain.scale, plain.labels, plain.palette) == (full.scale, full.labels, full.palette)
    assert plain.denoise_default == 0.5
    for options in ({}, {"denoise": 0}, {"denoise": 1, "segment": False}, {"strength": {"car": 0.3}}):
        one, other = full.upscale(PHOTO, engine="torch", **options), plain.upscale(PHOTO, engine="torch", **options)
        assert one.image.tobytes() == other.image.tobytes() and one.report["denoise"] == other.report["denoise"]
        assert (one.mask is None) == (other.mask is None) and (
            one.mask is None or one.mask.tobytes() == other.mask.tobytes()
        )


def test_it_reads_the_variant_that_is_asked_for(saved):
    load_model(saved).save_pretrained(saved.parent / "half", variant="fp16")
    full, plain = (load(saved.parent / "half", variant="fp16") for load in (load_model, load_networks))
    one, other = (model.upscale(PHOTO, engine="torch") for model in (full, plain))
    assert one.image.tobytes() == other.image.tobytes() and one.drift.tobytes() == other.drift.tobytes()


@pytest.mark.parametrize("load", [load_model, load_networks])
def test_it_can_be_pickled_before_and_after_its_first_picture(saved, load):
    model = load(saved)
    early = pickle.dumps(model)
    expected = model.upscale(PHOTO, engine="torch")
    for data in (early, pickle.dumps(model)):
        found = pickle.loads(data).upscale(PHOTO, engine="torch")
        assert found.image.tobytes() == expected.image.tobytes() and found.drift.tobytes() == expected.drift.tobytes()


@pytest.mark.parametrize("load", [load_model, load_networks])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_what_torch_makes_by_default_does_not_matter(saved, load, dtype):
    expected = load(saved).upscale(PHOTO, engine="torch", strength={"car": 0.3})
    torch.set_default_dtype(dtype)
    try:
        found = load(saved).upscale(PHOTO, engine="torch", strength={"car": 0.3})
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.image.tobytes() == expected.image.tobytes() and found.report["dtype"] == "float32"
    assert found.drift.tobytes() == expected.drift.tobytes()


@pytest.mark.parametrize("load", [load_model, load_networks])
def test_where_torch_makes_tensors_by_default_does_not_matter(saved, load):
    expected = load(saved).upscale(PHOTO, engine="torch", strength={"car": 0.3})
    torch.set_default_device("meta")  # in the place of a GPU
    try:
        found = load(saved).upscale(PHOTO, engine="torch", strength={"car": 0.3})
    finally:
        torch.set_default_device(None)
    assert found.image.tobytes() == expected.image.tobytes() and found.report["device"] == "cpu"
    assert found.drift.tobytes() == expected.drift.tobytes()


def test_the_embedded_guide_is_made_only_when_it_is_asked_for():
    plain = load_networks()
    plain.upscale(PHOTO, segment=False)
    assert "car" in plain.labels and "guide" not in vars(plain)
    assert plain.upscale(PHOTO).mask is not None and "guide" in vars(plain)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_files_and_shards_are_read_in_float32(saved, tmp_path, dtype):
    load_model(saved).to(dtype).save_pretrained(tmp_path / "half", max_shard_size="3KB")
    assert len(list((tmp_path / "half").glob("*-of-*.safetensors"))) > 1
    one, other = load_model(tmp_path / "half"), load_networks(tmp_path / "half")
    for name, tensor in one.generator.state_dict().items():
        assert torch.equal(tensor, other.generator.state_dict()[name]) and tensor.dtype == torch.float32
    assert torch.equal(one.guide.network.state_dict()["decode_head.classifier.weight"], last_weight(other))


def last_weight(model) -> torch.Tensor:
    return model.guide.network.state_dict()["decode_head.classifier.weight"]


def test_it_is_moved_to_devices_alone():
    plain = load_networks()
    with pytest.raises(ConfigError, match=r"got torch.float16; it takes a device only.*dtype='float16'"):
        plain.to(torch.float16)
    with pytest.raises(ConfigError, match="device 'gpu' cannot be used here"):
        plain.to("gpu")
    assert plain.to("cpu") is plain


def test_a_file_of_published_weights(tiny_model, tmp_path):
    torch.save({"params_ema": tiny_model.generator.state_dict()}, tmp_path / "x4.pth")
    plain = load_networks(tmp_path / "x4.pth")
    expected = tiny_model.upscale(PHOTO, segment=False, engine="torch")
    assert plain.upscale(PHOTO, segment=False, engine="torch").image.tobytes() == expected.image.tobytes()
    assert plain.labels == [] and plain.guide is None
    with pytest.raises(ConfigError, match="one set of weights"):
        plain.upscale(PHOTO, denoise=0.5)


def test_weights_that_do_not_fit_the_embedded_config(monkeypatch, tmp_path, saved):
    """The checkpoint inside the package is not checked beforehand; an installation may be damaged all the same."""
    (tmp_path / "pretrained").mkdir()
    (tmp_path / "pretrained" / "config.json").write_text((PRETRAINED / "config.json").read_text())
    weights = "diffusion_pytorch_model.safetensors"
    (tmp_path / "pretrained" / weights).write_bytes((saved / weights).read_bytes())
    monkeypatch.setattr("ssg_hub.storage.finding.PRETRAINED", tmp_path / "pretrained")
    with pytest.raises(CheckpointError, match="the weights of the embedded checkpoint do not fit"):
        load_networks()


def test_the_command_imports_nothing_heavy(tmp_path):
    Image.fromarray(PHOTO).save(tmp_path / "a.png")
    code = (
        "import json, sys\n"
        "from ssg_hub.cli import main\n"
        "code = main(sys.argv[1:])\n"
        f"print(json.dumps([code, [name for name in {HEAVY} if name in sys.modules]]))\n"
    )
    command = [
        sys.executable,
        "-c",
        code,
        "upscale",
        str(tmp_path / "a.png"),
        "-o",
        str(tmp_path / "out.png"),
        "--mask",
    ]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=200)
    assert json.loads(done.stdout) == [0, []], done.stderr
    assert Image.open(tmp_path / "out.png").size == (124, 96) and Image.open(tmp_path / "out_mask.png").mode == "P"


@pytest.mark.parametrize("option", [["--outscale", "99"], ["--strength", "2"], ["--tile", "3"]])
def test_a_wrong_option_is_refused_before_torch_is_imported(option, tmp_path):
    Image.fromarray(PHOTO).save(tmp_path / "a.png")
    code = "import sys; from ssg_hub.cli import main; print(main(sys.argv[1:]), 'torch' in sys.modules)"
    command = [sys.executable, "-c", code, "upscale", str(tmp_path / "a.png"), "-o", str(tmp_path / "out.png"), *option]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.stdout.split() == ["2", "False"] and "must be" in done.stderr
