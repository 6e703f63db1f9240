"""Pictures for the screen: 8-bit previews, the labelled mask with hatching, the drift as heat."""

import numpy as np
from PIL import Image

VIEW_SIDE = 1024  # of the mask, overlay and drift views; the files to download have the full size
UNCERTAIN_COLOR = "#d5dbe3"  # light on any class, and seen in the legend on white
# Dark violet over red to pale yellow: readable for the colour-blind, and in gray.
HEAT = np.array([[0, 0, 4], [66, 10, 104], [147, 38, 103], [221, 81, 58], [252, 165, 10], [252, 255, 164]], np.float32)


def to_8bit(image: Image.Image) -> Image.Image:
    """RGB or RGBA of 8 bits, which every browser shows, of a picture of any mode."""
    if image.mode in ("I", "I;16", "I;16B", "I;16L"):
        pixels = np.asarray(image).astype(np.float32) / 257
        return Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8)).convert("RGB")
    transparent = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
    return image.convert("RGBA" if transparent else "RGB")


def shrink(image: Image.Image, pixels: int) -> Image.Image:
    """The picture itself, or a smaller one of at most so many pixels."""
    factor = (pixels / (image.width * image.height)) ** 0.5
    if factor >= 1:
        return image
    size = max(1, int(image.width * factor)), max(1, int(image.height * factor))
    return image.resize(size, Image.Resampling.LANCZOS)


def fit(image: Image.Image, side: int = VIEW_SIDE) -> Image.Image:
    """The picture itself, or a smaller one whose longer side is `side`; an indexed mask keeps its indices."""
    factor = side / max(image.size)
    if factor >= 1:
        return image
    size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
    return image.resize(size, Image.Resampling.NEAREST if image.mode == "P" else Image.Resampling.LANCZOS)


def label_layers(
    mask: Image.Image, labels: list[dict], uncertain_id: int, uncertain: str
) -> tuple[list, dict[str, str]]:
    """Layers and colours for `gr.AnnotatedImage`.

    Args:
        mask: mode "P", class ids.
        labels: dicts with id, name, color and share (0–1), as `UpscaleResult.labels`.
        uncertain_id: the id of pixels of low confidence.
        uncertain: the word for them.

    Returns:
        [(layer (H, W) in [0, 1], "name · share"), …], the largest first, and {"name · share": "#rrggbb"}.
    """
    ids = np.asarray(mask)
    layers, colors = [], {}
    for entry in sorted(labels, key=lambda label: -label["share"]):
        unsure = entry["id"] == uncertain_id
        name = f"{uncertain if unsure else entry['name']} · {_percent(entry['share'])}"
        where = ids == entry["id"]
        layers.append(((where & hatching(ids.shape) if unsure else where).astype(np.float32), name))
        colors[name] = UNCERTAIN_COLOR if unsure else to_hex(entry["color"])
    return layers, colors


def hatching(shape: tuple[int, int], period: int = 12) -> np.ndarray:
    """Diagonal stripes, bool (H, W)."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows + columns) % period < period // 3


def drift_heat(picture: Image.Image, drift: Image.Image) -> Image.Image:
    """The drift (mode "L", 255 = no agreement) as heat over a dark gray version of the picture; both of one size."""
    gray = np.asarray(picture.convert("L"), np.float32)[..., None] * 0.35
    amount = np.asarray(drift, np.float32) / 255
    stops = np.linspace(0, 1, len(HEAT))
    heat = np.stack([np.interp(amount, stops, HEAT[:, channel]) for channel in range(3)], axis=-1)
    weight = np.clip(amount * 2, 0, 1)[..., None]
    return Image.fromarray((gray + (heat - gray) * weight).round().clip(0, 255).astype(np.uint8))


def to_hex(color) -> str:
    """A colour given as "#rrggbb" or as three numbers of 0–255."""
    return color if isinstance(color, str) else "#{:02x}{:02x}{:02x}".format(*color)


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else "< 1%"
