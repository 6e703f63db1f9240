"""Make the demo's example pictures from free photographs: small, blurred and noisy, so that there is something to do.

The photographs come with scikit-image; the street scenes are views of two panoramas of Debian's package blender-data
(`apt-get download blender-data && dpkg -x blender-data*.deb FOLDER`), which the PyPI package OpenEXR reads. Without
--blender the street scenes stay as they are.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter
from scipy.ndimage import map_coordinates
from skimage import data

from benchmarks.document import ROOT
from ssg_hub.images.reading import Picture, write_picture

FOLDER = ROOT / "ssg_hub" / "demo" / "examples"
# Name of the example, panorama, and where the camera looks, in degrees.
STREETS = [("street_house", "sunset", 130), ("street_city", "city", 112), ("street_quay", "sunset", -98)]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--blender", type=Path, metavar="FOLDER", help="where Debian's blender-data was unpacked")


def run(options: argparse.Namespace) -> None:
    """Write every example; the same bytes each time."""
    blender = options.blender
    FOLDER.mkdir(parents=True, exist_ok=True)
    if blender is not None:
        worlds = blender / "usr/share/blender/datafiles/studiolights/world"
        for name, world, heading in STREETS:
            view = look(read_panorama(worlds / f"{world}.exr"), heading, pitch=2, width=240, height=160, angle=70)
            spoil(view, 1, 4).save(FOLDER / f"{name}.jpg", quality=75)
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


def read_panorama(path: Path) -> np.ndarray:
    """An equirectangular OpenEXR picture, exposed for the screen: (H, W, 3) in [0, 1]."""
    import OpenEXR  # only here, so that the other examples do without it

    light = np.nan_to_num(OpenEXR.File(str(path)).channels()["RGB"].pixels.astype(np.float32))
    light *= 0.5 / np.percentile(light.mean(axis=-1), 60)
    return np.clip(light / (1 + light / 2), 0, 1) ** (1 / 2.2)


def look(panorama: np.ndarray, heading: float, pitch: float, width: int, height: int, angle: float) -> np.ndarray:
    """The view of a pinhole camera inside the panorama, uint8 (height, width, 3); angles in degrees."""
    focal = width / 2 / np.tan(np.radians(angle) / 2)
    x, y = np.meshgrid(np.arange(width) - (width - 1) / 2, np.arange(height) - (height - 1) / 2)
    rise, turn = np.radians(pitch), np.radians(heading)
    up, ahead = -y * np.cos(rise) + focal * np.sin(rise), y * np.sin(rise) + focal * np.cos(rise)
    longitude = np.arctan2(x, ahead) + turn
    latitude = np.arctan2(up, np.hypot(x, ahead))
    rows, columns = panorama.shape[:2]
    where = (0.5 - latitude / np.pi) * rows - 0.5, (longitude / (2 * np.pi) + 0.5) * columns - 0.5
    channels = [map_coordinates(panorama[..., c], where, order=1, mode="grid-wrap") for c in range(3)]
    return (np.stack(channels, axis=-1) * 255).round().astype(np.uint8)
