"""Make the demo's example pictures from free photographs that come with scikit-image: small, blurred and noisy.

python -m benchmarks.examples          # writes the demo's examples
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter
from skimage import data

from ssg_hub.images.reading import Picture, write_picture

FOLDER = Path(__file__).resolve().parents[1] / "ssg_hub" / "demo" / "examples"


def main() -> None:
    """Write every example; the same bytes each time."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    spoil(data.chelsea(), 3, 4).save(FOLDER / "cat.jpg", quality=80)
    spoil(data.rocket(), 3, 5).save(FOLDER / "launch.jpg", quality=70)
    spoil(data.astronaut()[:360, 60:420], 5, 4).save(FOLDER / "face.jpg", quality=75)
    turned = spoil(data.coffee(), 3, 3).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to see it upright
    turned.save(FOLDER / "coffee_turned.jpg", quality=80, exif=exif)
    cut_out(spoil(data.coffee(), 3, 2)).save(FOLDER / "cup_transparent.png")
    gray = np.asarray(Image.fromarray(data.chelsea()).reduce(3), np.float32).mean(axis=2)
    write_picture(Picture((gray / 255 * 65535).astype(np.uint16)), FOLDER / "cat_16bit.png", overwrite=True)


def spoil(pixels: np.ndarray, factor: int, sigma: float) -> Image.Image:
    """Blur a little, reduce by `factor`, and add noise of `sigma` grey levels."""
    small = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(factor * 0.4)).reduce(factor)
    noise = np.random.default_rng(0).normal(0, sigma, (*small.size[::-1], 3))
    return Image.fromarray((np.asarray(small) + noise).round().clip(0, 255).astype(np.uint8))


def cut_out(image: Image.Image) -> Image.Image:
    """Keep an ellipse in the middle, with a soft edge; the rest becomes transparent."""
    rows, columns = np.ogrid[-1 : 1 : image.height * 1j, -1 : 1 : image.width * 1j]
    alpha = ((1 - np.hypot(rows / 0.95, columns / 0.75)) * 12).clip(0, 1)
    result = image.convert("RGBA")
    result.putalpha(Image.fromarray((alpha * 255).astype(np.uint8)))
    return result


if __name__ == "__main__":
    main()
