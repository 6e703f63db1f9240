"""Post-training quantisation of a compact generator, layer by layer, from pictures alone.

Three steps, each exact or in closed form:
1. Channels are equalised: PReLU commutes with positive factors, so that a channel may be divided by a factor before it
   and its weights multiplied by it after (Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias
   Correction", ICCV 2019, sec. 4.1). One range then suits all channels of a layer.
2. Each range is the one that costs the layer's output the least squared error, clipping included.
3. Weights are rounded column by column, each error carried on into the columns that are left (Frantar et al., "GPTQ",
   ICLR 2023, algorithm 1); then the bias makes up for the mean. They are not refitted to what the rounded layers before
   them deliver: least squares on noisy inputs makes weights smaller and the picture dull: some tenths of a decibel
   better, LPIPS twice as far away.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..networks.compact import SRVGGNetCompact
from ..networks.int8 import LEVELS, MOST, Int8, Layer, hash_weights

TO_ACTIVATIONS = 0.7  # how much of a channel's range goes into its weights; 1 is all
CLIPS = (1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.42, 0.35)  # shares of the range seen that are tried for each end
STEPS = (1, 0.9, 0.8, 0.7, 0.6)  # shares of a weight's largest value that are tried for the end of its grid
DAMP = 3e-3  # of the mean diagonal: how much of an error may be carried on
BLOCK = 64  # columns that are rounded before the rest hears of it
SAMPLED = 5  # every fifth pixel decides on the range


def fit_int8(generator: SRVGGNetCompact, pictures: list[Tensor], in_float: set[int]) -> Int8:
    """Quantise a generator.

    Args:
        generator: float32 on the CPU.
        pictures: LR (1, 3, h, w) to fit to; about 100,000 pixels in all are enough. They should reach black and white.
        in_float: numbers of the convolutions that stay in float32, from 0.

    Returns:
        The layers in order, their channels equalised, with the hash of the generator's weights.
    """
    with torch.inference_mode():
        slopes = [part.weight for part in generator.body if isinstance(part, nn.PReLU)]
        exact, lows, highs = equalise(generator, pictures)
        ideal, real, layers = list(pictures), list(pictures), []
        first = min(set(range(len(exact))) - in_float, default=len(exact))
        for number, (weight, bias) in enumerate(exact):
            layer = Layer(weight, bias)
            if number not in in_float:
                scale, zero = _fit_levels(real, lows[number], highs[number], weight)
                layer = Layer(weight, bias, torch.ones(len(bias)), scale, zero)
                real = [layer.quantise_input(x) for x in real]
            ideal = [F.conv2d(x, weight, bias, padding=1) for x in ideal]
            if number >= first:  # before, nothing is rounded and there is nothing to make up for
                layer = _fit_weights(layer, real, ideal)
            layers.append(layer)
            real = [F.conv2d(x, layer.weight, layer.bias, padding=1) for x in real] if number >= first else ideal
            if number < len(slopes):
                ideal, real = ([F.prelu(x, slopes[number]) for x in part] for part in (ideal, real))
    return Int8(hash_weights(generator), layers)


def equalise(
    generator: SRVGGNetCompact, pictures: list[Tensor]
) -> tuple[list[tuple[Tensor, Tensor]], list[float], list[float]]:
    """The same network with equalised channels (step 1 above).

    Args:
        generator, pictures: as `fit_int8` takes them.

    Returns:
        (weight, bias) of each convolution, (out, in, 3, 3) and (out,); then the lowest and the highest value of the
        input of each.
    """
    convs = [part for part in generator.body if isinstance(part, nn.Conv2d)]
    low, high = _channel_ranges(generator, pictures)
    weights, biases = [conv.weight.clone() for conv in convs], [conv.bias.clone() for conv in convs]
    for number in range(1, len(convs)):
        reach = torch.maximum(high[number], -low[number]).clamp_min(1e-6)
        largest = convs[number].weight.abs().amax((0, 2, 3)).clamp_min(1e-8)
        factor = reach**TO_ACTIVATIONS / largest ** (1 - TO_ACTIVATIONS)
        factor = factor / factor.log().mean().exp()
        weights[number] = weights[number] * factor.view(1, -1, 1, 1)
        weights[number - 1] = weights[number - 1] / factor.view(-1, 1, 1, 1)
        biases[number - 1] = biases[number - 1] / factor
        low[number], high[number] = low[number] / factor, high[number] / factor
    lows, highs = ([float(ends.min()) for ends in low], [float(ends.max()) for ends in high])
    return list(zip(weights, biases, strict=True)), lows, highs


def _channel_ranges(generator: SRVGGNetCompact, pictures: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """The lowest (0 at most) and highest (0 at least) of each input channel of each convolution."""
    convs = [part for part in generator.body if isinstance(part, nn.Conv2d)]
    low = [torch.zeros(conv.in_channels) for conv in convs]
    high = [torch.zeros(conv.in_channels) for conv in convs]
    for x in pictures:
        number = 0
        for part in generator.body:
            if isinstance(part, nn.Conv2d):
                low[number] = torch.minimum(low[number], x.amin((0, 2, 3)))
                high[number] = torch.maximum(high[number], x.amax((0, 2, 3)))
                number += 1
            x = part(x)
    return low, high


def _fit_levels(inputs: list[Tensor], low: float, high: float, weight: Tensor) -> tuple[float, int]:
    """(scale, zero) of the levels that cost a layer's output the least, its weights' energy by channel considered."""
    x = torch.cat([part[0].flatten(1)[:, ::SAMPLED] for part in inputs], 1)
    energy = weight.square().sum((0, 2, 3))[:, None]
    best, found = float("inf"), (1.0, 0)
    for below in CLIPS:
        for above in CLIPS:
            scale = max((high * above - low * below) / (LEVELS - 1), 1e-8)
            zero = min(max(round(-low * below / scale), 0), LEVELS - 1)
            stored = x.div(scale).round_().add_(zero).clamp_(0, LEVELS - 1).sub_(zero).mul_(scale)
            if (error := float(stored.sub_(x).square_().mul_(energy).mean())) < best:
                best, found = error, (scale, zero)
    return found


def _fit_weights(layer: Layer, inputs: list[Tensor], targets: list[Tensor]) -> Layer:
    """The layer with its weights on their grid, where it is quantised, and the bias that gives the targets' mean."""
    weight, pixels = layer.weight.flatten(1), 0
    rows, columns = weight.shape
    gram, seen, wanted = torch.zeros(columns, columns), torch.zeros(columns), torch.zeros(rows)
    for x, target in zip(inputs, targets, strict=True):
        patches = F.unfold(x, 3, padding=1)[0]
        gram += patches @ patches.T
        seen, wanted, pixels = seen + patches.sum(1), wanted + target[0].flatten(1).sum(1), pixels + patches.shape[1]
    step = None
    if layer.step is not None:
        step = _fit_steps(weight, gram.diagonal())
        weight = _round_columns(weight, gram, step)
        step = step[:, 0].clone()
    return Layer(weight.reshape(layer.weight.shape), (wanted - weight @ seen) / pixels, step, layer.scale, layer.zero)


