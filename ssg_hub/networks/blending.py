"""Two sets of weights of one network, and what lies between them."""

import copy
import threading
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


class Blender:
    """Interpolates between two networks, and keeps the last result; may be called from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: tuple[tuple, nn.Module] | None = None  # what it was made from, and the network

    def blend(self, first: Network, second: Network, share: float) -> Network:
        """`blend_weights`, or what it last returned when nothing has changed since."""
        tensors = [*first.state_dict().values(), *second.state_dict().values()]
        key = (first, second, share, [_version_of(tensor) for tensor in tensors])
        with self._lock:
            if self._last is None or self._last[0] != key:
                self._last = (key, blend_weights(first, second, share))
            return cast(Network, self._last[1])  # the key has `first`, of whose class it is

    def forget(self) -> None:
        """Drop what is kept."""
        with self._lock:
            self._last = None

    def __reduce__(self) -> tuple:
        return Blender, ()  # a copy keeps nothing: it is asked about other networks


def blend_weights(first: Network, second: Network, share: float) -> Network:
    """A network whose weights lie between those of two others of the same architecture.

    Networks that were fine-tuned from one another can be interpolated weight by weight, and their pictures change
    smoothly in between (Wang et al., "Deep Network Interpolation", CVPR 2019, eq. 1).

    Args:
        first, second: left as they are.
        share: of the second, 0 to 1. Computed in float32 at least, then cast to the first's own precision.

    Returns:
        A new network on the first's device, in evaluation mode, without gradients.
    """
    between = copy.deepcopy(first).eval().requires_grad_(False)
    others = second.state_dict()
    for name, tensor in between.state_dict().items():
        if tensor.is_floating_point():
            precise = torch.promote_types(tensor.dtype, torch.float32)
            tensor.copy_(torch.lerp(tensor.to(precise), others[name].to(tensor.device, precise), share))
    return between


def _version_of(tensor: Tensor) -> tuple:
    """What changes when a tensor's values do."""
    return tensor.data_ptr(), tensor.dtype, 0 if tensor.is_inference() else tensor._version
