"""Push and load over HTTP with the real `huggingface_hub` client, against the loopback Hub of `hub_server.py`."""

import hashlib
import json
import re
from pathlib import Path

import pytest
import yaml
from hub_server import Faults

TOKEN, OTHER = "hf_owner0123456789", "hf_other0123456789"
INT8 = "generator_int8.safetensors"
WEIGHTS = "diffusion_pytorch_model.safetensors"
INDEX = "diffusion_pytorch_model.safetensors.index.json"
RRDB = {"features": 8, "blocks": 1, "growth": 4}
LIGHT = {"model_type": "ssg_lite_segmentation", "width": 8, "id2label": {"0": "sky", "1": "road"}}


@pytest.fixture(scope="module")
def hub(hub):
    hub.users = {TOKEN: "ann", OTHER: "bob"}
    return hub


@pytest.fixture(autouse=True)
def no_faults(hub):
    hub.faults = Faults()
    hub.requests.clear()
    yield
    hub.faults = Faults()


@pytest.fixture(scope="module")
def saved(client, tmp_path_factory) -> Path:
    """A saved model, guide included."""
    folder = tmp_path_factory.mktemp("saved")
    client.run(save, folder=str(folder), guide=True)
    return folder


@pytest.fixture(scope="module")
def repo(hub, saved) -> str:
    """The same model in a public repository."""
    hub.add_repo("ann/public", {path.name: path.read_bytes() for path in saved.iterdir()})
    return "ann/public"


# What runs in the client process. Arguments and results are JSON.


def build(seed: int = 0, guide: bool = False, license: str = "other"):
    import torch

    from ssg_hub.model import SSGModel

    torch.manual_seed(seed)
    model = SSGModel(generator_type="rrdb", generator_config=RRDB, guide_config=LIGHT if guide else None)
    return model.describe(license=license, data="random numbers", metrics={"dev": {"LPIPS": 0.5}})


def save(folder: str, **options) -> dict:
    build(**options).save_pretrained(folder)
    return {}


def push(repo_id: str, seed: int = 0, guide: bool = False, license: str = "other", **options) -> dict:
    model = build(seed, guide, license)
    commit = model.push_to_hub(repo_id, **options)
    return {"url": str(commit), "oid": commit.oid, "digest": digest(model), "config": config_of(model)}


def load(name: str, **options) -> dict:
    from ssg_hub.model import SSGModel

    model = SSGModel.from_pretrained(name, **options)
    return {"digest": digest(model), "config": config_of(model), "dtype": str(model.dtype)}


def load_guide(name: str, **options) -> dict:
    from ssg_hub.model import SSGModel

    return {"labels": SSGModel.from_components("compact", guide=name, **options).labels}


def digest(model) -> str:
    """A hash over names, dtypes and bits of all weights."""
    sha = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode() + tensor.numpy().tobytes())
    return sha.hexdigest()


def config_of(model) -> dict:
    return json.loads(model.to_json_string())


# round trips


def test_push_and_load_are_bit_exact(hub, client, tmp_path):
    pushed = client.run(push, repo_id="ann/model", guide=True, token=TOKEN)
    loaded = client.run(load, name="ann/model", cache_dir=str(tmp_path))
    assert loaded["digest"] == pushed["digest"] and loaded["config"] == pushed["config"]
    assert pushed["url"] == f"{hub.url}/ann/model/commit/{pushed['oid']}"
    assert not hub.repos["ann/model"].private
    files = hub.files("ann/model")
    assert set(files) == {".gitattributes", "README.md", "config.json", WEIGHTS}
    assert any(request.startswith("PUT /lfs/") for request in hub.requests)
    assert hub.strayed == []  # the token stays with the Hub
    card = files["README.md"].decode()
    head = yaml.safe_load(card.split("---\n")[1])
    assert head["library_name"] == "ssg_hub" and head["pipeline_tag"] == "image-to-image" and head["license"] == "other"
    assert 'from_pretrained("ann/model")' in card and "| dev | 0.500 |" in card


