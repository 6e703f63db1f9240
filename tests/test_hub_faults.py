"""A Hub that fails in every way: each request ends as it should or in one sentence, and nothing half-written stays."""

import hashlib
import re
from pathlib import Path

import pytest
import torch
from hub_server import Client, Faults
from test_degradation_bank import load_bank
from test_hub import TOKEN, load, load_guide, push, save, save_guide

from ssg_hub.degradation.bank import DegradationBank
from ssg_hub.degradation.kernels import kernel_size
from ssg_hub.degradation.noise import white_noise
from ssg_hub.degradation.ops import gaussian_kernels

LOGIN = b"<!DOCTYPE html><html><body>Welcome to the hotel's network. Please log in.</body></html>"
TIMES = {"once": {"times": 1}, "from the third request": {"after": 2}, "always": {}}
FAULTS = {f"{status} {when}": {"status": status, **times} for status in (429, 500) for when, times in TIMES.items()}
FAULTS |= {
    "503 always": {"status": 503},
    "404 always": {"status": 404},
    "a login page": {"page": LOGIN},
    "a login page after the config": {"page": LOGIN, "after": 2},
    "no answer once": {"hang_up": True, "times": 1},
    "no answer after the config": {"hang_up": True, "after": 2},
    "half a file once": {"drops": 1, "drop_after": 100},
    "half a file always": {"drops": 10**6, "drop_after": 100},
    "uploads cut": {"drop_uploads": True},
    "other content": {"corrupt": True},
    "other content of small files": {"corrupt_small": True},
}
MORE = {
    f"{status} {when}": {"status": status, **times}
    for status in (401, 403, 404, 408, 418, 502, 503, 504)
    for when, times in TIMES.items()
}
MORE |= {
    f"{name} at request {after + 1}": {**fault, "after": after}
    for name, fault in {"a login page": {"page": LOGIN}, "no answer": {"hang_up": True}, "500": {"status": 500}}.items()
    for after in range(9)
}
MORE |= {f"{drops} files cut at {at}": {"drops": drops, "drop_after": at} for drops in (1, 2, 9) for at in (0, 1, 9000)}
REPRESENTATIVE = ("429 once", "500 always", "a login page", "half a file once", "half a file always", "other content")
ALL = [*FAULTS, *(pytest.param(name, marks=pytest.mark.attack) for name in MORE if name not in FAULTS)]


def make_bank() -> DegradationBank:
    """A blur and some noise."""
    kernels = gaussian_kernels(torch.ones(2), torch.ones(2), torch.zeros(2), kernel_size(4))
    steps = torch.zeros(2, 8, 8)
    return DegradationBank(4, kernels, white_noise(0.02, 2, "assumed"), steps, steps)


@pytest.fixture(scope="module")
def hub(hub, tmp_path_factory):
    """A model, a guide, and a bank."""
    home = tmp_path_factory.mktemp("filling")
    hub.users = {TOKEN: "ann"}
    save(str(home / "model"), guide=True), save_guide(str(home / "guide"))
    make_bank().save(home / "bank")
    for folder in home.iterdir():
        hub.add_repo(f"ann/{folder.name}", {path.name: path.read_bytes() for path in folder.iterdir()})
    return hub


@pytest.fixture(scope="module")
def expected(hub, client, tmp_path_factory) -> dict:
    """What each request gives where nothing fails."""
    hub.faults = Faults()
    return {name: ask(client, name, tmp_path_factory.mktemp("whole")) for name in ("model", "guide", "bank")}


def ask(client: Client, name: str, cache: Path) -> dict:
    options = {"cache_dir": str(cache)}
    if name == "model":
        return client.run(load, name="ann/model", **options)
    if name == "guide":
        return client.run(load_guide, name="ann/guide", **options)
    return client.run(load_bank_into, name="ann/bank", cache=str(cache))


def load_bank_into(name: str, cache: str) -> dict:
    """`load_bank` has no cache of its own to choose."""
    from unittest import mock

    with mock.patch("huggingface_hub.constants.HF_HUB_CACHE", cache):
        return load_bank(name)


# Guides and banks come through the door that models come through, so a few faults are enough for them every time.
LOADED = [
    pytest.param(name, fault, marks=() if fault in often else pytest.mark.attack)
    for name, often in {"model": FAULTS, "guide": REPRESENTATIVE, "bank": REPRESENTATIVE}.items()
    for fault in {**FAULTS, **MORE}
]


@pytest.mark.parametrize(("name", "fault"), LOADED)
def test_loading(name, fault, hub, client, expected, tmp_path):
    faults = hub.faults = Faults(**(MORE | FAULTS)[fault])
    answer = ask(client, name, tmp_path)
    hopeless = is_down(fault) or faults.drops > 0 or faults.corrupt or faults.corrupt_small
    assert (answer == expected[name] and not hopeless) or is_sentence(answer), answer
    check_cache(tmp_path, hub.files(f"ann/{name}"))
    hub.faults = Faults()
    assert ask(client, name, tmp_path) == expected[name]
    assert check_cache(tmp_path, hub.files(f"ann/{name}")) == 2  # the configuration and the weights


@pytest.mark.parametrize("fault", ALL)
def test_pushing(fault, hub, client):
    """The repository has all of a push or nothing of it."""
    repo_id = "ann/pushed-" + re.sub(r"\W+", "-", fault)
    hub.objects.clear()  # what the Hub has already is not uploaded
    faults = hub.faults = Faults(**(MORE | FAULTS)[fault])
    answer = client.run(push, repo_id=repo_id, token=TOKEN)
    pushed = "oid" in answer
    hopeless = is_down(fault) or faults.drop_uploads
    assert (pushed and not hopeless) or is_sentence(answer), answer
    there = set(hub.files(repo_id)) if repo_id in hub.repos else set()
    assert {"config.json", "diffusion_pytorch_model.safetensors", "README.md"} <= there if pushed else len(there) <= 1
    hub.faults = Faults()
    assert "oid" in client.run(push, repo_id=repo_id, token=TOKEN)


def is_down(fault: str) -> bool:
    """Whether no request at all is answered as it should be."""
    told = (MORE | FAULTS)[fault]
    return bool(told.keys() & {"status", "page", "hang_up"}) and not told.get("after") and "times" not in told


def is_sentence(answer: dict) -> bool:
    told = answer.get("message", "")
    return (
        answer.get("error") in ("HubError", "CheckpointError", "ConfigError") and "\n" not in told and len(told) < 600
    )


def check_cache(cache: Path, files: dict[str, bytes]) -> int:
    """What the cache gives out under a name of the repository is that file, whole; returns how many there are."""
    hashes = {name: hashlib.sha256(content).digest() for name, content in files.items()}
    found = list(cache.rglob("snapshots/*/*"))
    for path in found:
        assert hashlib.sha256(path.read_bytes()).digest() == hashes[path.name], f"{path.name} is not what the Hub has"
    return len(found)
