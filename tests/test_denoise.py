"""Denoise strength: two sets of weights, what lies between them, and how they travel."""

import copy
import json
import threading

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ssg_hub.cli import main
from ssg_hub.errors import CheckpointError, ConfigError
from ssg_hub.model import SSGModel
from ssg_hub.networks.registry import build_generator

TINY = {"features": 6, "convs": 2, "scale": 2}
PHOTO = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)


def new_generator(seed: int, **changes):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_generator("compact", TINY | changes).eval()


@pytest.fixture
def model() -> SSGModel:
    """A model with two sets of weights."""
    model = SSGModel.from_components("compact", generator_config=TINY)
    model.generator.load_state_dict(new_generator(1).state_dict())
    return model.set_denoise_weights(new_generator(2).state_dict())


def pixels(result) -> np.ndarray:
    return np.asarray(result.image).astype(int)


def test_endpoints_are_the_two_sets_themselves(model):
    lr = torch.rand(1, 3, 8, 8)
    assert model.generator_for(1) is model.generator and model.generator_for() is model.generator
    assert torch.equal(model.generator_for(1.0)(lr), new_generator(1)(lr))
    assert torch.equal(model.generator_for(0)(lr), new_generator(2)(lr))


@pytest.mark.parametrize("denoise", [0.5, 0.25, 1e-3])
def test_between_them_every_weight_is_interpolated(model, denoise):
    clean, grain = new_generator(1).state_dict(), new_generator(2).state_dict()
    expected = build_generator("compact", TINY)
    expected.load_state_dict({name: grain[name] + denoise * (clean[name] - grain[name]) for name in clean})
    lr = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(model.generator_for(denoise)(lr), expected(lr))
    for own, stored in ((model.generator, clean), (model.grain_generator, grain)):  # these stay as they are
        assert all(torch.equal(tensor, stored[name]) for name, tensor in own.state_dict().items())


def test_a_blend_is_of_the_present_weights_however_they_were_changed(model):
    before = model.generator_for(0.5)
    with torch.no_grad():
        model.grain_generator.body[0].weight.add_(1)
    model.generator.body[0].weight.data.add_(2)  # as moving averages are written; torch counts no version for it
    after = model.generator_for(0.5)
    assert torch.allclose(after.body[0].weight, before.body[0].weight + 1.5)
    assert model.half().generator_for(0.5).body[0].weight.dtype == torch.float16


def test_a_copy_blends_its_own_weights(model):
    model.generator_for(0.5)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin.generator.body[0].weight.zero_()
    expected = 0.5 * model.grain_generator.body[0].weight
    assert torch.allclose(twin.generator_for(0.5).body[0].weight, expected)


