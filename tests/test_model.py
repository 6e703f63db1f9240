"""SSGModel: round trips, config, saving in one go, input checks, and an error of its own for every bad checkpoint."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from standins import TINY_SEGFORMER
from torch import nn

from ssg_hub.errors import CheckpointError, ConfigError, ImageError
from ssg_hub.loading import load_networks
from ssg_hub.model import SSGModel, SSGOutput
from ssg_hub.networks.guide import Guide
from ssg_hub.storage.card import build_card
from ssg_hub.storage.config_file import FORMAT_VERSION

RRDB = {"features": 8, "blocks": 1, "growth": 4}
LIGHT = {"model_type": "ssg_lite_segmentation", "width": 8, "id2label": {"0": "sky", "1": "road"}}
SEGFORMER = {
    **TINY_SEGFORMER,
    "sr_ratios": [2, 1],
    "decoder_hidden_size": 8,
    "id2label": {"0": "sky", "1": "road", "2": "car"},
    "image_mean": [0.4, 0.5, 0.6],
    "palette": [[1, 2, 3], [4, 5, 6], [7, 8, 9]],
}
WEIGHTS = "diffusion_pytorch_model.safetensors"


def make(guide: dict | None = SEGFORMER, seed: int = 0, **options) -> SSGModel:
    torch.manual_seed(seed)
    return SSGModel(generator_type="rrdb", generator_config={**RRDB, **options}, guide_config=guide).eval()


@pytest.fixture
def saved(tmp_path) -> Path:
    make(guide=None).save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def same_weights(a: SSGModel, b: SSGModel) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype and torch.equal(left[name], right[name]) for name in left
    )


def edit_config(folder: Path, **changes) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


# round trips


@pytest.mark.parametrize("guide", [None, LIGHT, SEGFORMER], ids=["none", "light", "segformer"])
def test_round_trip_is_exact(tmp_path, guide):
    model = make(guide)
    with torch.no_grad():  # moments and counters of norms must travel too
        for buffer in model.buffers():
            if buffer.is_floating_point() and buffer.ndim == 1:
                buffer.add_(torch.rand_like(buffer))
    model.save_pretrained(tmp_path)
    loaded = SSGModel.from_pretrained(tmp_path)
    assert same_weights(model, loaded)
    assert loaded.labels == model.labels and loaded.palette == model.palette
    assert not loaded.training and not any(parameter.is_meta for parameter in loaded.parameters())
    lr = torch.rand(1, 3, 24, 17)
    assert torch.equal(model(lr).sample, loaded(lr).sample)
    if guide:
        assert torch.equal(model(lr).logits, loaded(lr).logits)
    loaded.save_pretrained(tmp_path / "again")
    assert (tmp_path / "again" / "config.json").read_text() == (tmp_path / "config.json").read_text()


@pytest.mark.parametrize("dtype", [torch.int8, torch.complex64, "float16"])
def test_a_precision_that_no_weights_can_have_is_refused(saved, dtype):
    with pytest.raises(ConfigError, match="torch_dtype is .* such as torch.float16"):
        SSGModel.from_pretrained(saved, torch_dtype=dtype)


@pytest.mark.parametrize("guide", [LIGHT, SEGFORMER], ids=["light", "segformer"])
def test_half_precision_variant(tmp_path, guide):
    model = make(guide)
    model.save_pretrained(tmp_path)
    model.save_pretrained(tmp_path, variant="fp16")
    assert model.dtype == torch.float32
    half = copy_as(model, torch.float16)
    as_saved = SSGModel.from_pretrained(tmp_path, variant="fp16", torch_dtype=torch.float16)
    assert same_weights(as_saved, half)
    assert same_weights(SSGModel.from_pretrained(tmp_path), model)  # the other variant is untouched
    on_cpu = SSGModel.from_pretrained(tmp_path, variant="fp16")
    assert on_cpu.dtype == torch.float32
    assert same_weights(on_cpu, half.float())


def copy_as(model: SSGModel, dtype: torch.dtype) -> SSGModel:
    twin = SSGModel.from_config(model.config).eval()
    twin.load_state_dict(model.state_dict())
    return twin.to(dtype)


def test_shards_round_trip_and_do_not_outlive_the_next_save(tmp_path):
    model = make(LIGHT)
    model.save_pretrained(tmp_path, max_shard_size="2MB")
    shards = list(tmp_path.glob("*-of-*.safetensors"))
    assert len(shards) > 1
    assert same_weights(SSGModel.from_pretrained(tmp_path), model)
    other = make(LIGHT, features=12)
    other.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "config.json", WEIGHTS]
    assert same_weights(SSGModel.from_pretrained(tmp_path), other)


def test_config_is_json_only_and_names_no_submodule_or_place(tmp_path, saved):
    SSGModel.from_pretrained(saved).save_pretrained(tmp_path / "copy")
    text = (tmp_path / "copy" / "config.json").read_text()
    config = json.loads(text)
    assert str(tmp_path) not in text
    assert config["format_version"] == FORMAT_VERSION
    assert config["scale"] == 4 and config["generator_type"] == "rrdb" and config["guide_config"] is None
    assert config["generator_config"] == {**RRDB, "scale": 4}
    assert not set(config) & {name for name, _ in make().named_children()}


def test_scale_comes_from_the_generator():
    assert make(scale=2).config.scale == 2
    assert SSGModel(scale=2, generator_config=RRDB).generator.scale == 2
    with pytest.raises(ConfigError, match="scale is 2 but generator_config says 4"):
        SSGModel(scale=2, generator_config={**RRDB, "scale": 4})


# using it


def test_forward_returns_sr_and_logits():
    model = make()
    out = model(torch.rand(2, 3, 9, 13))
    assert isinstance(out, SSGOutput)
    assert out.sample.shape == (2, 3, 36, 52)
    assert out.logits.shape[:2] == (2, 3)
    assert torch.equal(out.logits, model.guide(out.sample))
    assert make(guide=None)(torch.rand(1, 3, 8, 8)).logits is None


@pytest.mark.parametrize(
    ("lr", "told"),
    [
        (torch.rand(3, 8, 8), r"shape \(3, 8, 8\); it needs \(B, 3, H, W\)"),
        (torch.rand(1, 4, 8, 8), r"shape \(1, 4, 8, 8\)"),
        (torch.rand(1, 3, 0, 8), r"shape \(1, 3, 0, 8\)"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), r"torch.uint8; it needs floats"),
        (np.zeros((1, 3, 8, 8), np.float32), r"ndarray; it needs a tensor"),
        (torch.rand(1, 3, 8, 8).half(), r"torch.float16 but its weights are torch.float32"),
    ],
)
def test_forward_says_what_it_needs(lr, told):
    with pytest.raises(ImageError, match=told):
        make(guide=None)(lr)


def test_autocast_takes_the_dtype_it_likes():
    with torch.autocast("cpu", torch.bfloat16):
        assert make(guide=None)(torch.rand(1, 3, 8, 8).bfloat16()).sample.dtype == torch.bfloat16


def test_train_leaves_a_frozen_guide_in_eval():
    model = make(LIGHT)
    assert model.train().guide.training  # nothing frozen: all of it trains
    model.guide.requires_grad_(False)
    model.train()
    assert model.generator.training and not any(module.training for module in model.guide.modules())
    before = {name: buffer.clone() for name, buffer in model.guide.named_buffers()}
    model(torch.rand(2, 3, 16, 16)).logits.sum().backward()
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.guide.named_buffers())
    assert model.generator.conv_first.weight.grad.abs().sum() > 0
    assert not model.eval().generator.training


def test_casting_warns_of_nothing(capfd):
    assert make(guide=None).to(torch.float16).dtype == torch.float16
    assert capfd.readouterr().err == ""


def test_from_components_takes_a_guide_a_folder_or_nothing(tmp_path):
    guide = Guide(SEGFORMER)
    model = SSGModel.from_components("rrdb", guide=guide, generator_config=RRDB)
    assert model.guide is guide and not model.training
    assert model.config.guide_config["id2label"] == {"0": "sky", "1": "road", "2": "car"}
    guide.network.save_pretrained(tmp_path / "segmenter")
    again = SSGModel.from_components("compact", guide=tmp_path / "segmenter", generator_config={"convs": 1})
    assert torch.equal(again.guide.network.state_dict()["decode_head.classifier.weight"], last_weight(guide))
    again.save_pretrained(tmp_path / "model")
    assert same_weights(SSGModel.from_pretrained(tmp_path / "model"), again)
    assert SSGModel.from_components("compact").guide is None


def last_weight(guide: Guide) -> torch.Tensor:
    return guide.network.state_dict()["decode_head.classifier.weight"]


def test_load_generator_replaces_it_and_the_config(tmp_path):
    model = make(LIGHT).describe(license="apache-2.0", data="the old generator's")
    other = SSGModel(generator_type="compact", generator_config={"features": 8, "convs": 2, "scale": 2})
    save_file(other.generator.state_dict(), tmp_path / "compact.safetensors")
    assert model.load_generator(tmp_path / "compact.safetensors") is model
    assert model.scale == model.config.scale == 2
    assert model.config.generator_type == "compact" and model.config.generator_config["convs"] == 2
    assert model.config.license is None and model.config.trained_on == {"generator_weights": "compact.safetensors"}
    model.save_pretrained(tmp_path / "model")
    loaded = SSGModel.from_pretrained(tmp_path / "model")
    assert same_weights(loaded, model)
    lr = torch.rand(1, 3, 8, 8)
    assert torch.equal(loaded(lr).sample, other(lr).sample)


def test_embedded_checkpoint_is_loaded_offline_or_missed_clearly(monkeypatch, tmp_path):
    monkeypatch.setattr("ssg_hub.storage.finding.PRETRAINED", tmp_path / "pretrained")
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("asked the network"))
    with pytest.raises(CheckpointError, match="no embedded checkpoint"):
        SSGModel.from_pretrained()
    with pytest.raises(CheckpointError, match="no large checkpoint"):
        SSGModel.from_pretrained("large")
    model = make()
    model.save_pretrained(tmp_path / "pretrained")
    assert same_weights(SSGModel.from_pretrained(), model)


def test_import_is_light():
    code = "import sys, ssg_hub; print([m for m in ('transformers', 'datasets', 'gradio') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# bad checkpoints: one clear error each


def test_missing_keys(saved):
    state = load_file(saved / WEIGHTS)
    del state["generator.conv_last.bias"]
    save_file(state, saved / WEIGHTS)
    with pytest.raises(CheckpointError, match=r"lack 1 tensor, for instance generator\.conv_last\.bias"):
        SSGModel.from_pretrained(saved)


def test_unexpected_keys(saved, capfd):
    save_file({**load_file(saved / WEIGHTS), "intruder": torch.zeros(1), "other": torch.zeros(1)}, saved / WEIGHTS)
    with pytest.raises(
        CheckpointError, match="have, beyond what the config asks for, 2 tensors, for instance intruder"
    ):
        SSGModel.from_pretrained(saved)
    assert capfd.readouterr().err == ""  # the error is enough


def test_shapes_that_do_not_fit(saved):
    edit_config(saved, generator_config={**RRDB, "features": 12})
    with pytest.raises(
        CheckpointError, match=r"weights of .* do not fit its config \(generator\.\S+ expected shape .*\)\. Get both"
    ):
        SSGModel.from_pretrained(saved)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"format_version": FORMAT_VERSION + 1, "novel": 1}, "pip install -U ssg-hub"),
        ({"format_version": "new"}, "format_version 'new'"),
        ({"generator_type": "swin"}, "unknown generator type 'swin'"),
        ({"generator_type": ["x" * 5000]}, r"unknown generator type \['x{58}; known"),
        ({"generator_config": {"depth": 3}}, "unknown option 'depth'; known are blocks, features, growth, scale"),
        ({"generator_config": {"features": "many"}}, "cannot be used: RRDBNet got features 'many'"),
        ({"guide_config": {"model_type": "nonesuch", "id2label": {"0": "a"}}}, "nonesuch"),
        (
            {"guide_config": {"model_type": "ssg_lite_segmentation", "trunk": "x" * 5000, "id2label": {"0": "a"}}},
            "trunk is 'x{59}; it must",
        ),
        ({"guide_config": {"model_type": "segformer", "x" * 5000: 10**30}}, r"guide_config\.x{40} is 1000"),
    ],
)
def test_configs_that_cannot_be_used(saved, changes, told):
    edit_config(saved, **changes)
    with pytest.raises(CheckpointError, match=told):
        SSGModel.from_pretrained(saved)


def test_config_that_is_not_json(saved):
    (saved / "config.json").write_text("{format_version: 1")
    with pytest.raises(CheckpointError, match="is not JSON"):
        SSGModel.from_pretrained(saved)


def test_folder_without_config(saved):
    (saved / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        SSGModel.from_pretrained(saved)


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"_class_name": "UNet2DModel", "sample_size": 64}, "a UNet2DModel"),
        ({"model_type": "bert"}, "a bert"),
        ([1], ""),
    ],
)
def test_another_librarys_model(saved, config, kind):
    (saved / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=f"{kind}.*not an SSGModel"):
        SSGModel.from_pretrained(saved)


@pytest.mark.parametrize("kept", [0, 5, 300, -1])
def test_truncated_weights(saved, kept):
    content = (saved / WEIGHTS).read_bytes()
    (saved / WEIGHTS).write_bytes(content[:kept])
    with pytest.raises(CheckpointError, match="damaged or truncated"):
        SSGModel.from_pretrained(saved)


def test_pickle_is_refused(saved):
    (saved / WEIGHTS).rename(saved / "diffusion_pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"as a pickle \(diffusion_pytorch_model\.bin\).*refused"):
        SSGModel.from_pretrained(saved)
    with pytest.raises(CheckpointError, match="never written"):
        make(guide=None).save_pretrained(saved, safe_serialization=False)


def test_variant_that_is_not_there_names_those_that_are(saved):
    with pytest.raises(CheckpointError, match=f"no weights of variant 'fp16'. It has {WEIGHTS}, .* with no variant"):
        SSGModel.from_pretrained(saved, variant="fp16")
    (saved / WEIGHTS).rename(saved / "diffusion_pytorch_model.fp16.safetensors")
    words = "It has diffusion_pytorch_model.fp16.safetensors, .*loaded with variant='fp16' in Python; .*command line"
    for load in (SSGModel.from_pretrained, load_networks):
        with pytest.raises(CheckpointError, match=words):
            load(saved)


def test_missing_shard(tmp_path):
    make(LIGHT).save_pretrained(tmp_path, max_shard_size="2MB")
    next(tmp_path.glob("*-00002-of-*")).unlink()
    with pytest.raises(CheckpointError, match="00002-of-.* is missing"):
        SSGModel.from_pretrained(tmp_path)


def test_names_that_are_no_folder(tmp_path, saved):
    for name in (tmp_path / "nothing", str(tmp_path / "nothing"), "./nothing"):
        with pytest.raises(CheckpointError, match="there is no folder"):
            SSGModel.from_pretrained(name)
    with pytest.raises(CheckpointError, match=r"is a file.*load_generator"):
        SSGModel.from_pretrained(saved / WEIGHTS)
    with pytest.raises(ConfigError, match="torch_dtype is 'half'"):
        SSGModel.from_pretrained(saved, torch_dtype="half")
    with pytest.raises(
        ConfigError, match="from_pretrained got unknown option 'varient'; known are .*device_map.*variant"
    ):
        SSGModel.from_pretrained(saved, varient="fp16")


# saving in one go


def test_a_save_that_fails_between_two_files_says_so(saved):
    from PIL import Image

    before = (saved / "config.json").read_bytes()
    (saved / "pictures").touch()  # where a folder is needed
    with pytest.raises(CheckpointError, match="new files beside old ones, so save it again"):
        make(LIGHT).save_pretrained(saved, pictures={"before": Image.new("RGB", (4, 4))})
    assert (saved / "config.json").read_bytes() == before  # the config comes last


def test_a_failed_save_leaves_the_old_model(saved, monkeypatch):
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    monkeypatch.setattr("safetensors.torch.save_file", fail_with_full_disk)
    with pytest.raises(CheckpointError, match="No space left.*untouched"):
        make(LIGHT).save_pretrained(saved)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before


def test_a_failed_first_save_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("safetensors.torch.save_file", fail_with_full_disk)
    with pytest.raises(CheckpointError, match="nothing was left behind"):
        make(guide=None).save_pretrained(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def fail_with_full_disk(state, path, metadata):
    Path(path).write_bytes(b"half")
    raise OSError(28, "No space left on device")


def test_saving_over_a_file(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(CheckpointError, match="is a file; a folder is needed"):
        make(guide=None).save_pretrained(tmp_path / "taken")


def test_a_model_whose_weights_have_no_values_is_not_saved(tmp_path):
    with pytest.raises(ConfigError, match="on the device 'meta', where its weights have no values"):
        make(guide=None).to("meta").save_pretrained(tmp_path / "model")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "content"), [("README.md", "# My project"), ("config.json", '{"model_type": "segformer"}')]
)
def test_saving_replaces_nothing_that_is_not_a_models(name, content, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(CheckpointError, match=f"{name} that is not of an SSGModel"):
        make(guide=None).save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name] and (tmp_path / name).read_text() == content


@pytest.mark.parametrize("variant", ["", "a/b", 16])
def test_what_is_no_variant_is_refused(variant, saved, tmp_path):
    for use in (make(guide=None).save_pretrained, SSGModel.from_pretrained, load_networks):
        with pytest.raises(ConfigError, match="letters and digits"):
            use(saved, variant=variant)


@pytest.mark.parametrize("size", [0, -1, "0GB", "2 gigabytes", None, True])
def test_what_is_no_size_of_shards_is_refused(size, tmp_path):
    with pytest.raises(ConfigError, match="max_shard_size is .*; it must be a number of bytes above 0"):
        make(guide=None).save_pretrained(tmp_path / "model", max_shard_size=size)
    assert not (tmp_path / "model").exists()


def test_a_device_map_that_would_spread_the_model_is_the_best_device(saved, monkeypatch):
    monkeypatch.setattr("ssg_hub.saved_model.best_device", lambda: "cpu")
    model = SSGModel.from_pretrained(saved, device_map="auto", torch_dtype=torch.float16)
    assert (model.device.type, model.dtype) == ("cpu", torch.float16)


def test_saving_with_an_unknown_option(tmp_path):
    listed = "save_pretrained got unknown option 'varient'; known are .*commit_message.*max_shard_size.*variant"
    for option, told in (({"varient": "fp16"}, listed), ({"private": True}, "only push_to_hub=True")):
        with pytest.raises(ConfigError, match=told):
            make(guide=None).save_pretrained(tmp_path / "model", **option)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_saving_gathered_weights_as_scripts_for_accelerate_do(variant, tmp_path):
    """Where each process has a part of the model, its own weights are no longer those of the config."""
    model, whole = make(), make(seed=1).state_dict()
    model.describe(data="made here")
    parted = copy.deepcopy(model)
    parted.generator = nn.Identity()
    options = {"is_main_process": True, "save_function": torch.save, "state_dict": whole, "variant": variant}
    parted.save_pretrained(tmp_path, **options)
    again = SSGModel.from_pretrained(tmp_path, variant=variant, torch_dtype=model.dtype)
    model.load_state_dict(whole)
    assert same_weights(again, model.half().float() if variant else model)
    assert again.config.trained_on["data"] == "made here" and "made here" in (tmp_path / "README.md").read_text()


def test_a_part_of_the_weights_or_another_models_are_not_saved(tmp_path):
    model = make(guide=None)
    part = dict(list(model.state_dict().items())[1:])
    for weights in (part, make(guide=None, features=12).state_dict(), model.state_dict() | {"more": torch.ones(1)}):
        with pytest.raises(ConfigError, match="state_dict has not the weights of the model's config, first in "):
            model.save_pretrained(tmp_path / "model", state_dict=weights)
    assert not (tmp_path / "model").exists()


def compile_generator(model):
    model.generator = torch.compile(model.generator)


def exchange_generator(model):
    model.generator = make(guide=None, features=12).generator


def remove_guide(model):
    model.guide = None


def exchange_guide(model):
    model.guide = Guide({**LIGHT, "image_mean": [0.0] * 3})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (compile_generator, "generator._orig_mod.*model.generator.compile"),
        (exchange_generator, "not those of the model's config, first in generator"),
        (remove_guide, "not those of the model's config, first in guide"),
        (exchange_guide, "the guide's classes, colours or normalisation"),
    ],
)
def test_what_could_not_be_loaded_again_is_not_saved(saved, change, told):
    model = make(LIGHT)
    change(model)
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    with pytest.raises(ConfigError, match=told):
        model.save_pretrained(saved)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before


def test_a_network_that_is_compiled_in_place_is_saved(tmp_path):
    model = make(guide=None)
    model.generator.compile()
    model.save_pretrained(tmp_path)
    assert same_weights(SSGModel.from_pretrained(tmp_path), model)


def test_other_processes_write_nothing(tmp_path):
    make(guide=None).save_pretrained(tmp_path / "rank1", is_main_process=False)
    assert not (tmp_path / "rank1").exists()


# the card


def test_card_tells_what_is_known(tmp_path):
    from PIL import Image

    model = make().describe(
        license="other",
        title="Street ×4",
        data=["CamVid, research use", "BSDS500"],
        metrics={"noisy": {"PSNR-Y": torch.tensor(25.125), "LPIPS": 0.41}, "phone": {"LPIPS": float("nan")}},
        license_note="Research only.",
        steps=12000,
        recipe="configs/street.yaml",
    )
    model.save_pretrained(tmp_path, pictures={"before and after": Image.new("RGB", (4, 4))})
    card = (tmp_path / "README.md").read_text()
    head = yaml.safe_load(card.split("---\n")[1])
    assert head["library_name"] == "ssg_hub" and head["pipeline_tag"] == "image-to-image"
    assert head["license"] == "other" and "super-resolution" in head["tags"]
    for line in (
        "# Street ×4",
        "- CamVid, research use\n- BSDS500",
        "|  | LPIPS | PSNR-Y |",
        "| noisy | 0.410 | 25.12 |",
        "| phone | not measured | not measured |",
        "Research only.",
        "| steps | 12000 |",
        "| recipe | configs/street.yaml |",
        "The mask has 3 classes: sky, road, car.",
        "![before and after](pictures/1.png)",
        "**An upscaled picture is an estimate.** Plates, faces and text may be invented. It is not evidence.",
        "Semantic Segmentation Guided Real-World Super-Resolution",
    ):
        assert line in card
    assert Image.open(tmp_path / "pictures" / "1.png").size == (4, 4)
    assert "{{" not in card


@pytest.mark.parametrize(
    ("origin", "line"),
    [
        (None, "`pip install ssg-hub==1.2`"),
        (
            {"url": "file:///home/ann/ssg", "dir_info": {"editable": True}},
            "`pip install .` in the folder of its source",
        ),
        (
            {"url": "https://example.org/ssg.git", "vcs_info": {"vcs": "git", "commit_id": "0f3a"}},
            '`pip install "ssg-hub @ git+https://example.org/ssg.git@0f3a"`',
        ),
        ({"url": "https://ann:key@example.org/s.git", "vcs_info": {"vcs": "git", "commit_id": "0"}}, "`pip install .`"),
    ],
)
def test_card_says_how_to_install_from_where_it_came(origin, line, monkeypatch):
    import json
    from types import SimpleNamespace

    from ssg_hub.storage import card

    text = None if origin is None else json.dumps(origin)
    package = SimpleNamespace(version="1.2", read_text=lambda name: text)
    monkeypatch.setattr(card.metadata, "distribution", lambda name: package)
    made = card.build_card({"scale": 4, "generator_type": "rrdb"}, "ann/street")
    assert line in made and "ann/ssg" not in made and "ann:key" not in made


def test_the_card_is_the_same_before_and_after_the_config_went_through_its_file(tmp_path):
    stages = [{"stage": "warmup", "minutes": 3}, {"stage": "adversarial", "minutes": 9}]
    model = make(guide=None).describe(metrics={"psnr": 25.0, "lpips": 0.4}, steps=5, stages=stages)
    before = build_card(model.config, "ann/street")
    model.save_pretrained(tmp_path)
    assert build_card(SSGModel.from_pretrained(tmp_path).config, "ann/street") == before


def test_the_limits_of_a_calibrated_model_speak_of_a_probability():
    config = dict(make().config)
    assert "masks of the input and of the result disagree" in build_card(config)
    assert "the probability that the class there is wrong" in build_card({**config, "calibration": {}})


def test_card_says_what_is_not_known():
    card = build_card(make(guide=None).config, "user/repo")
    assert "No metrics were recorded" in card
    assert "were not recorded" in card
    assert "No licence was stated" in card
    assert 'from_pretrained("user/repo")' in card
    assert "mask" not in card.lower()


def test_a_guide_without_names_for_its_classes_is_saved_too(tmp_path):
    make({"model_type": "ssg_lite_segmentation", "width": 8}).save_pretrained(tmp_path)
    assert "## Classes" not in (tmp_path / "README.md").read_text()
    assert SSGModel.from_pretrained(tmp_path).labels == ["LABEL_0", "LABEL_1"]


def test_facts_that_json_cannot_hold():
    with pytest.raises(ConfigError, match="cannot tell a set"):
        make(guide=None).describe(data={"a", "b"})


def test_facts_that_the_card_has_no_place_for_are_refused_at_once():
    with pytest.raises(ConfigError, match="either all of them are rows"):
        make(guide=None).describe(metrics={"val": {"PSNR": 30.0}, "steps": 5})
    with pytest.raises(ConfigError, match="trained_on has data 5"):
        make(guide=None).describe(data=5)


def test_arrays_are_told_as_lists(tmp_path):
    facts = {"classes": np.array([1, 2]), "seed": np.int64(7), "sides": torch.tensor([[8, 9]])}
    model = make(guide=None).describe(**facts)
    model.save_pretrained(tmp_path)
    assert model.config.trained_on == {"classes": [1, 2], "seed": 7, "sides": [[8, 9]]}
    assert "| classes | 1, 2 |" in (tmp_path / "README.md").read_text()


def test_pictures_that_the_card_cannot_show_are_named(tmp_path):
    from PIL import Image

    pictures = (tmp_path / "gone.png", Image.new("CMYK", (4, 4)), np.zeros((4, 4, 3), np.uint8))
    for picture, told in zip(pictures, ("No such file", "mode CMYK", "ndarray"), strict=True):
        with pytest.raises(ConfigError, match=f"the card's picture 'Before' cannot be used .*{told}"):
            make(guide=None).save_pretrained(tmp_path / "model", pictures={"Before": picture})
        assert not (tmp_path / "model").exists()
    with pytest.raises(ConfigError, match="pictures is a list; give a dict"):
        make(guide=None).save_pretrained(tmp_path / "model", pictures=[Image.new("RGB", (4, 4))])


def test_licence_that_the_hub_would_not_take(tmp_path):
    with pytest.raises(ConfigError, match="'Apache License' is no Hub identifier"):
        make(guide=None).describe(license="Apache License").save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()
