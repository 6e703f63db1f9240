"""The loading door: every name that a model or a guide may have, by every way in; offline; two threads at once."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import ssg_hub
import ssg_hub.cli
from ssg_hub.errors import CheckpointError, ConfigError, HubError, SSGError
from ssg_hub.loading import load_guide, load_model, load_networks
from ssg_hub.model import SSGModel
from ssg_hub.storage import public_name

WEIGHTS = "diffusion_pytorch_model.safetensors"


# every name, by every way in


def test_every_kind_of_name_loads(saved, tiny_model, tmp_path):
    lr = torch.rand(1, 3, 12, 9)
    expected = tiny_model(lr).sample
    torch.save({"params_ema": tiny_model.generator.state_dict()}, tmp_path / "x4.pth")
    save_file(tiny_model.generator.state_dict(), tmp_path / "X4.SAFETENSORS")
    for name in (saved, str(saved), tmp_path / "x4.pth", str(tmp_path / "X4.SAFETENSORS"), saved / WEIGHTS):
        model = load_model(name)
        assert torch.equal(model(lr).sample, expected) and not model.training
    assert load_model(tmp_path / "x4.pth").config.trained_on == {"generator_weights": "x4.pth"}
    assert ssg_hub.load_model is load_model


def test_what_stores_models_does_not_know_what_runs_them():
    for path in (Path(ssg_hub.__file__).parent / "storage").glob("*.py"):
        assert set(re.findall(r"from \.\.(\w+)", path.read_text())) <= {"errors"}, path.name


@pytest.mark.parametrize("folder", ["networks", "degradation", "data", "training"])
def test_what_makes_and_trains_networks_does_not_know_what_upscales(folder):
    for path in (Path(ssg_hub.__file__).parent / folder).rglob("*.py"):
        assert not re.search(r"from \.+upscaling", path.read_text()), path.name


def test_embedded_has_one_name_everywhere(capsys):
    from ssg_hub.cli import build_parser, main
    from ssg_hub.demo.settings import Settings

    model, same = load_model(), SSGModel.from_pretrained()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), same.parameters(), strict=True))
    assert load_guide("embedded").labels == model.labels
    assert build_parser("upscale").parse_args(["upscale", "in", "-o", "out"]).model == "embedded"
    assert Settings().model == "embedded"
    assert main(["info", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "embedded"


def test_large_is_a_second_name_everywhere(capsys):
    from ssg_hub.cli import main
    from ssg_hub.storage.card import name_folder
    from ssg_hub.storage.finding import built_in_folder

    model, plain = SSGModel.from_pretrained("large"), ssg_hub.loading.load_networks("large")
    assert model.config.generator_type == "rrdb" and not model.config.denoise_set
    lr = torch.rand(1, 3, 8, 8)
    assert torch.equal(model(lr).sample, plain.generator(lr)) and model(lr).sample.shape == (1, 3, 32, 32)
    guide, embedded = load_guide("large"), load_guide("embedded")
    assert guide.labels == embedded.labels == plain.labels
    state = embedded.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in guide.state_dict().items())
    assert main(["info", "large", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["calibration"] == model.calibration.verified != ""
    assert said["model"] == "large" and 30e6 < said["bytes_on_disk"] <= 40e6
    assert name_folder(built_in_folder("large")) == "large"


@pytest.mark.parametrize("name", ["embedded", "large"])
def test_the_card_of_a_checkpoint_inside_the_package_is_what_its_config_says(name):
    """Made elsewhere and copied here, it would still name the folder that it was made in."""
    from ssg_hub.storage.card import build_card
    from ssg_hub.storage.finding import built_in_folder

    folder = built_in_folder(name)
    made = build_card(json.loads((folder / "config.json").read_text(encoding="utf-8")), name).splitlines()
    kept = (folder / "README.md").read_text(encoding="utf-8").splitlines()
    varies = "To install"  # where this installation came from
    assert [line for line in kept if not line.startswith(varies)] == [
        line for line in made if not line.startswith(varies)
    ]


def test_guides_load_from_a_model_and_from_transformers(saved, tiny_model, tmp_path):
    tiny_model.guide.save_pretrained(tmp_path / "guide")
    picture = torch.rand(1, 3, 64, 64)
    for name in (saved, tmp_path / "guide"):
        guide = load_guide(name)
        assert torch.equal(guide(picture), tiny_model.guide(picture)) and not guide.training
    with pytest.raises(ConfigError, match="SSGModel without a guide"):
        SSGModel.from_components("compact", generator_config={"convs": 1}).save_pretrained(tmp_path / "blind")
        load_guide(tmp_path / "blind")


@pytest.mark.parametrize("option", [{"torch_dtype": torch.float16}, {"device": "cuda"}])
def test_an_option_that_would_do_nothing_is_refused(option, saved, tiny_model, tmp_path):
    save_file(tiny_model.generator.state_dict(), tmp_path / "weights.safetensors")
    loads = [(load_networks, saved), (load_networks, "embedded"), (load_model, tmp_path / "weights.safetensors")]
    for load, name in loads:
        with pytest.raises(ConfigError, match=f"{load.__name__}.* got unknown option '{next(iter(option))}'; .*token"):
            load(name, **option)
    assert load_model(tmp_path / "weights.safetensors", token="hf_none", local_files_only=True).scale == 4


def test_training_starts_from_any_name(saved, tiny_model):
    from ssg_hub.training.config import TrainConfig
    from ssg_hub.training.models import first_model

    config = TrainConfig(output_dir="out", source=["hr"], generator_weights=str(saved))
    model = first_model(config, None)
    assert model.config.generator_config == tiny_model.config.generator_config and model.guide is None
    assert model.config.trained_on == {"generator_weights": "model"} and model.config.license is None
    state = tiny_model.generator.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.generator.state_dict().items())


def test_an_architecture_that_the_weights_do_not_have_is_said_to_have_no_effect(saved, caplog):
    from ssg_hub.training.config import TrainConfig
    from ssg_hub.training.models import first_model

    start = {"output_dir": "out", "source": ["hr"], "generator_weights": str(saved)}
    first_model(TrainConfig(**start, generator_type="rrdb", generator_config={"features": 8}), None)
    assert not caplog.records
    first_model(TrainConfig(**start, generator_type="compact", generator_config={"features": 32}), None)
    assert "generator rrdb with" in caplog.text and "no effect: generator_type compact, features 32." in caplog.text


def test_a_card_names_a_model_without_the_folders_on_this_machine(tmp_path, monkeypatch):
    (tmp_path / "ann/camera").mkdir(parents=True)
    (tmp_path / "ann/weights.pth").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    names = [tmp_path / "ann/camera", "ann/camera", "~/ann/weights.pth", "large", "somebody/street"]
    assert [public_name(name) for name in names] == ["camera", "camera", "weights.pth", "large", "somebody/street"]


def test_the_users_folder_can_be_written_as_a_tilde(saved, tiny_model, tmp_path, monkeypatch):
    from ssg_hub.training.config import parse_config

    monkeypatch.setenv("HOME", str(tmp_path))
    save_file(tiny_model.generator.state_dict(), tmp_path / "g.safetensors")
    tiny_model.guide.save_pretrained(tmp_path / "guide")
    assert load_model("~/model").scale == load_model("~/g.safetensors").scale == load_model(Path("~/model")).scale == 4
    assert load_guide("~/model").labels == load_guide("~/guide").labels == tiny_model.labels
    (tmp_path / "c.yaml").write_text("output_dir: ~/runs/x\nsource: [~/hr, somebody/set]\nguide_model: ~/guide\n")
    config = parse_config(["--config=~/c.yaml", "--void_id", "7"])
    assert config.output_dir == tmp_path / "runs/x" and config.guide_model == str(tmp_path / "guide")
    assert config.source == [str(tmp_path / "hr"), "somebody/set"] and config.void_id == 7


@pytest.mark.parametrize("name", ["someone/none", "none", "./none", "none.pth", "a/b/c", "", "no such", "x" * 300])
@pytest.mark.parametrize("load", [load_model, load_guide])
def test_names_that_lead_nowhere_end_in_one_sentence(load, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SSGError) as caught:
        load(name)
    assert "\n" not in str(caught.value)


# offline means offline


@pytest.mark.parametrize("offline", [True, False])
@pytest.mark.parametrize("command", [["info", "someone/none"], ["upscale", "a.png", "-o", "b.png", "--model", "a/b"]])
def test_an_unknown_model_offline_is_refused_at_once(offline, command, monkeypatch, capsys, tmp_path):
    """By HF_HUB_OFFLINE, and by a Hub that does not answer, where its client alone would try for 23 seconds."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8)).save("a.png")
    begun = time.monotonic()
    assert ssg_hub.cli.main(command) == 2
    assert time.monotonic() - begun < 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    told = "HF_HUB_OFFLINE forbids the network" if offline else "is out of reach and .* is not in the cache"
    assert re.match(f"ssg {command[0]}: .*{told}", line)


