"""Networks as OpenVINO runs them: converted from torch, compared with it, compiled once, and kept on the disk.

A compiled network belongs to the content of its weights, not to a module: new weights in the same module are another
network, and equal weights in two modules are the same. Nothing here is sent anywhere: OpenVINO's own message home at
its import is left out.
"""

import contextlib
import functools
import hashlib
import os
import shutil
import sys
import threading
import uuid
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ...networks.building import HOOKED, is_of_transformers
from ...networks.int8 import LEVELS, MOST, Int8Compact, Layer
from ...storage.user_cache import user_cache

KEPT_IN_MEMORY = 6  # networks: generators and guides of a few models
KEPT_ON_DISK = 16
TOLERANCE = 1e-3  # from torch, relative to the largest output or 1; seen: 1e-6
INT8_TOLERANCE = 3e-2  # the same in int8, root mean square: sums in another order round otherwise; seen: 0.011 on noise
SHAPES = 64  # pieces of code, each for one layer and one shape of tile, that a compiled network keeps
WAIT = 100  # milliseconds between two ticks
PLAIN = (bool, int, float, str, tuple, type(None))
PASSING = ("training", HOOKED)  # plain values of a module that do not change what it computes


class Refused(Exception):
    """OpenVINO cannot run a network, or not as torch does; the text says why."""


class CompiledNetwork:
    """A network (1, 3, h, w) → (1, …) for tiles of any size, float32 in and out; any thread may call it.

    Args:
        compiled: OpenVINO's compiled model.
    """

    def __init__(self, compiled):
        self._compiled = compiled
        self._idle: list = []  # one request for each call at a time; append and pop are atomic

    def __call__(self, tile: Tensor, tick: Callable[[], None] = lambda: None) -> Tensor:
        """Compute a tile; `tick` is called meanwhile, and what it raises ends the computation."""
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        # Not `infer`: that computes in the calling thread, and OpenVINO (2025.4 to 2026.4) then crashes once another
        # compiled network has been deleted.
        request.start_async({0: np.ascontiguousarray(tile.numpy())}, share_inputs=True)
        try:
            while not request.wait_for(WAIT):
                tick()
        except BaseException:
            with contextlib.suppress(RuntimeError):  # it says that it was cancelled
                request.cancel()
                request.wait()
            raise
        output = torch.from_numpy(request.get_output_tensor(0).data.copy())  # the request's own is written again
        self._idle.append(request)
        return output


_compiled: OrderedDict[str, CompiledNetwork | Refused] = OrderedDict()
_lock = threading.Lock()
_import_lock = threading.Lock()


def is_installed() -> bool:
    """Whether OpenVINO can be imported."""
    try:
        _openvino()
    except ImportError:
        return False
    return True