def test_the_second_load_downloads_nothing_and_works_offline(hub, client, repo, tmp_path):
    first = client.run(load, name=repo, cache_dir=str(tmp_path))
    hub.requests.clear()
    assert client.run(load, name=repo, cache_dir=str(tmp_path)) == first
    assert hub.requests == [f"HEAD /{repo}/resolve/main/config.json"]
    hub.requests.clear()
    assert client.run(load, name=repo, cache_dir=str(tmp_path), local_files_only=True) == first
    assert hub.requests == []
    hub.faults.status = 503
    assert client.run(load, name=repo, cache_dir=str(tmp_path)) == first


def test_branches_and_commits_are_told_apart(hub, client, tmp_path):
    main = client.run(push, repo_id="ann/branches", seed=1, token=TOKEN)
    branch = client.run(push, repo_id="ann/branches", seed=2, token=TOKEN, revision="tuned", commit_message="Tuned")
    newer = client.run(push, repo_id="ann/branches", seed=3, token=TOKEN)
    assert len({main["digest"], branch["digest"], newer["digest"]}) == 3
    for revision, pushed in ((None, newer), ("main", newer), ("tuned", branch), (main["oid"], main)):
        loaded = client.run(load, name="ann/branches", revision=revision, cache_dir=str(tmp_path))
        assert loaded["digest"] == pushed["digest"], revision


def test_shards_and_variants_over_http(hub, client, tmp_path):
    sharded = client.run(push, repo_id="ann/shards", guide=True, token=TOKEN, max_shard_size="2MB")
    assert sum(name.endswith(".safetensors") for name in hub.files("ann/shards")) > 1
    assert client.run(load, name="ann/shards", cache_dir=str(tmp_path))["digest"] == sharded["digest"]
    client.run(push, repo_id="ann/shards", guide=True, token=TOKEN, variant="fp16")
    assert client.run(load, name="ann/shards", variant="fp16", cache_dir=str(tmp_path))["dtype"] == "torch.float32"
    whole = client.run(push, repo_id="ann/shards", seed=5, guide=True, token=TOKEN)
    names = {name for name in hub.files("ann/shards") if "diffusion" in name}
    assert names == {WEIGHTS, "diffusion_pytorch_model.fp16.safetensors"}  # the shards went, the variant stayed
    assert client.run(load, name="ann/shards", cache_dir=str(tmp_path))["digest"] == whole["digest"]


def test_integers_travel_with_the_weights_they_were_made_from(hub, client, tmp_path):
    sent = client.run(push_with_int8, repo_id="ann/fast", token=TOKEN)
    assert INT8 in hub.files("ann/fast") and sent == {"fits": True}
    options = {"name": "ann/fast", "cache_dir": str(tmp_path)}
    assert client.run(has_int8, **options) == {"model": True, "networks": True}
    hub.requests.clear()
    assert client.run(has_int8, **options) == {"model": True, "networks": True}
    assert set(hub.requests) == {"HEAD /ann/fast/resolve/main/config.json"}
    assert client.run(has_int8, **options, local_files_only=True) == {"model": True, "networks": True}
    assert client.run(push_with_int8, repo_id="ann/fast", token=TOKEN, trained_on=True) == {"fits": False}
    assert INT8 not in hub.files("ann/fast")  # they were of other weights
    assert client.run(has_int8, **options) == {"model": False, "networks": False}
    hub.requests.clear()
    assert client.run(has_int8, **options) == {"model": False, "networks": False}
    assert set(hub.requests) == {"HEAD /ann/fast/resolve/main/config.json"}  # that there are none is remembered


def push_with_int8(repo_id: str, trained_on: bool = False, **options) -> dict:
    import torch

    from ssg_hub.model import SSGModel
    from ssg_hub.quantization.fit import fit_int8

    model = SSGModel.from_components("compact", generator_config={"features": 4, "convs": 1})
    model.generator.int8 = fit_int8(model.generator, [torch.rand(1, 3, 16, 16)], {0})
    if trained_on:
        with torch.no_grad():
            model.generator.body[0].weight *= 1.01
    model.push_to_hub(repo_id, **options)
    return {"fits": model.generator.int8.fits(model.generator)}


