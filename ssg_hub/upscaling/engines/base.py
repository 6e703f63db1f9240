"""What runs a model's networks on a tile: the interface that the pipeline sees, and what all engines share.

An engine adds one thing: how a network computes a tile (`infer`). Everything around it is here and the same for all:
soft labels from logits, parts where memory does not suffice, full precision where half does not.
"""

import contextlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import CheckpointError, SSGError
from ...networks.building import evaluating, on_cpu
from ...networks.guide import Guide
from ...networks.registry import Generator
from ..options import SMALLEST_TILE
from ..progress import Tracker
from ..tiling import context_of
from .parts import apply_to_parts

SMALLEST_SEEN = 64  # SR pixels a side that a guide gets at least: attention and pooling need some room
CELL = 4  # SR pixels, along each side, for which one soft label is kept
CPU_BUDGET = 2**30  # bytes that a tile's activations may take where no device says what it has
Finish = Callable[[Tensor], Tensor]


class Engine(ABC):
    """A generator and a guide, ready to be run on tiles that come from the CPU and go back to it.

    Making one costs nothing: what is expensive waits for the first tile. Tiles are run inside of `running()`.

    Args:
        generator: (1, 3, h, w) in [0, 1] → (1, 3, s*h, s*w), with its `scale`.
        guide: (1, 3, H, W) in [0, 1] → logits (1, K, …), with its `labels`; or None.
        device, dtype: device and precision to compute with.

    Attributes:
        name: what `upscale(engine=…)` and the report call it; also its module's name.
        title: what people call it.
        fallbacks: how often each emergency measure was taken: "tile_halved", "float32_redo".
        notes: sentences for the report.
        tracker: called while the engine prepares and computes; it may raise, to end the run.
        allows_int8: whether a generator may be run in 8-bit integers, where it has them and the engine can.
    """

    name: str
    title: ClassVar[str]

    @classmethod
    def reason_against(cls, generator: nn.Module, device: torch.device, dtype: torch.dtype) -> str | None:
        """Why this engine cannot be used here, as the rest of a sentence; None when it can."""
        return None

    def __init__(self, generator: Generator, guide: Guide | None, device: torch.device, dtype: torch.dtype):
        self.generator, self.guide = generator, guide
        self.device, self.dtype = device, dtype
        self.fallbacks: Counter[str] = Counter()
        self.notes: list[str] = []
        self.tracker = Tracker()
        self.allows_int8 = False
        self._fits: dict[str, int] = {}  # the side that fitted after an out-of-memory: later tiles start with it
        self._in_float32: Engine | None = None

    @property
    def scale(self) -> int:
        """How many times larger SR is than LR, per side."""
        return self.generator.scale

    @property
    def context(self) -> int:
        """LR pixels around a pixel that its SR depends on, to each side."""
        return context_of(self.generator)

    @property
    def precision(self) -> str:
        """What the generator is computed in, for the report."""
        return str(self.dtype).removeprefix("torch.")

    @property
    def bytes_per_pixel(self) -> int:
        """An upper bound of what the generator needs for each LR pixel of a tile.

        Its widest layer at SR size, three times: input, output, and the convolution's workspace.
        """
        widths = [layer.out_channels for layer in self.generator.modules() if isinstance(layer, nn.Conv2d)]
        return 3 * max(widths, default=3) * self.scale**2 * self.dtype.itemsize

    @property
    def budget(self) -> int:
        """Bytes that a tile may take: half of a GPU's free memory, 1 GiB elsewhere."""
        return torch.cuda.mem_get_info(self.device)[0] // 2 if self.device.type == "cuda" else CPU_BUDGET

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Tiles are run in here: no gradients, the networks evaluating; afterwards they are in their own mode again.

        What the caller set for all of torch (autocast, a default device) holds outside only: tiles are on the CPU, and
        `dtype` says what is computed in.
        """
        with contextlib.ExitStack() as stack:
            for kind in {"cpu", self.device.type}:
                stack.enter_context(torch.autocast(kind, enabled=False))
            with torch.inference_mode(), on_cpu(), evaluating(self.generator, self.guide):
                yield

    def generate(self, lr: Tensor) -> Tensor:
        """SR (3, s*h, s*w) in [0, 1] of an LR tile (3, h, w), both float32 on the CPU.

        Raises:
            SSGError: out of memory even in the smallest parts.
            CheckpointError: the generator's output is not finite.
        """

        def step(part: Tensor) -> Tensor:
            return self._compute("generator", part, lambda sr: sr)

        return self._in_parts("generator", step, lr, Fraction(self.scale)).clamp_(0, 1)

    def segment(self, sr: Tensor) -> Tensor:
        """Soft labels (K, cells, cells) of an SR tile (3, H, W): probabilities, one for each 4x4 pixels.

        Raises:
            SSGError, CheckpointError: as `generate`.
        """

        def step(part: Tensor) -> Tensor:
            rows, columns = (-(-side // CELL) for side in part.shape[-2:])
            bottom, right = (max(0, SMALLEST_SEEN - side) for side in part.shape[-2:])
            padded = F.pad(part[None], (0, right, 0, bottom), mode="replicate")[0] if bottom or right else part
            return self._compute("guide", padded, soft_labels(padded))[..., :rows, :columns]

        return self._in_parts("guide", step, sr, Fraction(1, CELL))

    @abstractmethod
    def infer(self, network: str, tile: Tensor, finish: Finish) -> Tensor:
        """One pass of "generator" or "guide".

        Args:
            network: which of the two.
            tile: (1, 3, h, w), float32 on the CPU.
            finish: applied to the network's output where that lies, before it comes to the CPU.

        Returns:
            What `finish` returns, (1, …), float32 on the CPU.

        Raises:
            NotImplementedError: an operation is missing in this precision.
        """

    @abstractmethod
    def in_float32(self) -> "Engine":
        """The same networks on the same device in full precision."""

    def free_memory(self) -> None:  # noqa: B027  (most engines hold nothing back)
        """Give back what is held for later, after memory ran out."""

    def _compute(self, network: str, tile: Tensor, finish: Finish) -> Tensor:
        """One pass over a tile (3, h, w); again in float32 when half precision overflows or lacks an operation here."""
        tile = tile[None]
        full = self.dtype == torch.float32
        try:
            output = self.infer(network, tile, finish)[0]
            if torch.isfinite(output).all():
                return output
        except NotImplementedError:
            if full:
                raise
        if not full:
            self.fallbacks["float32_redo"] += 1
            self._in_float32 = self._in_float32 or self.in_float32()
            self._in_float32.tracker = self.tracker
            output = self._in_float32.infer(network, tile, finish)[0]
            if torch.isfinite(output).all():
                return output
        raise CheckpointError(
            f"the {network} returned NaN or infinity for this picture, in full precision too: its weights are damaged "
            "or their training failed. Use another checkpoint."
        )

    def _in_parts(self, network: str, step: Callable[[Tensor], Tensor], tile: Tensor, ratio: Fraction) -> Tensor:
        """`step(tile)`, in halves, quarters, … where the whole does not fit into memory."""
        longest = max(tile.shape[-2:])
        while True:
            side = min(self._fits.get(network, longest), longest)
            try:
                return step(tile) if side == longest else apply_to_parts(step, tile, side, ratio)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            self.free_memory()  # only here, outside of the handler, the failed attempt's tensors are released
            smallest = round(SMALLEST_TILE * max(Fraction(1), 1 / ratio))
            if side // 2 < smallest:
                raise SSGError(
                    f"the {network} ran out of memory on {self.device} with a tile of {side} pixels, the smallest "
                    "tried. Free some memory, or use device='cpu'."
                )
            self._fits[network] = side // 2
            self.fallbacks["tile_halved"] += 1


def soft_labels(image: Tensor) -> Finish:
    """A function from a guide's logits (1, K, …) for `image` (…, H, W) to probabilities (1, K, cells, cells)."""
    cells = [-(-side // CELL) for side in image.shape[-2:]]

    def finish(logits: Tensor) -> Tensor:
        soft = logits.float().softmax(dim=1)
        if list(soft.shape[-2:]) != cells:
            soft = F.interpolate(soft, size=cells, mode="bilinear", align_corners=False, antialias=True)
        return soft

    return finish


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception of torch, OpenVINO or Python says that memory ran out, on any device."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return any(words in text for words in ("out of memory", "can't allocate memory", "bad_alloc", "bad allocation"))
