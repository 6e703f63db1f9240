"""Running generator and guide on one tile, and what is tried before giving up: smaller parts, more precision."""

import contextlib
import copy
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import CheckpointError, ConfigError, SSGError
from ..tiling import SMALLEST_TILE, Feather, Grid, plan_spans

SMALLEST_SEEN = 64  # SR pixels a side that a guide gets at least: attention and pooling need some room
CELL = 4  # SR pixels, along each side, for which one soft label is kept


class TileNetworks:
    """A generator and a guide on a device, with tiles going in from the CPU and results coming back to it.

    Args:
        generator: (1, 3, h, w) in [0, 1] → (1, 3, s*h, s*w).
        guide: (1, 3, H, W) in [0, 1] → logits (1, K, …); or None.
        device, dtype: where and how precisely to compute; the modules are there already.

    Attributes:
        fallbacks: how often each emergency measure was taken: "tile_halved", "float32_redo".
    """

    def __init__(self, generator: nn.Module, guide: nn.Module | None, device: torch.device, dtype: torch.dtype):
        self.generator, self.guide = generator, guide
        self.device, self.dtype = device, dtype
        self.scale: int = generator.scale
        self.fallbacks: Counter[str] = Counter()
        self._fits: dict[str, int] = {}  # the side that fitted after an out-of-memory: later tiles start with it
        self._precise: dict[str, nn.Module] = {}

    def generate(self, lr: Tensor) -> Tensor:
        """SR (3, s*h, s*w) in [0, 1] of an LR tile (3, h, w), both float32 on the CPU.

        Raises:
            SSGError: out of memory even in the smallest parts.
            CheckpointError: the generator's output is not finite.
        """
        return self._in_parts("generator", self._generate_whole, lr, Fraction(self.scale)).clamp_(0, 1)

    def segment(self, sr: Tensor) -> Tensor:
        """Soft labels (K, cells, cells) of an SR tile (3, H, W): probabilities, one for each 4x4 pixels.

        Raises:
            SSGError, CheckpointError: as `generate`.
        """
        return self._in_parts("guide", self._segment_whole, sr, Fraction(1, CELL))

    def _generate_whole(self, lr: Tensor) -> Tensor:
        return self._compute("generator", self.generator, lr)

    def _segment_whole(self, sr: Tensor) -> Tensor:
        rows, columns = (-(-side // CELL) for side in sr.shape[-2:])
        bottom, right = (max(0, SMALLEST_SEEN - side) for side in sr.shape[-2:])
        padded = F.pad(sr[None], (0, right, 0, bottom), mode="replicate")[0] if bottom or right else sr
        cells = [-(-side // CELL) for side in padded.shape[-2:]]

        def soft_labels(logits: Tensor) -> Tensor:
            soft = logits.float().softmax(dim=1)
            if list(soft.shape[-2:]) != cells:
                soft = F.interpolate(soft, size=cells, mode="bilinear", align_corners=False, antialias=True)
            return soft[..., :rows, :columns]

        return self._compute("guide", self.guide, padded, soft_labels)

    def _compute(self, name: str, network: nn.Module, tile: Tensor, finish: Callable = lambda output: output) -> Tensor:
        """One pass over a tile; once more in float32 when half precision overflows or lacks an operation here."""
        tile = tile[None].contiguous(memory_format=torch.channels_last)  # as convolutions compute: no reordering
        try:
            output = finish(network(tile.to(self.device, self.dtype)))[0].cpu().float()
            if torch.isfinite(output).all():
                return output
        except NotImplementedError:
            if self.dtype == torch.float32:
                raise
        if self.dtype != torch.float32:
            self.fallbacks["float32_redo"] += 1
            if name not in self._precise:
                self._precise[name] = copy.deepcopy(network).float()
            output = finish(self._precise[name](tile.to(self.device)))[0].cpu()
            if torch.isfinite(output).all():
                return output
        raise CheckpointError(
            f"the {name} returned NaN or infinity for this picture, in full precision too: its weights are damaged or "
            "their training failed. Use another checkpoint."
        )

    def _in_parts(self, name: str, step: Callable[[Tensor], Tensor], tile: Tensor, ratio: Fraction) -> Tensor:
        """`step(tile)`, in halves, quarters, … where the whole does not fit into memory."""
        longest = max(tile.shape[-2:])
        while True:
            side = min(self._fits.get(name, longest), longest)
            try:
                return step(tile) if side == longest else _apply_to_parts(step, tile, side, ratio)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            # Only here, outside of the handler, the failed attempt's tensors are released.
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            smallest = round(SMALLEST_TILE * max(1, 1 / ratio))
            if side // 2 < smallest:
                raise SSGError(
                    f"the {name} ran out of memory on {self.device} with a tile of {side} pixels, the smallest tried. "
                    "Free some memory, or use device='cpu'."
                )
            self._fits[name] = side // 2
            self.fallbacks["tile_halved"] += 1


def _apply_to_parts(step: Callable[[Tensor], Tensor], tile: Tensor, side: int, ratio: Fraction) -> Tensor:
    """`step` on overlapping parts of a tile, cross-faded. `ratio` is the output's size relative to the input's."""
    unit = max(1, ratio.denominator)  # parts of an SR tile start on whole cells
    grid = Grid(*(_scaled_spans(plan_spans(-(-length // unit), side // unit), unit) for length in tile.shape[-2:]))
    outputs = Grid(*(_scaled_spans(spans, ratio) for spans in (grid.rows, grid.columns)))
    whole: Tensor | None = None

    def place(part: Tensor, top: int, left: int) -> None:
        nonlocal whole
        if whole is None:
            whole = part.new_empty(part.shape[0], outputs.rows[-1][1], outputs.columns[-1][1])
        whole[:, top : top + part.shape[1], left : left + part.shape[2]] = part

    feather = Feather(outputs, place)
    for row, column in grid:
        feather.add(step(tile[:, slice(*grid.rows[row]), slice(*grid.columns[column])]), row, column)
    return whole


def _scaled_spans(spans: list[tuple[int, int]], ratio: Fraction | int) -> list[tuple[int, int]]:
    return [(int(start * ratio), int(stop * ratio)) for start, stop in spans]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception of torch or Python says that memory ran out, on any device."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text


@contextlib.contextmanager
def evaluating(*modules: nn.Module | None) -> Iterator[None]:
    """Evaluation mode inside, and outside again what each submodule was in."""
    training = [part for module in modules if module is not None for part in module.modules() if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True


def place_networks(
    generator: nn.Module, guide: nn.Module | None, device: str | torch.device | None, dtype: torch.dtype | str | None
) -> TileNetworks:
    """Ready a model's networks, copied when another device or precision is asked for than they are in.

    Raises:
        ConfigError: a device that this machine lacks, or a type that is not for computing.
    """
    parameter = next(generator.parameters(), torch.empty(0))
    place = choose_device(parameter.device, device)
    precision = choose_dtype(parameter.dtype, dtype)
    if (place, precision) != (parameter.device, parameter.dtype):
        generator = copy.deepcopy(generator).to(place, precision)
        guide = guide and copy.deepcopy(guide).to(place, precision)
    return TileNetworks(generator, guide, place, precision)


def choose_device(current: torch.device, device: str | torch.device | None) -> torch.device:
    """The device to compute on: the model's own unless another one is asked for.

    Raises:
        ConfigError: a name that torch does not know, or a device that this machine lacks.
    """
    if device is None:
        return current
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device {str(device)!r} cannot be used here ({reason}). Use device='cpu'.") from error


def choose_dtype(current: torch.dtype, dtype: torch.dtype | str | None) -> torch.dtype:
    """The precision to compute in: the model's own unless another one is asked for.

    Raises:
        ConfigError: not float32, float16 or bfloat16.
    """
    known = {str(kind).removeprefix("torch."): kind for kind in (torch.float32, torch.float16, torch.bfloat16)}
    name = str(current if dtype is None else dtype).removeprefix("torch.")
    if name not in known:
        raise ConfigError(f"dtype {name!r} is not for pictures; use {', '.join(known)}.")
    return known[name]
