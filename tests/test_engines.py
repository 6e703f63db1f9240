"""Engines: OpenVINO gives torch's pixels, follows the weights, and steps aside where it cannot; who is chosen when."""

import copy
import importlib.util
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from standins import ColorGuide, Repeat, make_model, small_generators

from ssg_hub.errors import ConfigError
from ssg_hub.networks import registry
from ssg_hub.networks.building import HOOKED
from ssg_hub.networks.compact import SRVGGNetCompact
from ssg_hub.networks.guide import Guide
from ssg_hub.networks.registry import build_generator
from ssg_hub.storage.user_cache import user_cache
from ssg_hub.upscaling.engines import compiled
from ssg_hub.upscaling.engines.choice import open_engine
from ssg_hub.upscaling.engines.openvino import OpenVINOEngine
from ssg_hub.upscaling.engines.torch import TorchEngine
from ssg_hub.upscaling.upscale import predict, upscale

ROOT = Path(__file__).resolve().parents[1]
RNG = np.random.default_rng(3)
PHOTO = RNG.integers(0, 256, (45, 62, 3), dtype=np.uint8)
needs_openvino = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed")


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache on the disk and in memory."""
    monkeypatch.setenv("SSG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(compiled, "_compiled", type(compiled._compiled)())
    return tmp_path / "cache"


def lively(generator_type: str = "compact", **config) -> torch.nn.Module:
    """A generator with random weights whose output depends on all of them."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = build_generator(generator_type, config)
        for parameter in generator.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
        last = next(part for part in generator.modules() if getattr(part, "weight", None) is generator.last_layer)
        with torch.no_grad():
            last.weight *= 0.2 / generator(torch.rand(1, 3, 16, 16)).std()
            last.bias += 0.5 - generator(torch.rand(1, 3, 16, 16)).mean((0, 2, 3)).repeat(len(last.bias) // 3)
    return generator.eval()


def light_guide(**config) -> Guide:
    """Our own segmentation network with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        labels = {0: "sky", 1: "road", 2: "car"}
        return Guide({"model_type": "ssg_lite_segmentation", "width": 8, "id2label": labels, **config}).eval()


def assert_alike(model, image, **options) -> None:
    """OpenVINO's result is torch's: at most one step of 8 bits or its equal in 16, masks the same but at near ties."""
    one, other = (upscale(model, image, engine=engine, **options) for engine in ("torch", "openvino"))
    assert (one.report["engine"], other.report["engine"]) == ("torch", "openvino")
    assert one.report["notes"] == other.report["notes"]
    before, after = one.picture, other.picture
    difference = np.abs(before.values.astype(int) - after.values)
    assert difference.max() <= (1 if before.bits == 8 else 4) and (difference > 0).mean() < 0.05
    assert before.values.std() > 0.02 * before.peak or before.values.size < 100  # there is something to see
    assert (before.alpha is None) == (after.alpha is None)
    assert before.alpha is None or np.array_equal(before.alpha, after.alpha)
    if one.mask is not None:
        assert (np.asarray(one.mask) != np.asarray(other.mask)).mean() < 0.001
        assert np.abs(np.asarray(one.drift).astype(int) - np.asarray(other.drift)).max() <= 1


GRAY, DEEP = PHOTO[..., 0], PHOTO.astype(np.uint16) * 257
PICTURES = {
    "odd": PHOTO[:37, :51],
    "alpha": np.dstack((PHOTO, RNG.integers(0, 256, PHOTO.shape[:2], dtype=np.uint8))),
    "gray": GRAY,
    "16 bit": DEEP,
    "16 bit gray": DEEP[..., 0],
    "1 pixel": PHOTO[:1, :1],
    "1 row": PHOTO[:1],
}


@needs_openvino
@pytest.mark.parametrize("kind", PICTURES)
def test_pixels_of_torch_for_every_kind_of_picture(kind):
    model = make_model(lively(features=8, convs=2), light_guide())
    assert_alike(model, PICTURES[kind], tile=32, strength={"road": 0.5})


@needs_openvino
@pytest.mark.parametrize(
    ("generator_type", "config"), [*small_generators(), ("compact", {"features": 8, "convs": 2, "scale": 3})], ids=str
)
def test_pixels_of_torch_for_every_generator(generator_type, config):
    """Odd tiles too: networks that fold their input pad it first."""
    assert_alike(make_model(lively(generator_type, **config)), PHOTO, outscale=2, tile=40)


@needs_openvino
def test_a_transformers_guide_runs_too(tiny_model):
    assert_alike(make_model(lively(features=8, convs=1), tiny_model.guide), PHOTO)


@needs_openvino
@pytest.mark.parametrize("scale", [0.5, pytest.param(0.7, marks=pytest.mark.slow)])
def test_a_guide_that_reads_at_another_size_runs_too(scale):
    assert_alike(make_model(lively(features=8, convs=1), light_guide(input_scale=scale)), PHOTO)


@needs_openvino
def test_the_result_follows_the_weights(cache):
    model = make_model(lively(features=8, convs=1))
    assert_alike(model, PHOTO)
    with torch.no_grad():
        model.generator.body[0].weight *= -1  # in place: the same module, the same tensor
    assert_alike(model, PHOTO)
    assert_alike(make_model(lively(features=8, convs=1, scale=2)), PHOTO)
    model.generator.scale_by = 3  # an option of the network that is no weight
    before = len(compiled._compiled)
    upscale(model, PHOTO, engine="openvino")
    assert len(compiled._compiled) == before + 1


@needs_openvino
def test_a_conversion_leaves_the_callers_random_numbers_alone(cache):
    model, state = make_model(lively(features=8, convs=1), light_guide()), torch.get_rng_state()
    upscale(model, PHOTO[:20, :20], engine="openvino")
    assert list((cache / "openvino").iterdir()) and torch.equal(torch.get_rng_state(), state)


@needs_openvino
def test_the_key_follows_the_configuration_of_a_guide_which_is_written_once(tiny_model, monkeypatch):
    """All its parts hold it."""
    config, written = tiny_model.guide.network.config, []
    write = type(config).to_json_string
    monkeypatch.setattr(type(config), "to_json_string", lambda self: written.append(self) or write(self))
    before = compiled.fingerprint(tiny_model.guide)
    assert written == [config]
    config.reshape_last_stage = not config.reshape_last_stage
    assert compiled.fingerprint(tiny_model.guide) != before


@needs_openvino
def test_a_guide_that_has_read_is_the_same_network(tiny_model):
    """Transformers notes in it that it has put its hooks into it; it was converted a second time for that."""
    before = compiled.fingerprint(tiny_model.guide)
    tiny_model.guide(torch.rand(1, 3, 32, 32))
    assert any(HOOKED in vars(part) for part in tiny_model.guide.modules())
    assert compiled.fingerprint(tiny_model.guide) == before


@needs_openvino
def test_a_network_is_converted_once_for_all_processes(cache, monkeypatch):
    model = make_model(lively(features=8, convs=1), light_guide())
    expected = upscale(model, PHOTO, engine="openvino")
    kept = list((cache / "openvino").iterdir())
    assert len(kept) == 2

    def forbidden(*args):
        raise AssertionError("it was converted again")

    compiled._compiled.clear()  # as in the next process
    with monkeypatch.context() as patch:
        patch.setattr(compiled, "_convert", forbidden)
        again = upscale(model, PHOTO, engine="openvino")
    assert again.report["engine"] == "openvino" and again.report["notes"] == []
    assert again.image.tobytes() == expected.image.tobytes()

    for file in kept[0].parent.rglob("model.*"):  # a damaged cache
        file.write_bytes(b"nothing of use")
    for blob in kept[0].parent.rglob("*.blob"):
        blob.unlink()
    compiled._compiled.clear()
    assert upscale(model, PHOTO, engine="openvino").image.tobytes() == expected.image.tobytes()


@needs_openvino
def test_a_cache_that_cannot_be_written_is_done_without(cache, monkeypatch):
    cache.write_text("a file where the folder should be")
    assert_alike(make_model(lively(features=8, convs=1)), PHOTO)


@needs_openvino
def test_a_user_without_a_home_has_no_cache_and_gets_pictures(cache, monkeypatch):
    def home():
        raise RuntimeError("Could not determine home directory.")

    for name in ("SSG_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", home)
    assert not user_cache().exists()
    result = upscale(make_model(lively(features=8, convs=1)), PHOTO, engine="openvino")
    assert result.report["engine"] == "openvino" and not user_cache().exists()


@needs_openvino
def test_the_cache_does_not_grow_for_ever(cache, monkeypatch):
    monkeypatch.setattr(compiled, "KEPT_ON_DISK", 2)
    monkeypatch.setattr(compiled, "KEPT_IN_MEMORY", 1)
    for features in (4, 5, 6, 7):
        assert_alike(make_model(lively(features=features, convs=1)), PHOTO)
    assert len(list((cache / "openvino").iterdir())) == 2 and len(compiled._compiled) == 1


@needs_openvino
def test_what_openvino_would_compute_otherwise_is_left_to_torch(cache, monkeypatch):
    """A network that branches on the size of its tile: tracing sees one branch only."""
    monkeypatch.setattr(registry, "_REGISTERED", registry._REGISTERED.copy())

    class Branching(SRVGGNetCompact, name="branching"):
        def forward(self, lr):
            return super().forward(lr) + (0.2 if lr.shape[-1] % 2 else 0.0)

    model = make_model(Branching(features=4, convs=1))
    expected = upscale(model, PHOTO[:, :61], engine="torch")
    for engine in ("auto", "openvino"):
        result = upscale(model, PHOTO[:, :61], engine=engine, segment=False)
        assert result.report["engine"] == "torch"
        assert result.report["notes"][0].startswith("OpenVINO cannot run the generator (for 31x17 pixels")
        assert result.image.tobytes() == expected.image.tobytes()


@needs_openvino
def test_a_guide_that_openvino_refuses_runs_beside_a_generator_that_it_runs(cache):
    class Branching(Guide):
        def forward(self, image):
            return super().forward(image) * (2 if image.shape[-1] % 2 else 1)

    model = make_model(lively(features=8, convs=1), Branching(light_guide().guide_config).eval())
    one, other = (upscale(model, PHOTO, engine=engine) for engine in ("torch", "openvino"))
    assert other.report["engine"] == "openvino"
    assert "OpenVINO cannot run the guide" in other.report["notes"][-1]
    assert (np.asarray(one.mask) != np.asarray(other.mask)).mean() < 0.001


@needs_openvino
@pytest.mark.parametrize("altered", ["hook", "forward"])
def test_what_is_put_on_a_network_counts_and_goes_with_it(cache, altered):
    """The weights do not tell of a hook: its results must neither be left out, nor be kept for the network without."""
    model = make_model(lively(features=8, convs=2))
    layer = model.generator.body[2]
    plain = upscale(model, PHOTO, engine="torch")
    if altered == "hook":
        hook = layer.register_forward_hook(lambda module, inputs, output: output * 0)
    else:
        layer.forward = lambda x: x * 0
    one, other = (upscale(model, PHOTO, engine=engine) for engine in ("torch", "auto"))
    assert one.image.tobytes() == other.image.tobytes() != plain.image.tobytes()
    assert other.report["engine"] == "torch" and "it has hooks" in other.report["notes"][-1]
    hook.remove() if altered == "hook" else vars(layer).pop("forward")
    assert_alike(model, PHOTO)


@needs_openvino
def test_a_class_that_was_changed_in_a_notebook_is_another_network(cache):
    results = []
    for gain in (1, 0):

        class Cell(SRVGGNetCompact):
            def forward(self, lr, gain=gain):
                return gain * super().forward(lr)

        Cell.__module__ = "__notebook__"
        network = Cell(features=4, convs=1)
        network.load_state_dict(lively(features=4, convs=1).state_dict())
        results.append(upscale(make_model(network), PHOTO))
        assert "is in no file" in results[-1].report["notes"][-1]
    assert results[0].image.tobytes() != results[1].image.tobytes()


@needs_openvino
def test_two_threads_on_one_model(cache):
    model = make_model(lively(features=8, convs=2), light_guide())
    pictures = [RNG.integers(0, 256, (40 + 7 * i, 50, 3), dtype=np.uint8) for i in range(4)]
    found = [None] * 4

    def run(index: int) -> None:
        found[index] = upscale(model, pictures[index], tile=32)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for picture, result in zip(pictures, found, strict=True):
        alone = upscale(model, picture, tile=32)
        assert result.report["engine"] == "openvino"
        assert result.image.tobytes() == alone.image.tobytes() and result.mask.tobytes() == alone.mask.tobytes()


@pytest.mark.slow
@needs_openvino
def test_networks_come_and_go(cache, monkeypatch):
    """OpenVINO crashes when a network computes in a thread of ours after another one was deleted."""
    monkeypatch.setattr(compiled, "KEPT_IN_MEMORY", 1)
    for scale in (2, 4):
        assert_alike(make_model(lively(features=4, convs=1, scale=scale)), PHOTO)
        assert_alike(make_model(lively("rrdb", features=4, blocks=1, growth=4)), PHOTO)
    assert_alike(make_model(lively(features=4, convs=1), light_guide()), PHOTO)


@needs_openvino
def test_a_tile_that_does_not_fit_is_redone_in_parts(cache, monkeypatch):
    def cramped(infer):
        def limited(self, network, tile, finish):
            if max(tile.shape[-2:]) > 40:
                raise MemoryError
            return infer(self, network, tile, finish)

        return limited

    for engine in (OpenVINOEngine, TorchEngine):
        monkeypatch.setattr(engine, "infer", cramped(engine.infer))
    model = make_model(lively(features=4, convs=1))
    assert_alike(model, PHOTO, tile=None)
    assert upscale(model, PHOTO, tile=None).report["fallbacks"] == {"tile_halved": 1}


def test_a_model_in_float16_is_computed_in_float32_on_a_cpu_unless_asked_for():
    generator = lively(features=8, convs=2).half()
    expected = upscale(make_model(copy.deepcopy(generator).float()), PHOTO).image
    model = make_model(generator)
    result = upscale(model, PHOTO, device="cpu")
    assert result.report["dtype"] == "float32" and np.array_equal(result.image, expected)
    assert upscale(model, PHOTO, device="cpu", dtype="float16").report["dtype"] == "float16"


@needs_openvino
def test_bfloat16_is_computed_only_when_asked_for(cache):
    model = make_model(lively(features=8, convs=2))
    full, half = (np.asarray(upscale(model, PHOTO, dtype=dtype).image).astype(int) for dtype in (None, "bfloat16"))
    assert 0 < np.abs(full - half).max() <= 8
    assert upscale(model, PHOTO, dtype="float16").report["engine"] == "torch"
    assert (open_engine(model.generator, None, "auto", dtype="bfloat16").name == "openvino") == compiled.has_bfloat16()


@needs_openvino
def test_nothing_is_sent_home():
    """OpenVINO's package reports every import to its maker, unless its telemetry cannot be imported."""
    code = (
        "import socket, sys\n"
        "def refuse(*args): raise SystemExit('a connection was opened')\n"
        "socket.socket.connect = refuse; socket.getaddrinfo = refuse\n"
        "import torch\n"
        "from ssg_hub.networks.registry import build_generator\n"
        "from ssg_hub.upscaling.engines.choice import open_engine\n"
        "engine = open_engine(build_generator('compact', {'features': 4, 'convs': 1}).eval(), None, 'openvino')\n"
        "with engine.running(): engine.generate(torch.rand(3, 20, 20))\n"
        "assert engine.name == 'openvino', engine.notes\n"
        "assert 'openvino_telemetry' not in sys.modules\n"
        "import threading; assert threading.active_count() == 1, threading.enumerate()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=120)


def test_where_openvino_is_missing_torch_runs(monkeypatch):
    monkeypatch.setattr(compiled, "is_installed", lambda: False)
    model = make_model(lively(features=4, convs=1))
    for engine, notes in (("auto", 0), ("openvino", 1), (None, 0)):
        result = upscale(model, PHOTO, engine=engine, segment=False)
        assert result.report["engine"] == "torch" and len(result.report["notes"]) == notes
    assert "pip install openvino" in upscale(model, PHOTO, engine="openvino", segment=False).report["notes"][0]


def test_only_known_networks_are_converted():
    model = make_model(Repeat(), ColorGuide())
    assert upscale(model, PHOTO).report["engine"] == "torch" and upscale(model, PHOTO).report["notes"] == []
    assert "not a Repeat" in upscale(model, PHOTO, engine="openvino").report["notes"][0]


@needs_openvino
def test_the_environment_chooses_where_the_call_does_not(monkeypatch):
    generator = lively(features=4, convs=1)
    assert open_engine(generator, None).name == "openvino"
    monkeypatch.setenv("SSG_ENGINE", "torch")
    assert open_engine(generator, None).name == "torch"
    assert open_engine(generator, None, "auto").name == "openvino"
    assert predict(make_model(generator), (50, 40)).tiles == 1
    monkeypatch.setenv("SSG_ENGINE", "abacus")
    with pytest.raises(ConfigError, match="SSG_ENGINE is 'abacus'; known are auto, torch, openvino"):
        upscale(make_model(generator), PHOTO)
    with pytest.raises(ConfigError, match="engine is 'fast'"):
        upscale(make_model(generator), PHOTO, engine="fast")


@pytest.mark.slow
@needs_openvino
def test_memory_does_not_grow_with_every_size_of_picture(cache):
    """OpenVINO writes code for each shape that it meets, and by itself keeps nearly all of it: 4 MB a size."""
    import resource

    from ssg_hub import SSGModel
    from ssg_hub.processes.memory import give_memory_back

    def upscale_some(numbers: range) -> int:
        for number in numbers:  # about as many pixels each, so that the networks' own need stays the same
            model.upscale(np.full((80 - number, 80 + number, 3), number, np.uint8), engine="openvino")
        give_memory_back()
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    model = SSGModel.from_pretrained()
    before = upscale_some(range(24))  # as many as it may keep
    assert upscale_some(range(24, 36)) - before < 20e6
