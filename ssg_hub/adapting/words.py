"""What a bank has learnt of a camera, in plain words."""

import torch

from ..degradation.bank import DegradationBank
from ..degradation.kernels import measure_kernel

DARK, LIGHT = slice(1, 5), slice(11, 15)  # of the 16 bins of brightness
TOLD = 0.5  # levels; weaker noise is none
CHANGES = 1.4  # the factor between dark and light from which noise is said to depend on light


def tell_camera(bank: DegradationBank) -> list[str]:
    """A sentence each on blur, noise and compression."""
    return [_tell_blur(bank), _tell_noise(bank), _tell_compression(bank)]


def _tell_blur(bank: DegradationBank) -> str:
    shapes = [measure_kernel(kernel)[0] for kernel in bank.kernels]
    along, across = (sum(getattr(s, side) for s in shapes) / len(shapes) for side in ("major", "minor"))
    width = f"about {along / bank.scale:.1f} pixels of its pictures"
    if along < 1.3 * across:
        return f"It blurs by {width}, alike in all directions."
    return f"It blurs by {width} in one direction and {across / bank.scale:.1f} across it."


def _tell_noise(bank: DegradationBank) -> str:
    levels = bank.noise.levels.square().mean((0, 1)).sqrt() * 255
    dark, light = (float(levels[part].mean()) for part in (DARK, LIGHT))
    middle = float(levels[7:9].mean())
    if max(dark, middle, light) < TOLD:
        return "It adds no noise that could be measured."
    ratio = light / max(dark, 1e-6)
    course = "rising with light" if ratio > CHANGES else "strongest in the dark" if ratio < 1 / CHANGES else "even"
    ends = f"{dark:.0f} in the dark, {light:.0f} in the light"
    return f"Its noise is {middle:.0f} of 255 levels in mid-gray, {course} ({ends})."


def _tell_compression(bank: DegradationBank) -> str:
    compressed = bank.luma_steps.amax((1, 2)) > 0
    quality = bank.report.get("jpeg_quality")
    if not bool(torch.any(compressed)):
        return "No compression was found in its pictures."
    share = "All" if bool(torch.all(compressed)) else f"{int(compressed.sum())} of {len(compressed)}"
    between = "" if not quality else f" of quality {quality[0]} to {quality[1]}"
    if 2 * bank.report.get("video_found", 0) > int(compressed.sum()):
        return f"{share} of its pictures went through MPEG video, about as coarse as JPEG{between}."
    return f"{share} of its pictures went through JPEG{between}."
