"""Changes to pictures with label maps, so that a guide sees more than a few hundred frames show.

Each draws what it does from the generator that it is given, and so repeats itself for the same seed.
"""

import colorsys

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter


def jitter_colors(image: Image.Image, amount: float, rng: np.random.Generator) -> Image.Image:
    """Brightness, contrast and saturation, each changed by a factor of up to 1 ± amount."""
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhance(image).enhance(rng.uniform(1 - amount, 1 + amount))
    return image


def recolor_class(image: Image.Image, label: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Draw one class of a picture towards a random colour, its texture kept: the class at a pixel chosen at random.

    So that a class is not known by its colour alone. Where all skies in the data are white, a guide takes a blue one
    for a wall.
    """
    ids, pixels = np.asarray(label), np.asarray(image, np.float32)
    chosen = ids == rng.choice(ids.ravel())
    color = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0, 0.8), rng.uniform(0.2, 1))
    gain = ((255 * np.array(color) + 8) / (pixels[chosen].mean(0) + 8)) ** rng.random()
    return _scaled(pixels, chosen, gain)


def paint_sky(image: Image.Image, label: Image.Image, sky: int, rng: np.random.Generator) -> Image.Image:
    """Give a picture another sky: by day, at dusk, at night or overcast, with clouds; branches before it stay dark.

    Where all skies in the data are white, a guide takes what is smooth and blue for a road. A picture without pixels
    of the id `sky` comes back as it is.
    """
    chosen = np.asarray(label) == sky
    if not chosen.any():
        return image
    pixels = np.asarray(image, np.float32)
    painted = _draw_sky(image.height, image.width, 1 + np.flatnonzero(chosen.any(1)).max(), rng)
    return _scaled(pixels, chosen, (255 * painted + 8) / (pixels[chosen].mean(0) + 8))


def _draw_sky(height: int, width: int, horizon: int, rng: np.random.Generator) -> np.ndarray:
    """A sky (height, width, 3) in [0, 1]: from one colour at the top to another in the row `horizon`, and clouds."""
    draw = rng.uniform
    zenith, low = {  # hue, saturation, value
        "day": ((draw(0.53, 0.65), draw(0.3, 0.9), draw(0.4, 1)), (draw(0.5, 0.62), draw(0, 0.4), draw(0.7, 1))),
        "dusk": ((draw(0.55, 0.85), draw(0.1, 0.7), draw(0.1, 0.8)), (draw(-0.05, 0.15), draw(0.2, 0.9), draw(0.4, 1))),
        "night": ((draw(0.55, 0.75), draw(0, 0.8), draw(0, 0.25)), (draw(0, 1), draw(0, 0.6), draw(0, 0.4))),
        "overcast": ((draw(0.5, 0.7), draw(0, 0.2), draw(0.3, 0.9)), (draw(0.5, 0.7), draw(0, 0.2), draw(0.4, 1))),
    }[rng.choice(["day", "dusk", "night", "overcast"], p=[0.45, 0.25, 0.1, 0.2])]
    top, bottom = (np.array(colorsys.hsv_to_rgb(hue % 1, *rest)) for hue, *rest in (zenith, low))
    down = (np.arange(height) / horizon).clip(0, 1)[:, None, None] ** draw(0.5, 2)
    clear = top + (bottom - top) * down
    clouds = _draw_clouds(height, width, rng)[..., None] * draw(0, 1)
    return (clear + (clear.mean() ** 0.5 * draw(0.4, 1.2) - clear) * clouds).clip(0, 1)


def _draw_clouds(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """How much of each pixel (height, width) is cloud, in [0, 1]: smooth noise of five sizes, wider than high."""
    noise = np.zeros((height, width), np.float32)
    for octave in range(5):
        grid = rng.normal(size=(3 * 2**octave, 2 * 2**octave)).astype(np.float32)
        noise += np.asarray(Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)) / 1.8**octave
    return (0.5 + (noise - np.quantile(noise, rng.uniform(0.2, 1))) / rng.uniform(0.2, 2)).clip(0, 1)


def _scaled(pixels: np.ndarray, chosen: np.ndarray, gain: np.ndarray) -> Image.Image:
    """The chosen pixels times a gain, with no edge that gives it away."""
    soft = Image.fromarray(np.uint8(255) * chosen).filter(ImageFilter.GaussianBlur(1))
    share = np.asarray(soft, np.float32)[..., None] / 255
    return Image.fromarray((pixels * (1 + share * (gain - 1))).clip(0, 255).round().astype(np.uint8))


def paste_classes(
    image: Image.Image, label: Image.Image, other: Image.Image, other_label: Image.Image, rng: np.random.Generator
) -> tuple[Image.Image, Image.Image]:
    """Lay half of the classes of another picture, chosen at random, over a picture and its label map.

    So that rare classes meet more surroundings than those of a few hundred frames (ClassMix, Olsson et al., WACV 2021,
    here with true labels). All four have one size.
    """
    ids = np.asarray(other_label)
    present = np.unique(ids)
    chosen = rng.choice(present, -(-len(present) // 2), replace=False)
    mask = Image.fromarray(np.uint8(255) * np.isin(ids, chosen))
    return Image.composite(other, image, mask), Image.composite(other_label, label, mask)