@pytest.mark.parametrize("command", [["demo"], ["upscale", "a.png", "-o", "b.png"]])
def test_and_before_anything_heavy_is_imported(command, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    code = (
        "import sys; from ssg_hub.cli import main; code = main(sys.argv[1:]);"
        "print(code, *({'torch', 'gradio', 'diffusers', 'transformers'} & set(sys.modules)))"
    )
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "PYTHONPATH": str(Path(__file__).parents[1])}
    for name in ("HF_HUB_OFFLINE", "SSG_MODEL"):
        environment.pop(name, None)
    ran = subprocess.run(
        [sys.executable, "-c", code, *command, "--model", "someone/none"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ran.stdout.strip() == "2" and "out of reach" in ran.stderr and len(ran.stderr.splitlines()) == 1


@pytest.mark.parametrize("address", ["hf-mirror.com", "hf-mirror.com:443", "ftp://hf-mirror.com", "https://", ""])
def test_an_endpoint_that_is_no_address_is_refused_wherever_it_would_be_asked(address, monkeypatch):
    from ssg_hub.data import streams, tables
    from ssg_hub.storage import hub

    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("asked the network"))
    for ask in (
        lambda: load_model("someone/none"),
        lambda: load_guide("someone/none"),
        lambda: tables.load_pictures(["someone/none"]),
        lambda: streams.load_stream(["someone/none"]),
        lambda: hub.list_files("someone/none", None, "token"),
        lambda: hub.open_repo("someone/none", private=True, revision=None, token="token"),
    ):
        with pytest.raises(HubError, match=f"^HF_ENDPOINT is '{address}', .* begins with https://"):
            ask()
    assert load_model("embedded").scale == 4  # which needs no Hub


def test_an_endpoint_that_no_library_can_read_is_no_traceback():
    environment = {**os.environ, "HF_ENDPOINT": "http://localhost:none", "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "ssg_hub", "info", "someone/none"]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ran.returncode == 2 and "Traceback" not in ran.stderr
    assert ran.stderr.splitlines()[-1].startswith("ssg info: HF_ENDPOINT is 'http://localhost:none', which")


def test_local_files_only_asks_nobody(monkeypatch):
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("asked the network"))
    with pytest.raises(HubError, match="not in the cache.*local_files_only"):
        load_model("someone/none", local_files_only=True)
    with pytest.raises(HubError, match="not in the cache.*local_files_only"):
        load_guide("someone/none", local_files_only=True)


@pytest.mark.parametrize(
    "guide",
    [
        {"model_type": "upernet", "backbone": "someone/tracker", "use_pretrained_backbone": True},
        {"model_type": "upernet", "backbone": "someone/tracker", "use_timm_backbone": False, "backbone_config": None},
        {"model_type": "dpt", "backbone": "someone/tracker"},
        {"model_type": "upernet", "backbone_config": {"model_type": "timm_backbone", "backbone": "someone/tracker"}},
        {"model_type": "segformer", "attn_implementation": "someone/kernel"},
        {"model_type": "segformer", "_attn_implementation": "someone/kernel"},
        {"model_type": "segformer", "auto_map": {"AutoModelForSemanticSegmentation": "someone/code--model.Model"}},
        {"model_type": "segformer", "_name_or_path": "someone/none", "name_or_path": "someone/none"},
    ],
)
def test_no_guide_config_reaches_the_network(guide, saved, monkeypatch):
    asked = []
    monkeypatch.setattr("socket.socket.connect", lambda *args: asked.append(args))
    monkeypatch.setattr("socket.getaddrinfo", lambda *args, **options: asked.append(args) or [])
    path = saved / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "guide_config": {**guide, "id2label": {"0": "a", "1": "b"}}}))
    with pytest.raises(CheckpointError):  # none fits the weights
        load_model(saved)
    assert not asked


