"""Banks at rest and at work: files, the Hub, the command line, the contact sheet."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from made_pictures import draw_scene, write_camera
from PIL import Image
from safetensors.torch import load_file, save_file

from ssg_hub.cli import main
from ssg_hub.degradation import load_degradation
from ssg_hub.degradation.bank import DegradationBank
from ssg_hub.degradation.bank_files import CONFIG, TENSORS
from ssg_hub.degradation.contact_sheet import draw_contact_sheet
from ssg_hub.degradation.learning.estimate import learn_bank
from ssg_hub.errors import ConfigError, ImageError

TOKEN = "hf_owner0123456789"


@pytest.fixture(scope="module")
def bank(tmp_path_factory) -> DegradationBank:
    return learn_bank(write_camera(tmp_path_factory.mktemp("camera") / "lr", count=3))


@pytest.fixture
def folder(bank, tmp_path):
    bank.save(tmp_path / "bank")
    return tmp_path / "bank"


def ssg(*arguments) -> int:
    return main([str(argument) for argument in arguments])


def degrade(bank: DegradationBank) -> torch.Tensor:
    return bank.degrade(draw_scene(7, (128, 96)).expand(4, -1, -1, -1), 4, torch.Generator().manual_seed(3))


def test_a_saved_bank_makes_the_same_lr(bank, folder, tmp_path):
    loaded = DegradationBank.load(folder)
    # patches are stored in half precision: one level at most, hardly anywhere
    difference = (degrade(loaded) - degrade(bank)).abs()
    assert difference.max() < 1.1 / 255 and difference.gt(1e-4).float().mean() < 0.01
    loaded.save(tmp_path / "again")
    assert torch.equal(degrade(DegradationBank.load(tmp_path / "again")), degrade(loaded))
    assert torch.equal(degrade(load_degradation(str(folder))), degrade(loaded))
    assert loaded.report == bank.report and loaded.noise.notes == bank.noise.notes
    assert torch.equal(loaded.examples, bank.examples) and loaded.examples.shape == (3, 3, 64, 64)


def test_saving_leaves_other_files_alone_and_no_temporary_ones(bank, tmp_path):
    (tmp_path / "config.json").write_text("of a model")
    bank.save(tmp_path)
    bank.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", CONFIG, TENSORS}
    assert (tmp_path / TENSORS).stat().st_mode == (tmp_path / CONFIG).stat().st_mode
    with pytest.raises(ConfigError, match=r"could not be saved to .*config.json"):
        bank.save(tmp_path / "config.json")


def test_tensors_that_share_memory_are_saved(bank, tmp_path):
    shared = replace(bank, chroma_steps=bank.luma_steps)
    shared.save(tmp_path)
    assert torch.equal(DegradationBank.load(tmp_path).chroma_steps, bank.luma_steps)


def test_banks_of_an_earlier_edition_have_no_examples(bank, folder):
    tensors = load_file(folder / TENSORS)
    del tensors["examples"]
    save_file(tensors, folder / TENSORS)
    loaded = DegradationBank.load(folder)
    assert len(loaded.examples) == 0
    assert draw_contact_sheet(loaded).height < draw_contact_sheet(bank).height


def damage_json(folder):
    (folder / CONFIG).write_text("{")


def damage_list(folder):
    (folder / CONFIG).write_text("[]")


def damage_tensors(folder):
    content = (folder / TENSORS).read_bytes()
    (folder / TENSORS).write_bytes(content[: len(content) // 2])


def damage_version(folder):
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**config, "format_version": 9}))


def setting(**changes):
    def damage(folder):
        config = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps({**config, **changes}))

    return damage


def tensor(name, made):
    def damage(folder):
        change(folder, **{name: made(load_file(folder / TENSORS)[name]).contiguous()})

    return damage


def damage_setting(folder):
    config = json.loads((folder / CONFIG).read_text())
    del config["scale"]
    (folder / CONFIG).write_text(json.dumps(config))


def change(folder, **tensors):
    save_file({**load_file(folder / TENSORS), **tensors}, folder / TENSORS)


def damage_shape(folder):
    change(folder, kernels=load_file(folder / TENSORS)["kernels"][:2].contiguous())


def damage_value(folder):
    change(folder, levels=load_file(folder / TENSORS)["levels"] * torch.nan)


def damage_missing(folder):
    tensors = load_file(folder / TENSORS)
    del tensors["patches"]
    save_file(tensors, folder / TENSORS)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (damage_json, "is damaged"),
        (damage_list, "is damaged"),
        (damage_tensors, "is damaged"),
        (damage_version, "has format 9; this release reads 1"),
        (damage_setting, "lacks scale"),
        (damage_shape, r"luma_steps .* has shape \[3, 8, 8\].*\(N 8 8\) of .* is needed"),
        (damage_value, "levels of .* not finite"),
        (damage_missing, "lacks patches"),
        (setting(scale="4"), "scale of .* is '4'; 1, 2 or 4 is needed"),
        (setting(scale=True), "scale of .* is True"),
        (setting(generic_share=float("nan")), "generic_share of .* a number from 0 to 1"),
        (setting(random_grid=1), "random_grid of .* true or false"),
        (setting(noise_notes="none"), "noise_notes of .* a list"),
        (setting(report={"notes": [5]}), "report of .* a dict"),
        (setting(scale=1), "kernels of .* cannot be centred for scale 1"),
        (tensor("kernels", lambda kernels: kernels * 2), "does not sum to 1"),
        (tensor("kernels", lambda kernels: kernels.long()), r"kernels of .* I64; \(N k k\) of"),
        (tensor("luma_steps", lambda steps: steps - 1), "luma_steps of .* not from 0 to 65535"),
        (tensor("luma_steps", lambda steps: (steps + torch.inf).half()), "luma_steps of .* not finite"),
        (tensor("owners", lambda owners: owners + 3), "owners of .* not from -1 to 2"),
        (tensor("examples", lambda examples: examples.float()), "examples of .* F32"),
        (lambda folder: (folder / TENSORS).unlink(), "is no degradation bank"),
        (shutil.rmtree, "is no degradation bank"),
    ],
)
def test_damaged_banks(folder, damage, told):
    damage(folder)
    with pytest.raises(ConfigError, match=told):
        DegradationBank.load(folder)


# The Hub. What runs in the client process takes and gives JSON.


def push_bank(folder: str, repo_id: str, token: str | None = None) -> dict:
    return {"oid": DegradationBank.load(folder).push_to_hub(repo_id, private=True, token=token).oid}


def load_bank(name: str, token: str | None = None) -> dict:
    bank = DegradationBank.load(name, token=token)
    return {"sum": degrade(bank).double().sum().item(), "examples": len(bank.examples), "names": "names" in bank.report}


def degrade_by_name(name: str) -> float:
    lr = load_degradation(name).degrade(draw_scene(7, (128, 96)), 4, torch.Generator().manual_seed(3))
    return lr.double().sum().item()


def test_a_bank_on_the_hub(folder, hub, client):
    hub.users = {TOKEN: "ann"}
    hub.add_repo("ann/model", {"config.json": b"{}", "README.md": b"# A model"})
    # beside a model, in a repository of its own, and by name in a configuration
    assert "oid" in client.run(push_bank, folder=str(folder), repo_id="ann/model", token=TOKEN)
    assert set(hub.files("ann/model")) == {"config.json", "README.md", CONFIG, TENSORS}
    assert hub.files("ann/model")["README.md"] == b"# A model"
    client.run(push_bank, folder=str(folder), repo_id="ann/bank", token=TOKEN)
    card = hub.files("ann/bank")["README.md"].decode()
    assert hub.repos["ann/bank"].private and "degradation: ann/bank" in card and "scale 4, 3 records" in card
    without = client.run(load_bank, name="ann/bank")
    assert without["error"] == "HubError" and "there is no public model repository ann/bank" in without["message"]
    loaded = client.run(load_bank, name="ann/bank", token=TOKEN)
    assert loaded["sum"] == pytest.approx(degrade(DegradationBank.load(folder)).double().sum().item())
    assert (loaded["examples"], loaded["names"]) == (0, False)  # pictures and their names stay at home
    by_name = client.run(degrade_by_name, name="ann/model")
    assert by_name == pytest.approx(degrade_by_name(str(folder)))

    hub.add_repo("ann/empty", {"config.json": b"{}"})
    answers = {
        "ann/empty": ("ConfigError", "ann/empty holds no degradation bank"),
        "ann/absent": ("HubError", "there is no folder ann/absent, and as a Hub repository"),
    }
    for name, (kind, told) in answers.items():
        answer = client.run(load_bank, name=name)
        assert answer["error"] == kind and told in answer["message"], answer
    answer = client.run(push_bank, folder=str(folder), repo_id="ann/other")
    assert answer["error"] == "HubError" and "login" in answer["message"]


# The command line


def test_estimate_and_show(tmp_path, capsys):
    camera = write_camera(tmp_path / "camera", count=3)
    assert ssg("degradation", "estimate", camera, "-o", tmp_path / "bank", "--generic-share", "0.25", "-q") == 0
    said = capsys.readouterr().out
    assert "scale 4, 3 records" in said and f"wrote {tmp_path / 'bank'}" in said
    assert DegradationBank.load(tmp_path / "bank").generic_share == 0.25
    assert ssg("degradation", "show", tmp_path / "bank") == 0
    assert f"wrote {tmp_path / 'bank' / 'contact_sheet.png'}" in capsys.readouterr().out
    first = np.asarray(Image.open(tmp_path / "bank" / "contact_sheet.png"))
    assert ssg("degradation", "show", tmp_path / "bank", "-o", tmp_path / "b.png", "--lr", camera) == 0
    assert np.array_equal(first, np.asarray(Image.open(tmp_path / "b.png")))  # what it kept is what is in the folder
    assert ssg("degradation", "show", tmp_path / "bank", "-o", tmp_path / "c.png", "--seed", "1") == 0
    assert not np.array_equal(first, np.asarray(Image.open(tmp_path / "c.png")))


def test_the_sheet_replaces_no_picture_unless_asked(folder, tmp_path, capsys):
    photo = tmp_path / "photo.png"
    Image.new("RGB", (8, 8)).save(photo)
    before = photo.read_bytes()
    assert ssg("degradation", "show", folder, "-o", photo) == 2
    assert f"{photo} exists and is kept" in capsys.readouterr().err and photo.read_bytes() == before
    assert ssg("degradation", "show", folder, "-o", photo, "--overwrite") == 0 and photo.read_bytes() != before
    for _ in range(2):  # the bank's own sheet is drawn again
        assert ssg("degradation", "show", folder) == 0


def test_what_the_command_refuses(folder, tmp_path, capsys):
    def refused(*arguments) -> str:
        assert ssg("degradation", *arguments) == 2
        return capsys.readouterr().err

    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert "holds a bank. Choose another folder, or --overwrite" in refused("estimate", tmp_path, "-o", folder)
    assert "no/where is not there" in refused("estimate", "no/where", "-o", tmp_path / "new")
    assert "is a file; -o takes a folder" in refused("estimate", tmp_path, "-o", folder / CONFIG)
    assert not (tmp_path / "new").exists()
    assert "is no degradation bank" in refused("show", tmp_path)
    small = tmp_path / "small"
    small.mkdir()
    Image.new("RGB", (64, 64)).save(small / "a.png")
    assert "is clean HR of at least 256x256" in refused("show", folder, "--hr", small)
    assert "Make it first" in refused("show", folder, "-o", tmp_path / "absent" / "sheet.png")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    for wrong in (["--generic-share", "2"], ["--scale", "3"], ["--method", "magic"]):
        with pytest.raises(SystemExit):
            ssg("degradation", "estimate", tmp_path, "-o", tmp_path / "new", *wrong)


def test_the_sheet_shows_the_bank(bank):
    sheet = np.asarray(draw_contact_sheet(bank), np.float32)
    assert sheet.shape[1] == 8 + 8 * (128 + 8)
    kernel = sheet[32 : 32 + 128, 8 : 8 + 128, 0]
    assert kernel[64, 64] > 200 and kernel[0, 0] < 10  # bright in the middle, dark in the corner
    example = sheet[32 + 2 * 160 : 32 + 2 * 160 + 128, 8 : 8 + 128]
    assert np.array_equal(example[::2, ::2], bank.examples[0].permute(1, 2, 0).numpy())
    with pytest.raises(ImageError, match="is not there"):
        draw_contact_sheet(bank, lr="no/where")