def _fit_steps(weight: Tensor, energy: Tensor) -> Tensor:
    """The step of each row's grid, (out, 1), whose plain rounding costs least."""
    largest = weight.abs().amax(1, keepdim=True).clamp_min(1e-8)
    steps = torch.stack([largest * share / MOST for share in STEPS])
    errors = torch.stack(
        [(_on_grid(weight, step) - weight).square().mul(energy).sum(1, keepdim=True) for step in steps]
    )
    return steps.gather(0, errors.argmin(0, keepdim=True))[0]


def _on_grid(weight: Tensor, step: Tensor) -> Tensor:
    return (weight / step).round().clamp(-MOST, MOST) * step


def _round_columns(weight: Tensor, gram: Tensor, step: Tensor) -> Tensor:
    """GPTQ: the weights (out, in) on their grids."""
    held = gram + DAMP * gram.diagonal().mean() * torch.eye(len(gram))
    factor = torch.linalg.cholesky(torch.linalg.inv(held.double()), upper=True).float()
    left, rounded = weight.clone(), torch.zeros_like(weight)
    for start in range(0, weight.shape[1], BLOCK):
        stop = min(start + BLOCK, weight.shape[1])
        block, errors = left[:, start:stop].clone(), torch.zeros(len(weight), stop - start)
        for column in range(start, stop):
            here = column - start
            rounded[:, column] = _on_grid(block[:, here : here + 1], step)[:, 0]
            errors[:, here] = (block[:, here] - rounded[:, column]) / factor[column, column]
            block[:, here:] -= errors[:, here : here + 1] * factor[column, column:stop]
        left[:, stop:] -= errors @ factor[start:stop, stop:]
    return rounded