def has_int8(name: str, **options) -> dict:
    from ssg_hub.loading import load_model, load_networks

    loaded = {"model": load_model(name, **options), "networks": load_networks(name, **options)}
    found = {kind: getattr(model.generator, "int8", None) for kind, model in loaded.items()}
    return {kind: int8 is not None and int8.fits(loaded[kind].generator) for kind, int8 in found.items()}


def test_private_repository_opens_with_the_owners_token_only(hub, client, tmp_path):
    pushed = client.run(push, repo_id="ann/secret", private=True, token=TOKEN)
    assert hub.repos["ann/secret"].private
    assert client.run(load, name="ann/secret", token=TOKEN, cache_dir=str(tmp_path / "a"))["digest"] == pushed["digest"]
    without = client.run(load, name="ann/secret", cache_dir=str(tmp_path / "b"))
    assert_error(without, "HubError", "no public model repository ann/secret.*if it is private.*token=")
    other = client.run(load, name="ann/secret", token=OTHER, cache_dir=str(tmp_path / "c"))
    assert_error(other, "HubError", "no model repository ann/secret .*this token may read")
    forged = client.run(load, name="ann/secret", token="hf_forged", cache_dir=str(tmp_path / "d"))
    assert_error(forged, "HubError", "does not accept the token")


# what can go wrong on the way down


def test_names_that_lead_nowhere(hub, client, repo, tmp_path):
    absent = client.run(load, name="ann/absent", cache_dir=str(tmp_path))
    assert_error(absent, "HubError", "no public model repository ann/absent")
    absent = client.run(load, name="ann/absent", token=TOKEN, cache_dir=str(tmp_path))
    assert_error(absent, "HubError", "no model repository ann/absent")
    revision = client.run(load, name=repo, revision="v9", cache_dir=str(tmp_path))
    assert_error(revision, "HubError", f"{repo} has no revision 'v9'")
    invalid = client.run(load, name="ann--x/model", cache_dir=str(tmp_path))
    assert_error(invalid, "HubError", "neither a folder nor the id of a Hub repository")
    uncached = client.run(load, name=repo, local_files_only=True, cache_dir=str(tmp_path / "empty"))
    assert_error(uncached, "HubError", "not in the cache.*without local_files_only")
    forced = client.run(load, name="ann/absent", force_download=True, cache_dir=str(tmp_path))
    assert_error(forced, "HubError", "no public model repository ann/absent")
    login = client.run(load, name=repo, token=True, cache_dir=str(tmp_path))
    assert_error(login, "HubError", "hf auth login")


def test_gated_repository(hub, client, saved, tmp_path):
    hub.add_repo("ann/gated", {path.name: path.read_bytes() for path in saved.iterdir()}, gated=True)
    for token in (None, OTHER):
        answer = client.run(load, name="ann/gated", token=token, cache_dir=str(tmp_path))
        assert_error(answer, "HubError", f"ann/gated is gated.*Accept them at {hub.url}/ann/gated")
    assert "digest" in client.run(load, name="ann/gated", token=TOKEN, cache_dir=str(tmp_path))


