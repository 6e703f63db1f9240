"""`ssg export`: what ONNX Runtime makes of the file is what torch makes of the model."""

import json

import numpy as np
import pytest
import torch

from ssg_hub.cli import main
from ssg_hub.errors import CheckpointError, ConfigError, ImageError
from ssg_hub.model import SSGModel
from ssg_hub.networks.exporting import export_onnx

onnx = pytest.importorskip("onnx", reason="needs the packages of ssg-hub[export]")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the packages of ssg-hub[export]")


@pytest.mark.parametrize("part", ["generator", "guide", "both"])
def test_any_size_and_batch_gives_what_torch_gives(part, tiny_model, tmp_path):
    done = export_onnx(tiny_model, tmp_path / "model.onnx", part)
    session = onnxruntime.InferenceSession(str(done.path))
    assert [entry.name for entry in session.get_outputs()] == done.outputs
    for batch, height, width in ((1, 80, 90), (2, 65, 71)):
        image = torch.rand(batch, 3, height, width)
        with torch.no_grad():
            sr, logits = tiny_model.generator(image), tiny_model.guide(image)
            of_sr = tiny_model.guide(sr.clamp(0, 1))
        expected = {"generator": [sr], "guide": [logits], "both": [sr, of_sr]}[part]
        for one, other in zip(expected, session.run(None, {done.inputs[0]: image.numpy()}), strict=True):
            assert np.abs(one.numpy() - other).max() < 1e-4
    assert done.difference < 1e-4


def test_the_file_says_what_it_is(tiny_model, tmp_path):
    assert export_onnx(tiny_model, tmp_path / "bare.onnx").metadata["license"] == "not stated"
    tiny_model.describe(license="apache-2.0")
    export_onnx(tiny_model, tmp_path / "model.onnx", "both")
    graph = onnx.load(tmp_path / "model.onnx")
    said = {entry.key: entry.value for entry in graph.metadata_props}
    assert (said["scale"], said["license"], said["part"]) == ("4", "apache-2.0", "both")
    assert json.loads(said["labels"]) == tiny_model.labels and "not evidence" in said["note"]
    assert [entry.version for entry in graph.opset_import] == [17] and graph.producer_name == "ssg-hub"


def test_half_precision_is_exported_in_full_and_the_model_stays_as_it_was(tiny_model, tmp_path):
    model = tiny_model.to(torch.float16).train()
    modes = [part.training for part in model.modules()]
    export_onnx(model, tmp_path / "model.onnx")
    assert [part.training for part in model.modules()] == modes and model.dtype == torch.float16


def test_what_cannot_be_done_is_one_sentence_and_leaves_nothing(tiny_model, tmp_path, monkeypatch):
    alone = SSGModel.from_components("compact", generator_config={"features": 4, "convs": 1})
    for model, name, part, error, words in (
        (alone, "a.onnx", "guide", ConfigError, "no guide"),
        (alone, "a.onnx", "all", ConfigError, "'all'; known are generator"),
        (alone, "a.pt", "generator", ConfigError, "end in .onnx"),
        (alone, "none/a.onnx", "generator", ImageError, "no folder"),
    ):
        with pytest.raises(error, match=words):
            export_onnx(model, tmp_path / name, part)
    for opset in (10, 24):
        with pytest.raises(ConfigError, match=f"opset is {opset}; 11 to 23 can be exported"):
            export_onnx(alone, tmp_path / "a.onnx", opset=opset)
    (tmp_path / "mine.onnx").write_text("mine")
    with pytest.raises(ImageError, match="exists and is kept"):
        export_onnx(alone, tmp_path / "mine.onnx")

    class Branching(torch.nn.Module):
        def forward(self, lr):
            return lr * (2 if lr.shape[-1] % 2 else 1)

    alone.generator = Branching()
    alone.generator.scale = alone.generator.weight = torch.nn.Parameter(torch.ones(1))
    with pytest.raises(CheckpointError, match="67x101 the exported sr differs from torch"):
        export_onnx(alone, tmp_path / "b.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.onnx"]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"ssg-hub\[export\]"):
        export_onnx(alone, tmp_path / "c.onnx")


@pytest.mark.parametrize("place", ["onnxruntime.InferenceSession", "onnx.checker.check_model", "torch.onnx.export"])
def test_what_the_installed_libraries_refuse_is_one_sentence(place, tmp_path, monkeypatch):
    class OfTheirOwn(Exception):
        """Neither library derives its errors from Python's."""

    def refuse(*args, **options):
        raise OfTheirOwn("opset 17 is\nnot known here")

    monkeypatch.setattr(place, refuse)
    model = SSGModel.from_components("compact", generator_config={"features": 4, "convs": 1})
    with pytest.raises(CheckpointError, match=r"with opset 17 \(opset 17 is not known here\). Try another opset"):
        export_onnx(model, tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def test_the_command(tiny_model, tmp_path, capsys):
    tiny_model.save_pretrained(tmp_path / "model")
    out = tmp_path / "model.onnx"
    assert main(["export", str(tmp_path / "model"), "-o", str(out)]) == 0
    said = capsys.readouterr().out
    assert "opset 17, lr to sr" in said and "differs from torch by" in said
    assert main(["export", str(tmp_path / "model"), "-o", str(out)]) == 2
    assert "exists" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "model"), "-o", str(out), "--overwrite", "--part", "both"]) == 0
