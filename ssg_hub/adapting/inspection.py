"""Whether a folder is fit to learn a camera from: enough pictures, of one camera, neither sharp nor enlarged."""

from dataclasses import dataclass

import numpy as np
import torch

from ..degradation.bank import DegradationBank
from ..degradation.learning.pictures import Pictures
from ..degradation.learning.spectrum import measure_spectra, tile_side
from ..degradation.ops import LUMA_TABLE, scale_table
from ..images.levels import LUMA

LEAST = 8  # pictures; below it a tenth to hold back says nothing
LOW, MIDDLE, FINE, FINEST = (0.06, 0.12), (0.12, 0.2), (0.25, 0.4), (0.42, 0.5)  # cycles per pixel
NO_FINEST = -26.0  # dB below the middle: enlarged pictures have -30 and less, cameras -21 and more
SHARP_DETAIL = -17.0  # dB of the fine below the low frequencies: photographs have -10 to -16
SHARP_NOISE, SHARP_COLOR_NOISE = 3.0, 1.5  # levels; texture is taken for a little noise
LEAST_NOISE = 1.0  # levels; less is none
WEAKEST, WEAKEST_OF_NORMAL = 0.3, 0.385  # the quantile of differences that texture leaves alone, and a normal's
SHARP_STEP = float(scale_table(LUMA_TABLE, torch.tensor([88.0])).mean())  # JPEG that takes nothing one would miss
SAME_KIND = 4.5  # Ashman's D below which two groups are one; a uniform spread cut in two has 3.5
LEAST_DISTANCE = 1.8  # between the centres of two kinds, in the units of `Traits`
LEAST_SHARE = 0.08  # of the pictures that make a kind, and at least three
# What counts as one unit of difference: scenes differ most in what looks like luma noise, and in detail.
NOISE_UNIT, UNIT, DETAIL_UNIT = np.log(2.5), np.log(1.5), 6.0  # factors, factors, dB


@dataclass
class Traits:
    """What a camera did to each of N pictures, as measured.

    Attributes:
        noise, color_noise: (N,) standard deviation of luma and of chroma, about 2 px wide, in levels of 255.
        detail: (N,) power of the fine relative to the low frequencies, dB, noise included.
        finest: (N,) power of the finest relative to the middle frequencies, dB.
        step: (N,) mean quantisation step of JPEG's luma; 1 where there was none.
        side: (N,) geometric mean of the sides, pixels (of the middle of large pictures).
    """

    noise: np.ndarray
    color_noise: np.ndarray
    detail: np.ndarray
    finest: np.ndarray
    step: np.ndarray
    side: np.ndarray

    def points(self) -> np.ndarray:
        """(N, 5): luma noise, colour noise, JPEG, size and detail, in units of what scenes alone differ by."""
        noise, color = (np.log(np.maximum(sigma, LEAST_NOISE)) for sigma in (self.noise, self.color_noise))
        factors = [noise / NOISE_UNIT, color / UNIT, np.log(self.step) / UNIT, np.log(self.side) / UNIT]
        return np.stack([*factors, self.detail / DETAIL_UNIT], 1)

    def tell(self, members: np.ndarray) -> str:
        """The members' medians in words."""
        quality = _nearest_quality(float(np.median(self.step[members])))
        return (
            f"noise of {np.median(self.noise[members]):.1f} levels and {np.median(self.color_noise[members]):.1f} in "
            f"colour, {quality}, fine detail at {np.median(self.detail[members]):.0f} dB, "
            f"{np.median(self.side[members]):.0f} px"
        )


def measure(pictures: Pictures, bank: DegradationBank) -> Traits:
    """The traits of the pictures from which a bank was learnt."""
    floats = pictures.floats()
    low, middle, fine, finest = _bands(floats)
    noise, color_noise = np.array([_noise(picture) for picture in floats]).T
    step = bank.luma_steps.mean((1, 2)).clamp(min=1).numpy()
    side = np.sqrt([picture.shape[0] * picture.shape[1] for picture in floats])
    return Traits(noise, color_noise, 10 * np.log10(fine / low), 10 * np.log10(finest / middle), step, side)


def measure_detail(pictures: list[np.ndarray]) -> float:
    """Power of the fine relative to the low frequencies, dB, of pictures (H, W, 3), 8 bits, together.

    Sharp photographs have -12 or so; what is out of focus, or was smoothed, has less.
    """
    low, _, fine, _ = _bands([pixels.astype(np.float32) / 255 for pixels in pictures])
    return float(10 * np.log10(fine.sum() / low.sum()))


def _bands(floats: list[np.ndarray]) -> list[np.ndarray]:
    """Power (N,) of each picture in the bands LOW, MIDDLE, FINE and FINEST."""
    spectra = measure_spectra(floats, min(tile_side(floats), *(min(picture.shape[:2]) for picture in floats)))
    radius = torch.hypot(spectra.fy, spectra.fx)
    bands = (LOW, MIDDLE, FINE, FINEST)
    return [spectra.power[:, (radius >= a) & (radius < b)].mean(1).numpy() + 1e-12 for a, b in bands]