def has_bfloat16() -> bool:
    """Whether this CPU computes in bfloat16."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def has_int8() -> bool:
    """Whether OpenVINO computes in 8-bit integers on this CPU."""
    return "INT8" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def compile_network(module: nn.Module, dtype: torch.dtype, examples: list[tuple[int, int]]) -> CompiledNetwork:
    """The module's network, compiled now or before; called in evaluation mode.

    Args:
        module: float32 on the CPU, (1, 3, h, w) → (1, …).
        dtype: float32 or bfloat16, in which it computes.
        examples: sizes (h, w) at which it is traced (the first) and compared with torch (all).

    Raises:
        Refused: it cannot be converted, or what comes out is not what torch computes.
    """
    if is_altered(module):
        raise Refused("it has hooks or a replaced forward, which its weights do not show")
    key = f"{fingerprint(module)}-{str(dtype).removeprefix('torch.')}-{torch.get_num_threads()}"
    with _lock:
        if key not in _compiled:
            try:
                _compiled[key] = _compile(module, key.split("-")[0], dtype, examples)
            except Refused as refusal:
                _compiled[key] = refusal
            while len(_compiled) > KEPT_IN_MEMORY:
                _compiled.popitem(last=False)
        _compiled.move_to_end(key)
        found = _compiled[key]
    if isinstance(found, Refused):
        raise found
    return found


def is_altered(module: nn.Module) -> bool:
    """Whether hooks, or a `forward` put in the place of the class's, may change what a network computes.

    Those by which transformers gives hidden states change nothing.
    """
    return any(
        "forward" in vars(part)
        or any(
            not is_of_transformers(hook) for hook in (*part._forward_pre_hooks.values(), *part._forward_hooks.values())
        )
        for part in module.modules()
    )


def fingerprint(module: nn.Module) -> str:
    """A SHA-256 that is the same for the same network: classes with their source files, options, weights, versions.

    Raises:
        Refused: a class is in no file, as those of a notebook.
    """
    digest = hashlib.sha256(f"{_openvino().__version__} {torch.__version__}".encode())
    sources, configs = set(), {}
    for name, part in module.named_modules():
        plain = {key: value for key, value in vars(part).items() if isinstance(value, PLAIN) and key not in PASSING}
        digest.update(f"{name} {type(part).__qualname__} {part.extra_repr()} {sorted(plain.items())}\n".encode())
        if not type(part).__module__.startswith("torch."):
            file = getattr(sys.modules.get(type(part).__module__), "__file__", None)
            if file is None:
                raise Refused(f"the class {type(part).__name__} is in no file, so changes to it would go unnoticed")
            sources.add((file, os.stat(file).st_mtime_ns))
        config = getattr(part, "config", None)  # the parts of a transformers network share one
        if id(config) not in configs and hasattr(config, "to_json_string"):
            configs[id(config)] = config.to_json_string()
    digest.update(f"{sorted(sources)} {list(configs.values())}".encode())
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().contiguous().numpy().data)
    return digest.hexdigest()[:32]


def _compile(module: nn.Module, key: str, dtype: torch.dtype, examples: list[tuple[int, int]]) -> CompiledNetwork:
    """From the disk where it lies there; else converted, compared, and put there."""
    folder = user_cache() / "openvino" / key
    with contextlib.suppress(Exception):  # damaged, or of a release that wrote otherwise: it is made again
        if (folder / "model.xml").is_file():
            os.utime(folder)
            return _build(folder / "model.xml", dtype, folder)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        model = _convert(module.plain if isinstance(module, Int8Compact) else module, examples[0])
        if isinstance(module, Int8Compact):
            _quantise(model, module.layers)
        compiled = _build(model, torch.float32)
        _compare(compiled, module, examples)
    except Refused:
        raise
    except Exception as error:  # tracing runs the network's own code, conversion OpenVINO's: any exception is possible
        text = " ".join(str(error).split()) or type(error).__name__
        raise Refused(text[:200]) from error
    with contextlib.suppress(OSError, RuntimeError):  # no place to write, or a full disk: it is converted next time too
        _keep(model, folder)
    return compiled if dtype == torch.float32 else _build(model, dtype)


def _convert(module: nn.Module, size: tuple[int, int]):
    """The module as an OpenVINO model with tiles of any size; its weights are copied."""
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    example = torch.full((1, 3, *size), 0.5)  # not random: the caller's random numbers are not ours to draw
    with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sizes that tracing might take as constants: the comparison tells
        traced = torch.jit.trace(module, example, check_trace=False)
        decoder = TorchScriptPythonDecoder(traced, shared_memory=False)  # has to outlive the conversion
        frontend = FrontEndManager().load_by_framework("pytorch")
        model = frontend.convert(frontend.load(decoder))
    model.reshape([1, 3, -1, -1])
    return model


def _quantise(model, layers: list[Layer]) -> None:
    """Tell OpenVINO, in its way, which levels the inputs and the weights of a chain of convolutions lie on."""
    from openvino import opset13

    convolutions = [node for node in model.get_ordered_ops() if node.get_type_name() == "Convolution"]
    for node, layer in zip(convolutions, layers, strict=True):
        if layer.step is None:
            continue
        low, high = -layer.zero * layer.scale, (LEVELS - 1 - layer.zero) * layer.scale
        ends = [np.full((1, 1, 1, 1), end, np.float32) for end in (low, high)]
        steps = layer.step.view(-1, 1, 1, 1).numpy()
        grid = [-MOST * steps, MOST * steps]
        weight = np.ascontiguousarray(layer.weight.numpy())
        for place, source, bounds, levels in (
            (0, node.input_value(0), ends, LEVELS),
            (1, opset13.constant(weight).output(0), grid, 2 * MOST + 1),
        ):
            rounded = opset13.fake_quantize(source, *map(opset13.constant, (*bounds, *bounds)), levels)
            node.input(place).replace_source_output(rounded.output(0))
    model.validate_nodes_and_infer_types()


def _build(model, dtype: torch.dtype, cache: Path | None = None) -> CompiledNetwork:
    """Compile a model, or the file of one, with as many threads as torch has."""
    config = {
        # By itself it takes bfloat16 where the CPU has it, which is half a grey level away.
        "INFERENCE_PRECISION_HINT": {torch.float32: "f32", torch.bfloat16: "bf16"}[dtype],
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        # By itself it keeps 5,000: a server that meets pictures of ever other sizes grew by 5 MB with each.
        "CPU_RUNTIME_CACHE_CAPACITY": str(SHAPES),
        "ENABLE_CPU_PINNING": False,  # several processes would pin themselves to the same cores
        **({} if cache is None else {"CACHE_DIR": str(cache)}),
    }
    return CompiledNetwork(_core().compile_model(model if cache is None else str(model), "CPU", config))


def _compare(compiled: CompiledNetwork, module: nn.Module, sizes: list[tuple[int, int]]) -> None:
    """Raise Refused unless the compiled network computes what the module does, at every size."""
    for size in sizes:
        tile = torch.from_numpy(np.random.default_rng(0).random((1, 3, *size), dtype=np.float32))
        expected, found = module(tile), compiled(tile)
        expected = getattr(expected, "logits", expected)
        if expected.shape != found.shape:
            raise Refused(f"for {size[1]}x{size[0]} pixels it returned {tuple(found.shape)}")
        rounded = isinstance(module, Int8Compact)
        bound = (INT8_TOLERANCE if rounded else TOLERANCE) * max(1.0, float(expected.abs().max()))
        difference = (expected - found).abs()
        if not float(difference.square().mean().sqrt() if rounded else difference.max()) <= bound:
            raise Refused(f"for {size[1]}x{size[0]} pixels it differed from torch by more than {bound:.2g}")


def _keep(model, folder: Path) -> None:
    """Put a model on the disk, whole or not at all, and remove those that were used longest ago."""
    import openvino

    stage = folder.with_name(f".{uuid.uuid4().hex[:12]}")
    stage.mkdir(parents=True)
    try:
        openvino.save_model(model, str(stage / "model.xml"), compress_to_fp16=False)
        with contextlib.suppress(OSError):  # another process was faster
            stage.rename(folder)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    kept = sorted((path for path in folder.parent.iterdir() if path.is_dir()), key=lambda path: -path.stat().st_mtime)
    for path in kept[KEPT_ON_DISK:]:
        shutil.rmtree(path, ignore_errors=True)


@functools.cache
def _core():
    return _openvino().Core()


@functools.cache
def _openvino():
    """Import OpenVINO without its telemetry, which otherwise reports every import to its maker over the network."""
    with _import_lock, _without("openvino_telemetry"):
        import openvino
    return openvino


@contextlib.contextmanager
def _without(name: str) -> Iterator[None]:
    """Let an import of `name` fail inside, as if it were not installed."""
    before = sys.modules.get(name)
    sys.modules[name] = None
    try:
        yield
    finally:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
