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
    soft = Image.fromarray(np.uint8(255) * chosen).filter(ImageFilter.GaussianBlur(1))  # no edge that gives it away
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