def test_repositories_that_hold_no_model_of_ours(hub, client, saved, tmp_path):
    config = (saved / "config.json").read_bytes()
    newer = json.dumps({**json.loads(config), "format_version": 99}).encode()
    weights = (saved / WEIGHTS).read_bytes()
    cases = {
        "ann/empty": ({"README.md": b"# nothing"}, r"has no config\.json"),
        "ann/unet": (
            {"config.json": b'{"_class_name": "UNet2DModel"}', WEIGHTS: b""},
            "a UNet2DModel, not an SSGModel",
        ),
        "ann/pickle": ({"config.json": config, "diffusion_pytorch_model.bin": b"\x80"}, "as a pickle.*refused"),
        "ann/newer": ({"config.json": newer, WEIGHTS: weights}, "format version 99.*pip install -U"),
        "ann/bare": ({"config.json": config}, f"has no {WEIGHTS}"),
        "ann/half": ({"config.json": config, "diffusion_pytorch_model.fp16.safetensors": weights}, "variant='fp16'"),
        "ann/shard": (
            {"config.json": config, INDEX: b'{"weight_map": {"a": "s.safetensors"}}'},
            r"s\.safetensors is missing",
        ),
        "ann/index": ({"config.json": config, INDEX: b"{}"}, "safetensors.index.json of ann/index is damaged"),
        "ann/cut": ({"config.json": config, WEIGHTS: weights[:-9]}, "damaged or truncated"),
    }
    for repo_id, (files, told) in cases.items():
        hub.add_repo(repo_id, files)
        hub.requests.clear()
        assert_error(client.run(load, name=repo_id, cache_dir=str(tmp_path)), "CheckpointError", told)
        downloaded = [request for request in hub.requests if request.startswith("GET /content")]
        assert not downloaded or repo_id == "ann/cut"  # told from names and config alone


def test_dropped_connection_is_resumed(hub, client, repo, tmp_path):
    hub.faults = Faults(drop_after=20_000, drops=2)
    assert "digest" in client.run(load, name=repo, cache_dir=str(tmp_path))
    assert hub.faults.drops == 0


def test_connection_that_stays_dropped(hub, client, repo, tmp_path):
    hub.faults = Faults(drop_after=0, drops=1000)
    broken = client.run(load, name=repo, cache_dir=str(tmp_path))
    assert_error(broken, "HubError", f"the download from {repo} .*broke off.*run it again")
    hub.faults = Faults()
    assert "digest" in client.run(load, name=repo, cache_dir=str(tmp_path))  # nothing damaged stayed behind


def test_content_with_a_wrong_hash_is_refused_and_leaves_the_cache(hub, client, repo, tmp_path):
    hub.faults.corrupt = True
    wrong = client.run(load, name=repo, cache_dir=str(tmp_path))
    assert_error(wrong, "HubError", f"{WEIGHTS} of {repo} does not have the content that the Hub announced")
    expected = hashlib.sha256(hub.files(repo)[WEIGHTS]).hexdigest()
    assert not list(tmp_path.rglob(expected)) and not list(tmp_path.rglob(WEIGHTS))
    hub.faults.corrupt = False
    assert "digest" in client.run(load, name=repo, cache_dir=str(tmp_path))
    blob = next(tmp_path.rglob(expected))
    content = blob.read_bytes()
    blob.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))  # the disk forgets a bit, and the Hub is not asked
    rotten = client.run(load, name=repo, cache_dir=str(tmp_path), local_files_only=True)
    assert_error(rotten, "HubError", "damaged copy was removed")


def test_server_out_of_order(hub, client, repo, tmp_path):
    for status, told in ((503, "answered 503.*Try again later"), (429, "limits the rate"), (403, "does not let")):
        hub.faults.status = status
        answer = client.run(load, name=repo, token=TOKEN, cache_dir=str(tmp_path / str(status)))
        assert_error(answer, "HubError", told)


def test_server_out_of_reach(client, tmp_path, monkeypatch):
    answer = client.run(load_from_closed_port, cache_dir=str(tmp_path))
    assert_error(
        answer, "HubError", r"the Hub at http://127\.0\.0\.1:9 is out of reach and ann/public is not in the cache"
    )


def load_from_closed_port(cache_dir: str) -> dict:
    from unittest import mock

    with (
        mock.patch("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9"),
        mock.patch("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/{filename}"),
    ):
        return load("ann/public", cache_dir=cache_dir)