def _noise(picture: np.ndarray) -> tuple[float, float]:
    """Standard deviations of luma and chroma noise of one picture alone, from its weakest diagonal differences.

    A bank's strengths lean on all pictures of the set; here each must speak for itself.
    """
    height, width = (side // 4 * 4 for side in picture.shape[:2])
    luma = picture[:height, :width] @ np.array(LUMA, np.float32)
    planes = [luma, picture[:height, :width, 0] - luma, picture[:height, :width, 2] - luma]
    found = []
    for plane in planes:
        coarse = plane.reshape(height // 2, 2, width // 2, 2).mean((1, 3))
        a, b, c, d = (coarse[y::2, x::2] for y in (0, 1) for x in (0, 1))
        found.append(np.quantile(np.abs(a - b - c + d) / 2, WEAKEST) / WEAKEST_OF_NORMAL * 255)
    return found[0], float(np.hypot(*found[1:]) / 2**0.5)


def find_kinds(points: np.ndarray) -> list[np.ndarray]:
    """Groups of points (N, d) that are further apart than they spread, as arrays of indices, the largest first.

    A set is cut in two by 2-means. The halves are two kinds if Ashman's D along the line through their centres (Ashman,
    Bird & Zepf 1994) and the distance of the centres say so; each is then cut again.
    """
    kinds = _cut(points, np.arange(len(points)), max(3, round(LEAST_SHARE * len(points))))
    return sorted(kinds, key=len, reverse=True)


def _cut(points: np.ndarray, members: np.ndarray, least: int) -> list[np.ndarray]:
    if len(members) < 2 * least:
        return [members]
    inside = points[members]
    second = _two_means(inside)
    a, b = inside[~second], inside[second]
    if min(len(a), len(b)) < least:
        return [members]
    line = b.mean(0) - a.mean(0)
    distance = float(np.linalg.norm(line))
    if distance < LEAST_DISTANCE:
        return [members]
    spread = np.sqrt((a @ line / distance).var() + (b @ line / distance).var())
    if np.sqrt(2) * distance < SAME_KIND * spread:
        return [members]
    return [*_cut(points, members[~second], least), *_cut(points, members[second], least)]


def _two_means(points: np.ndarray) -> np.ndarray:
    """(N,) bool, which of two groups: Lloyd's iterations from the two ends of the axis of most variance."""
    centred = points - points.mean(0)
    axis = np.linalg.svd(centred, full_matrices=False)[2][0]
    second = centred @ axis > 0
    for _ in range(50):
        if second.all() or not second.any():
            break
        centres = [points[~second].mean(0), points[second].mean(0)]
        nearer = np.linalg.norm(points - centres[1], axis=1) < np.linalg.norm(points - centres[0], axis=1)
        if (nearer == second).all():
            break
        second = nearer
    return second


def look(pictures: Pictures, bank: DegradationBank) -> list[str]:
    """What speaks against learning from these pictures, in sentences with figures and what to do; empty if nothing."""
    traits = measure(pictures, bank)
    kinds = find_kinds(traits.points())
    found = [_tell_kinds(kinds, traits, pictures.names)] if len(kinds) > 1 else []
    finest = float(np.median(traits.finest))
    noise, color, detail, step = (
        float(np.median(values)) for values in (traits.noise, traits.color_noise, traits.detail, traits.step)
    )
    if finest < NO_FINEST:
        found.append(
            f"the pictures look enlarged already, or far out of focus: their finest detail is {-finest:.0f} dB below "
            f"the middle frequencies (a camera's has 10 to 21). Give them as the camera made them, or reduced."
        )
    elif noise < SHARP_NOISE and color < SHARP_COLOR_NOISE and detail > SHARP_DETAIL and step < SHARP_STEP:
        found.append(
            f"the pictures are sharp already: noise of {noise:.1f} levels, fine detail at {detail:.0f} dB, "
            f"{_nearest_quality(step)}. There is nothing to learn from them; `ssg upscale` does what can be done. Give "
            "pictures that the camera spoiled, at their own size."
        )
    return found


def too_few(count: int) -> str | None:
    """The sentence for a folder with too few pictures, or None."""
    if count >= LEAST:
        return None
    return (
        f"{count} picture{'s' if count != 1 else ''} can be used; {LEAST} are needed, better 30 or more, so that some "
        "can be held back to see whether the result is better. Add pictures of the same camera."
    )


def _tell_kinds(kinds: list[np.ndarray], traits: Traits, names: list[str]) -> str:
    shown = "; ".join(f"{len(kind)} such as {names[kind[0]]} ({traits.tell(kind)})" for kind in kinds)
    return (
        f"the pictures are of {len(kinds)} kinds: {shown}. One model learns one camera: put each kind into a folder of "
        "its own, and adapt to each."
    )


def _nearest_quality(step: float) -> str:
    if step <= 1:
        return "no JPEG"
    qualities = torch.arange(5, 100).float()
    steps = scale_table(LUMA_TABLE, qualities).mean((1, 2))
    return f"JPEG of about {int(qualities[(steps - step).abs().argmin()])}"