def test_several_threads_ask_for_several_strengths(model):
    expected = {d: model.generator_for(d).state_dict() for d in (0.2, 0.4, 0.6, 0.8)}
    wrong = []

    def ask(denoise: float) -> None:
        for _ in range(40):
            state = model.generator_for(denoise).state_dict()
            if not all(torch.equal(state[name], tensor) for name, tensor in expected[denoise].items()):
                wrong.append(denoise)

    threads = [threading.Thread(target=ask, args=(denoise,)) for denoise in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_upscale_takes_it_and_the_report_says_it(model):
    one, zero, half = (model.upscale(PHOTO, outscale=2, denoise=denoise) for denoise in (1, 0, 0.5))
    assert [result.report["denoise"] for result in (one, zero, half)] == [1.0, 0.0, 0.5]
    plain = SSGModel.from_components("compact", generator_config=TINY)
    for seed, result in ((1, one), (2, zero)):
        plain.generator = new_generator(seed)
        assert np.array_equal(pixels(plain.upscale(PHOTO, outscale=2)), pixels(result))
    plain.generator = model.generator_for(0.5)
    assert np.array_equal(pixels(plain.upscale(PHOTO, outscale=2)), pixels(half))
    assert np.array_equal(pixels(model.upscale(PHOTO, outscale=2)), pixels(one))
    assert model.upscale(PHOTO, outscale=2, denoise=0.5, dtype="bfloat16").report["dtype"] == "bfloat16"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_both_sets_are_saved_and_loaded(model, tmp_path, dtype):
    model.set_denoise_weights(model.grain_generator.state_dict(), default=0.5).to(dtype).save_pretrained(tmp_path)
    names = set(load_file(tmp_path / "diffusion_pytorch_model.safetensors"))
    assert {name.split(".")[0] for name in names} == {"generator", "grain_generator"}
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["denoise_set"] is True and config["denoise_default"] == 0.5
    assert not set(config) & {name for name, _ in model.named_children()}
    loaded = SSGModel.from_pretrained(tmp_path, torch_dtype=dtype)
    lr = torch.rand(1, 3, 8, 8).to(dtype)
    for denoise in (0, 0.3, 0.5, 1):
        assert torch.equal(loaded.generator_for(denoise)(lr), model.generator_for(denoise)(lr))
    for options in ({}, {"denoise": None}):
        assert loaded.float().upscale(PHOTO, outscale=2, **options).report["denoise"] == 0.5
    assert "denoise" in (tmp_path / "README.md").read_text()


def test_half_precision_is_blended_precisely(model):
    """In half precision itself, a - b and its share would each be rounded."""
    model.half()
    clean, grain = (part.body[0].weight.float() for part in (model.generator, model.grain_generator))
    expected = (grain + 0.3 * (clean - grain)).half()
    assert torch.equal(model.generator_for(0.3).body[0].weight, expected)


def test_an_older_checkpoint_loads_as_before(model, tmp_path):
    model.set_denoise_weights(None).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config.pop("denoise_set") is False and config.pop("denoise_default") == 1.0
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = SSGModel.from_pretrained(tmp_path)
    assert loaded.grain_generator is None and loaded.config.denoise_set is False
    assert loaded.upscale(PHOTO, outscale=2).report["denoise"] == 1.0


def test_what_a_model_with_one_set_says():
    plain = SSGModel.from_components("compact", generator_config=TINY)
    for denoise in (0, 0.5):
        with pytest.raises(ConfigError, match=f"denoise is {denoise}, but this model has one set of weights"):
            plain.upscale(PHOTO, denoise=denoise)
    assert plain.upscale(PHOTO, outscale=2, denoise=1).report["denoise"] == 1


def test_a_strength_may_be_a_number_of_numpy(model, tmp_path):
    half = np.float32(0.5)
    result = model.upscale(PHOTO, outscale=2, denoise=half)
    assert np.array_equal(pixels(result), pixels(model.upscale(PHOTO, outscale=2, denoise=0.5)))
    assert json.loads(json.dumps(result.report))["denoise"] == 0.5
    model.set_denoise_weights(model.grain_generator.state_dict(), default=half).save_pretrained(tmp_path)
    assert SSGModel.from_pretrained(tmp_path).denoise_default == 0.5
    new = SSGModel(generator_type="compact", generator_config=TINY, denoise_set=True, denoise_default=half)
    assert json.loads(json.dumps(new.denoise_default)) == 0.5


@pytest.mark.parametrize("denoise", [-0.1, 1.1, "much", True, float("nan")])
def test_what_is_no_strength(model, denoise):
    with pytest.raises(ConfigError, match="must be a number from 0"):
        model.upscale(PHOTO, denoise=denoise)
    with pytest.raises(ConfigError, match="denoise_default is"):
        model.set_denoise_weights(new_generator(2).state_dict(), default=denoise)


def test_a_second_set_comes_from_a_file_and_goes_with_its_generator(model, tmp_path):
    save_file(new_generator(3).state_dict(), tmp_path / "grain.safetensors")
    model.set_denoise_weights(tmp_path / "grain.safetensors")
    lr = torch.rand(1, 3, 8, 8)
    assert torch.equal(model.generator_for(0)(lr), new_generator(3)(lr))
    model.load_generator(tmp_path / "grain.safetensors")
    assert model.grain_generator is None and model.config.denoise_set is False


def test_second_sets_that_do_not_fit(model, tmp_path):
    save_file(new_generator(3, convs=3).state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"other.safetensors is compact .*'convs': 3.*must be as the first"):
        model.set_denoise_weights(tmp_path / "other.safetensors")
    state = new_generator(3).state_dict()
    for wrong in (state | {"more": torch.zeros(1)}, {}, state | {"body.0.weight": torch.zeros(1)}):
        with pytest.raises(CheckpointError, match="second set of weights does not fit"):
            model.set_denoise_weights(wrong)
    state["body.0.weight"][0, 0, 0, 0] = float("nan")
    with pytest.raises(CheckpointError, match="second set hold values that are not finite"):
        model.set_denoise_weights(state)
    assert torch.equal(model.generator_for(0).body[0].weight, new_generator(2).body[0].weight)  # the one before stays


def test_configs_that_contradict_themselves():
    with pytest.raises(ConfigError, match="denoise_set is 1"):
        SSGModel(generator_type="compact", generator_config=TINY, denoise_set=1)
    with pytest.raises(ConfigError, match="without a second set"):
        SSGModel(generator_type="compact", generator_config=TINY, denoise_default=0.5)


def test_the_command_line(model, tmp_path, capsys):
    from PIL import Image

    model.save_pretrained(tmp_path / "model")
    Image.fromarray(PHOTO).save(tmp_path / "a.png")
    command = ["upscale", str(tmp_path / "a.png"), "--model", str(tmp_path / "model"), "--outscale", "2"]
    for denoise in ("0", "0.5"):
        assert main([*command, "-o", str(tmp_path / f"{denoise}.png"), "--denoise", denoise]) == 0
        expected = model.upscale(PHOTO, outscale=2, denoise=float(denoise))
        assert np.array_equal(np.asarray(Image.open(tmp_path / f"{denoise}.png")), pixels(expected))
    capsys.readouterr()
    assert main([*command, "-o", str(tmp_path / "x.png"), "--denoise", "2"]) == 2
    assert "denoise is 2.0" in capsys.readouterr().err
    assert main(["info", str(tmp_path / "model"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["denoise"] == "0 to 1, default 1"