def test_guide_from_the_hub(hub, client, tmp_path):
    absent = client.run(load_guide, name="ann/absent", cache_dir=str(tmp_path))
    assert_error(absent, "HubError", "no public model repository ann/absent")
    hub.add_repo("ann/words", {"README.md": b"# words"})
    words = client.run(load_guide, name="ann/words", cache_dir=str(tmp_path))
    assert_error(words, "ConfigError", "ann/words is not a semantic segmentation model")
    client.run(save_guide, folder=str(tmp_path / "guide"))
    hub.add_repo("ann/guide", {path.name: path.read_bytes() for path in (tmp_path / "guide").iterdir()})
    hub.add_repo("ann/bare-guide", {"config.json": hub.files("ann/guide")["config.json"]})
    bare = client.run(load_guide, name="ann/bare-guide", cache_dir=str(tmp_path))
    assert_error(bare, "HubError", "ann/bare-guide")
    assert client.run(load_guide, name="ann/guide", cache_dir=str(tmp_path)) == {"labels": ["sky", "road"]}


def save_guide(folder: str) -> dict:
    build(guide=True).guide.network.save_pretrained(folder)
    return {}


# and on the way up


def test_pushes_that_are_refused(hub, client, repo):
    assert_error(client.run(push, repo_id="ann/new"), "HubError", "asks for a login to write to ann/new.*token=")
    assert_error(client.run(push, repo_id="ann/new", token="hf_forged"), "HubError", "does not accept the token")
    foreign = client.run(push, repo_id=repo, token=OTHER)
    assert_error(foreign, "HubError", f"does not let this token write to {repo}")
    assert "ann/new" not in hub.repos


def test_no_repository_is_made_for_what_cannot_be_saved(hub, client):
    for options, told in (
        ({"variant": "fp 16"}, "variant is 'fp 16'"),
        ({"max_shard_size": "2 gigabytes"}, "max_shard_size is '2 gigabytes'"),
        ({"pictures": {"Before": "no/where.png"}}, "the card's picture 'Before' cannot be used"),
        ({"license": "Apache License"}, "'Apache License' is no Hub identifier"),
        ({"repo_id": "https://hub/ann/unmade"}, "cannot be the id of a Hub repository"),
    ):
        answer = client.run(push, **{"repo_id": "ann/unmade", "token": TOKEN, **options})
        assert_error(answer, "ConfigError", told)
    assert hub.requests == [] and "ann/unmade" not in hub.repos


def test_a_name_without_an_owner_is_ones_own(hub, client):
    pushed = client.run(push, repo_id="short", token=TOKEN)
    assert pushed["url"] == f"{hub.url}/ann/short/commit/{pushed['oid']}"
    assert b'from_pretrained("ann/short")' in hub.files("ann/short")["README.md"]


def test_upload_that_breaks_off_commits_nothing(hub, client, tmp_path):
    old = client.run(push, repo_id="ann/upload", seed=6, token=TOKEN)
    hub.faults.drop_uploads = True
    broken = client.run(push, repo_id="ann/upload", seed=7, token=TOKEN)
    assert_error(broken, "HubError", "the upload to ann/upload .*broke off.*no commit was made")
    assert client.run(load, name="ann/upload", cache_dir=str(tmp_path))["digest"] == old["digest"]


def test_a_push_replaces_the_card_by_ours(hub, client):
    hub.add_repo("ann/carded", {"README.md": b"---\nlibrary_name: diffusers\n---\n"})
    client.run(push, repo_id="ann/carded", token=TOKEN)
    assert b"library_name: ssg_hub" in hub.files("ann/carded")["README.md"]


def test_a_token_shows_in_no_log_and_no_message(client):
    """Runs last: everything above has been logged."""
    logs = client.logs()
    assert "hf_" not in logs.replace("hf_transfer", "").replace("hf_hub", "")


def assert_error(answer: dict, kind: str, told: str) -> None:
    """One line of the given class that matches, and no token in it."""
    assert answer.get("error") == kind, answer
    assert re.search(told, answer["message"]), answer["message"]
    assert "\n" not in answer["message"] and "hf_o" not in answer["message"]
