"""The recipes of three cameras that no training saw; each picture's own settings are drawn by its number.

- `night`: round blur, and the noise of a small sensor in the dark: weak in luma, strong and blotchy in colour. PNG.
- `video`: fields blended into frames (blur along the vertical), then an intra frame of MPEG-2 with coarse steps;
  grabbed as PNG, so nothing in the file tells of the blocks.
- `sharpened`: a soft lens, noise, then a phone's sharpening with clipped halos, and JPEG with halved colour.
"""

import io
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ssg_hub.degradation.ops import blur, gaussian_kernels, reduce_with
from ssg_hub.images.levels import to_8_bit

SCALE = 4
KERNEL = 32  # HR pixels
File = tuple[str, bytes]  # ending and content


def night(hr: np.ndarray, rng: np.random.Generator) -> File:
    """Gaussian of 1.5 to 2.1 HR px; luma noise of 3 to 6 levels, colour noise of 11 to 19, about 2 px wide."""
    lr = _reduce(hr, *([rng.uniform(1.5, 2.1)] * 2))
    gray = rng.normal(size=lr.shape[:2])[..., None] * rng.uniform(3, 6)
    color = _smooth(rng.normal(size=lr.shape), 0.8)
    color = (color - color.mean(-1, keepdims=True)) / color.std() * rng.uniform(11, 19)
    shade = 1.3 - 0.6 * lr.mean(-1, keepdims=True)  # stronger in the dark
    return _png(lr + (gray + color) * shade / 255)


def video(hr: np.ndarray, rng: np.random.Generator) -> File:
    """Gaussian of 1.4 to 1.8 HR px across and 3.2 to 4 along the vertical; noise of 1 to 2; MPEG-2, qscale 7 to 12."""
    lr = _reduce(hr, rng.uniform(1.4, 1.8), rng.uniform(3.2, 4.0))
    lr = lr + rng.normal(size=lr.shape) * rng.uniform(1, 2) / 255
    return _png(_through_mpeg2(to_8_bit(lr), int(rng.integers(7, 13))) / 255)


def sharpened(hr: np.ndarray, rng: np.random.Generator) -> File:
    """Gaussian of 2.2 to 2.8 HR px, noise of 2 to 4, an unsharp mask of 1.5 to 2.5 at 0.8 px, JPEG of 55 to 75."""
    lr = _reduce(hr, *([rng.uniform(2.2, 2.8)] * 2))
    lr = lr + rng.normal(size=lr.shape) * rng.uniform(2, 4) / 255
    lr = lr + rng.uniform(1.5, 2.5) * (lr - _smooth(lr, 0.8))
    buffer = io.BytesIO()
    Image.fromarray(to_8_bit(lr)).save(buffer, "JPEG", quality=int(rng.integers(55, 76)), subsampling="4:2:0")
    return ".jpg", buffer.getvalue()


CAMERAS: dict[str, Callable[[np.ndarray, np.random.Generator], File]] = {
    "night": night,
    "video": video,
    "sharpened": sharpened,
}
KNOWN = "noisy"  # of the cameras that the embedded model was trained for


def _reduce(hr: np.ndarray, sigma_x: float, sigma_y: float) -> np.ndarray:
    """(H, W, 3) in [0, 1], blurred by a Gaussian of these widths in HR pixels, and reduced to a quarter a side."""
    kernel = gaussian_kernels(torch.tensor([sigma_x]), torch.tensor([sigma_y]), torch.zeros(1), KERNEL)
    return _to_pixels(reduce_with(_to_batch(hr), kernel, SCALE))


def _smooth(pixels: np.ndarray, sigma: float) -> np.ndarray:
    """Blurred by a round Gaussian of this width in pixels."""
    kernel = gaussian_kernels(torch.tensor([sigma]), torch.tensor([sigma]), torch.zeros(1), 9)
    return _to_pixels(blur(_to_batch(pixels), kernel))


def _through_mpeg2(pixels: np.ndarray, qscale: int) -> np.ndarray:
    """A picture (h, w, 3), 8 bits, as an intra frame of MPEG-2 gives it back."""
    import av

    height, width = pixels.shape[:2]
    padded = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mpeg") as clip:
        stream = clip.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = padded.shape[1], padded.shape[0], "yuv420p"
        stream.codec_context.options = {"qmin": str(qscale), "qmax": str(qscale), "g": "1"}
        clip.mux(stream.encode(av.VideoFrame.from_ndarray(padded, format="rgb24")))
        clip.mux(stream.encode())
    buffer.seek(0)
    with av.open(buffer) as clip:
        frame = next(clip.decode(video=0))
    return frame.to_ndarray(format="rgb24")[:height, :width]


def _to_batch(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels, np.float32)).permute(2, 0, 1)[None]


def _to_pixels(batch: Tensor) -> np.ndarray:
    return batch[0].permute(1, 2, 0).numpy().astype(np.float64)


def _png(pixels: np.ndarray) -> File:
    buffer = io.BytesIO()
    Image.fromarray(to_8_bit(pixels)).save(buffer, "PNG")
    return ".png", buffer.getvalue()