# two threads


def in_threads(*jobs) -> list:
    """What each returned; the first exception is raised."""
    results: list = [None] * len(jobs)

    def run(index: int) -> None:
        try:
            results[index] = jobs[index]()
        except BaseException as error:
            results[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def test_threads_load_different_models_at_once(saved, tiny_model, tmp_path):
    torch.save(tiny_model.generator.state_dict(), tmp_path / "x4.pth")
    tiny_model.guide.save_pretrained(tmp_path / "guide")
    expected = tiny_model.generator.state_dict()

    def load_repeatedly(name):
        for _ in range(4):
            state = load_model(name).generator.state_dict()
            assert all(torch.equal(state[key], tensor) for key, tensor in expected.items())

    def build_repeatedly():
        for _ in range(20):
            model = SSGModel.from_components("compact", generator_config={"features": 4, "convs": 1})
            assert not any(p.is_meta or not p.abs().sum() for p in model.parameters() if p.ndim == 4)

    def load_guides():
        for _ in range(3):
            assert not any(parameter.is_meta for parameter in load_guide(tmp_path / "guide").parameters())

    in_threads(
        lambda: load_repeatedly(saved), lambda: load_repeatedly(tmp_path / "x4.pth"), build_repeatedly, load_guides
    )
    assert torch.nn.Module.register_parameter.__module__ == "torch.nn.modules.module"  # nobody's patch stayed


@pytest.mark.slow
def test_threads_use_one_model_while_another_is_loaded(saved, tiny_model):
    photos = [np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8) for seed in range(3)]
    expected = [np.asarray(tiny_model.upscale(photo).image) for photo in photos]
    model = load_model(saved)

    def use(index: int):
        for _ in range(5):
            assert np.array_equal(np.asarray(model.upscale(photos[index]).image), expected[index])

    def load():
        for _ in range(3):
            SSGModel.from_pretrained(saved, torch_dtype=torch.float16)
            time.sleep(0.01)

    in_threads(lambda: use(0), lambda: use(1), lambda: use(2), load)
    assert torch.get_default_dtype() == torch.float32
