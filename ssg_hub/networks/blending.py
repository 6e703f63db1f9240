"""Two sets of weights of one network, and what lies between them."""

import copy
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


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
