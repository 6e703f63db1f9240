"""int8: what is stored comes back, the fit beats plain rounding, the engine uses it for its own weights only."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from standins import Difference
from torch import nn

from ssg_hub.cli import main
from ssg_hub.commands.quantize import find_most
from ssg_hub.errors import CheckpointError, ConfigError, ImageError
from ssg_hub.loading import load_networks
from ssg_hub.model import SSGModel
from ssg_hub.networks.compact import SRVGGNetCompact
from ssg_hub.networks.int8 import Int8, Int8Compact, Layer, hash_weights, pack, read_int8
from ssg_hub.quantization import gates
from ssg_hub.quantization.fit import equalise, fit_int8
from ssg_hub.quantization.pictures import MEASURED, gather, read_pictures, split
from ssg_hub.storage.weights_files import INT8
from ssg_hub.upscaling.upscale import upscale

needs_openvino = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed")
LAST = 5  # number of the last convolution


@pytest.fixture(scope="module")
def generator() -> SRVGGNetCompact:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = SRVGGNetCompact(features=8, convs=4).eval()
        with torch.no_grad():
            for part in network.body:
                if isinstance(part, nn.Conv2d):  # channels of very different ranges, as trained ones have
                    part.weight *= torch.logspace(-1, 0.5, len(part.weight)).view(-1, 1, 1, 1)
    return network


@pytest.fixture(scope="module")
def pictures() -> list[torch.Tensor]:
    rng = np.random.default_rng(0)
    small = [Image.fromarray(rng.integers(0, 256, (5, 6, 3), np.uint8)).resize((40, 32), 3) for _ in range(4)]
    return [torch.from_numpy(np.asarray(image) / 255).float().permute(2, 0, 1)[None] for image in small]


@pytest.fixture(scope="module")
def fitted(generator, pictures) -> Int8:
    return fit_int8(generator, pictures[:3], {0, LAST})


def error(network: nn.Module, generator: nn.Module, lr: torch.Tensor) -> float:
    with torch.inference_mode():
        return float((network(lr) - generator(lr)).square().mean())


def test_equalised_channels_compute_the_same(generator, pictures):
    with torch.inference_mode():
        exact, _, _ = equalise(generator, pictures)
        same = Int8Compact(generator, Int8("", [Layer(weight, bias) for weight, bias in exact]))
        assert torch.allclose(same(pictures[0]), generator(pictures[0]), atol=1e-5)


def test_the_fit_is_closer_than_plain_rounding(generator, pictures, fitted):
    plain = []
    with torch.inference_mode():
        x = pictures[0]
        for part in generator.body:
            if isinstance(part, nn.Conv2d):
                step = part.weight.abs().amax((1, 2, 3)) / 127
                rounded = (part.weight / step.view(-1, 1, 1, 1)).round() * step.view(-1, 1, 1, 1)
                low, high = min(0.0, float(x.min())), float(x.max())
                scale = (high - low) / 255
                quantised = len(plain) not in (0, LAST)
                layer = Layer(rounded, part.bias, step, scale, round(-low / scale))
                plain.append(layer if quantised else Layer(part.weight, part.bias))
            x = part(x)
    before = error(Int8Compact(generator, Int8("", plain)), generator, pictures[3])
    after = error(Int8Compact(generator, fitted), generator, pictures[3])
    assert after < 0.5 * before


def test_lpips_that_moves_up_in_one_set_and_down_in_another_has_moved():
    one, other, low, high = (torch.full((1, 3, 2, 2), value) for value in (0.4, 0.5, 0.0, 1.0))

    def distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a - b).abs().mean()

    def moved(hr: list, sets: list[str]) -> float:
        pictures = gates.Pictures([one] * 2, hr, sets)
        return gates._measure(lambda lr: one, lambda lr: other, pictures, distance)[1]

    assert moved([low, high], ["a", "b"]) == pytest.approx(0.1, abs=1e-6)
    assert moved([low, high], ["a", "a"]) == pytest.approx(0, abs=1e-6)
    assert moved([low, None], ["a", "b"]) == pytest.approx(0.1, abs=1e-6)
    assert moved([None, None], ["a", "b"]) == pytest.approx(0.1, abs=1e-6)


def test_each_picture_is_measured_before_the_next_is_computed():
    done = []

    def noting(name: str):
        def note(one: torch.Tensor, other: torch.Tensor | None = None) -> torch.Tensor:
            done.append(name)
            return one if other is None else (one - other).abs().mean()

        return note

    small = [torch.full((1, 3, 2, 2), 0.5)] * 3
    gates._measure(noting("exact"), noting("int8"), gates.Pictures(small, [None] * 3, ["a"] * 3), noting("LPIPS"))
    assert done == ["exact", "int8", "LPIPS"] * 3


def test_of_large_pictures_the_middle_is_measured_with_its_reference(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (MEASURED + 7, 30, 3), np.uint8)
    for name, values in (("lr", pixels), ("hr", pixels.repeat(2, 0).repeat(2, 1))):
        (tmp_path / name).mkdir()
        Image.fromarray(values).save(tmp_path / name / "a.png")
    pictures = read_pictures([tmp_path / "lr/a.png"], [tmp_path / "hr"], scale=2)
    middle = torch.from_numpy(pixels[3:-4]).permute(2, 0, 1)[None] / 255
    assert torch.equal(pictures.lr[0], middle)
    assert torch.equal(pictures.hr[0], middle.repeat_interleave(2, -2).repeat_interleave(2, -1))
    with pytest.raises(ImageError, match="is not 4 times as large"):
        read_pictures([tmp_path / "lr/a.png"], [tmp_path / "hr"], scale=4)
    # a remainder that LR does not show changes nothing
    Image.fromarray(np.pad(pixels.repeat(2, 0).repeat(2, 1), ((0, 1), (0, 1), (0, 0)))).save(tmp_path / "hr/a.png")
    assert torch.equal(read_pictures([tmp_path / "lr/a.png"], [tmp_path / "hr"], scale=2).hr[0], pictures.hr[0])


def test_a_picture_that_lpips_cannot_measure_is_named_before_the_fit(tmp_path):
    Image.new("RGB", (40, 7)).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"a\.png has 40x7 pixels; .* needs 8 a side"):
        read_pictures([tmp_path / "a.png"], [], scale=4)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert read_pictures([tmp_path / "a.png"], [], scale=4).lr[0].shape == (1, 3, 8, 8)


def test_a_reference_is_found_by_a_name_that_macos_spelt(tmp_path):
    for name in ("lr/cafe\u0301.png", "hr/caf\u00e9.png"):
        (tmp_path / name).parent.mkdir()
        Image.new("RGB", (32, 32)).save(tmp_path / name)
    assert read_pictures([tmp_path / "lr/cafe\u0301.png"], [tmp_path / "hr"], scale=1).hr[0] is not None


def test_two_references_of_one_name_are_refused(tmp_path):
    for name in ("lr", "hr", "other"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / "a.png")
    with pytest.raises(ConfigError, match="hr/a.png and .*other/a.png"):
        read_pictures([tmp_path / "lr/a.png"], [tmp_path / "hr", tmp_path / "other"], scale=1)


def test_what_is_stored_comes_back(generator, pictures, fitted, tmp_path):
    (tmp_path / INT8).write_bytes(pack(fitted))
    back = read_int8(tmp_path / INT8, generator)
    assert back.source == hash_weights(generator) and back.fits(generator)
    with torch.inference_mode():
        assert torch.equal(Int8Compact(generator, back)(pictures[3]), Int8Compact(generator, fitted)(pictures[3]))
    assert all(layer.step is None or layer.step.shape == layer.bias.shape for layer in back.layers)
    other = SRVGGNetCompact(features=8, convs=4)
    assert not back.fits(other)
    with pytest.raises(CheckpointError, match="damaged or of another model"):
        read_int8(tmp_path / INT8, SRVGGNetCompact(features=8, convs=3, scale=2))
    save_file(load_file(tmp_path / INT8), tmp_path / INT8, {"source": "", "levels": "[]", "facts": "{}"})
    with pytest.raises(CheckpointError, match="damaged"):
        read_int8(tmp_path / INT8, generator)
    for levels in ('{"1": [1.0, Infinity]}', '{"1": [1e999, 0]}', "[" * 10**5):
        save_file(load_file(tmp_path / INT8), tmp_path / INT8, {"source": "", "levels": levels, "facts": "{}"})
        with pytest.raises(CheckpointError, match="damaged or of another model"):
            read_int8(tmp_path / INT8, generator)
    spoilt = replace(fitted, layers=[replace(layer, bias=layer.bias * float("nan")) for layer in fitted.layers])
    (tmp_path / INT8).write_bytes(pack(spoilt))
    with pytest.raises(CheckpointError, match="layer 0 holds values that are not finite"):
        read_int8(tmp_path / INT8, generator)
    (tmp_path / INT8).write_bytes(pack(fitted)[:-100])
    with pytest.raises(CheckpointError, match="damaged"):
        read_int8(tmp_path / INT8, generator)


@needs_openvino
def test_auto_uses_it_for_its_own_weights_alone(generator, fitted, pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("SSG_CACHE", str(tmp_path / "cache"))
    model = SSGModel.from_components("compact", generator_config={"features": 8, "convs": 4})
    model.generator.load_state_dict(generator.state_dict())
    model.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / INT8).write_bytes(pack(fitted))
    for loaded in (load_networks(tmp_path / "model"), SSGModel.from_pretrained(tmp_path / "model")):
        exact = upscale(loaded, pictures[3], segment=False, engine="openvino")
        rounded = upscale(loaded, pictures[3], segment=False, engine="auto")
        assert (exact.report["dtype"], rounded.report["dtype"]) == ("float32", "int8")
        assert rounded.report["engine"] == "openvino" and rounded.report["notes"] == []
        one, other = (np.asarray(result.image).astype(int) for result in (exact, rounded))
        assert 0 < np.abs(one - other).mean() < 2
        with torch.no_grad():
            loaded.generator.body[0].weight *= 1.01  # other weights
        assert upscale(loaded, pictures[3], engine="auto").report["dtype"] == "float32"


@pytest.mark.parametrize(
    "most, passes, tried", [(32, 32, [32]), (32, 9, [32, 16, 8, 12, 10]), (4, 0, [4, 2]), (1, 0, [1])]
)
def test_the_most_layers_that_pass_are_found(most, passes, tried):
    seen = []

    def attempt(number: int) -> int | None:
        seen.append(number)
        return number if number <= passes else None

    assert find_most(attempt, most) == max((number for number in tried if number <= passes), default=None)
    assert seen == tried


def test_each_folder_has_its_share_of_the_pictures_held_out():
    many, few = ([Path(kind, str(number)) for number in range(count)] for kind, count in (("many", 600), ("few", 11)))
    fitted, held_out = split([many, few])
    assert held_out == [*many[:600:50], *few[::5]]  # twelve of the many, every fifth of the few
    assert not set(fitted) & set(held_out) and len(fitted) <= 28
    assert split([few[:2], many[:2]]) == ([], [*few[:2], *many[:2]])  # too few to fit to


@pytest.mark.parametrize("counts", [(1, 1, 1, 1, 1, 1), (1, 3)])
def test_pictures_that_are_all_measured_on_are_counted_in_all_folders(counts, tmp_path):
    folders = [tmp_path / str(number) for number in range(len(counts))]
    for folder, count in zip(folders, counts, strict=True):
        folder.mkdir()
        for number in range(count):
            (folder / f"{number}.png").touch()
    with pytest.raises(ImageError, match=rf"the {sum(counts)} pictures of {folders[0]}, .*leave none to fit to. Give"):
        gather(folders)


def test_layers_before_the_first_in_int8_stay_as_they_were(generator, pictures):
    with torch.inference_mode():
        exact, _, _ = equalise(generator, pictures[:1])
    fitted = fit_int8(generator, pictures[:1], {0, 1, 2, 4, LAST})
    assert [layer.step is not None for layer in fitted.layers] == [False, False, False, True, False, False]
    for (weight, bias), layer in zip(exact[:3], fitted.layers[:3], strict=True):
        assert torch.equal(layer.weight, weight) and torch.equal(layer.bias, bias)
    assert torch.equal(fitted.layers[4].weight, exact[4][0])
    assert not torch.equal(fitted.layers[4].bias, exact[4][1])  # makes up for what came before


@needs_openvino
def test_the_command_keeps_what_passes_and_nothing_else(generator, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SSG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("ssg_hub.evaluation.distances.find_distances", lambda where: {"lpips": Difference()})
    monkeypatch.setattr(gates, "_speed_up", lambda exact, rounded: 2.0)
    rng = np.random.default_rng(1)
    (tmp_path / "lr").mkdir()
    for number in range(6):
        photo = Image.fromarray(rng.integers(0, 256, (5, 6, 3), np.uint8)).resize((40, 32), 3)
        photo.save(tmp_path / "lr" / f"{number}.png")
    model = SSGModel.from_components("compact", generator_config={"features": 8, "convs": 4})
    model.generator.load_state_dict(generator.state_dict())
    model.save_pretrained(tmp_path / "model")
    command = ["quantize", str(tmp_path / "model"), "--calibrate", str(tmp_path / "lr")]
    monkeypatch.setattr(gates, "CLOSEST", 1000.0)
    assert main(command) == 1
    printed = capsys.readouterr().out
    assert "FAILED  dB from float32" in printed and "nothing was kept" in printed
    assert not (tmp_path / "model" / INT8).exists()
    for name, limit in (("CLOSEST", 1.0), ("MOST_LPIPS", 1.0), ("MOST_COLOR", 50.0), ("MOST_CONSTANT", 1.0)):
        monkeypatch.setattr(gates, name, limit)
    assert main(command) == 0
    kept = read_int8(tmp_path / "model" / INT8, model.generator)
    assert kept.fits(model.generator) and kept.facts["layers"] == 4
    assert main([*command[:2], "--calibrate", str(tmp_path / "model")]) == 2  # no pictures there
    for wrong, words in (
        (["--references", str(tmp_path / "absent")], "absent is not a folder"),
        (["--calibrate", str(tmp_path / "lr"), str(tmp_path / "typo")], "typo has no pictures"),
        (["-o", str(tmp_path / "lr/0.png")], "0.png is a file; -o takes a folder"),
    ):
        assert main([*command, *wrong]) == 2
        assert words in capsys.readouterr().err
    assert main(["quantize", "--calibrate", str(tmp_path / "lr")]) == 2  # not into the installed package
    assert "embedded is no folder of yours: say with -o" in capsys.readouterr().err
    other = SSGModel.from_components("compact", generator_config={"features": 8, "convs": 4})
    other.save_pretrained(tmp_path / "other")
    assert main([*command, "-o", str(tmp_path / "other")]) == 2
    assert "holds another model" in capsys.readouterr().err
