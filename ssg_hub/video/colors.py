"""A clip's YUV to RGB and back: matrix, range, primaries and transfer are kept, or guessed once and written down."""

from dataclasses import dataclass, replace

import numpy as np
from av import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

# Code points of ITU-T H.273, as FFmpeg numbers them.
UNSPECIFIED = 2
RGB, BT709, BT470BG, SMPTE170M, SMPTE240M, BT2020 = 0, 1, 5, 6, 7, 9
LIMITED, FULL = 1, 2
SD_HEIGHT = 576  # up to here players take an untagged clip for BT.601, above for BT.709
MATRICES = {
    BT709: Colorspace.ITU709,
    4: Colorspace.FCC,
    BT470BG: Colorspace.ITU601,
    SMPTE170M: Colorspace.ITU601,
    SMPTE240M: Colorspace.SMPTE240M,
    BT2020: Colorspace.BT2020,
}
FLAGS = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP


@dataclass(frozen=True)
class Colors:
    """What the numbers of a frame mean, in the code points of ITU-T H.273.

    Args:
        matrix: from RGB to YUV; 0 is RGB itself.
        range: 1 limited (luma 16–235), 2 full (0–255).
        primaries, transfer: of the RGB values; they go through unchanged, because the generator sees them as they are.
    """

    matrix: int
    range: int
    primaries: int
    transfer: int

    @classmethod
    def of(cls, frame: VideoFrame) -> "Colors":
        """As a decoded frame is tagged."""
        is_rgb = frame.format.is_rgb or frame.format.name.startswith("pal")
        full = is_rgb or frame.format.name.startswith("yuvj")
        return cls(
            RGB if is_rgb else int(frame.colorspace),
            FULL if full else int(frame.color_range),
            int(frame.color_primaries),
            int(frame.color_trc),
        )

    def settled(self, height: int) -> "Colors":
        """With a guess, as players make it, for what is not tagged or cannot be converted.

        Args:
            height: coded rows of a frame.
        """
        usual = SMPTE170M if height <= SD_HEIGHT else BT709
        matrix = self.matrix if self.matrix in MATRICES or self.matrix == RGB else usual
        settled = replace(self, matrix=matrix, range=self.range or LIMITED)
        if self.primaries in (0, UNSPECIFIED):
            settled = replace(settled, primaries={RGB: BT709}.get(matrix, matrix))
        if self.transfer in (0, UNSPECIFIED):
            settled = replace(settled, transfer={RGB: BT709, BT470BG: SMPTE170M, BT2020: 14}.get(matrix, matrix))
        return settled

    def encoded(self) -> "Colors":
        """As the result is encoded in YUV: RGB becomes BT.709 of limited range, all else stays."""
        return replace(self, matrix=BT709, range=LIMITED) if self.matrix == RGB else self


class ColorConverter:
    """Converts the frames of one clip between YUV and RGB; it keeps the scaler's tables from frame to frame."""

    def __init__(self):
        self._reformatter = VideoReformatter()

    def to_rgb(self, frame: VideoFrame, colors: Colors, size: tuple[int, int], deep: bool) -> np.ndarray:
        """A decoded frame as RGB (H, W, 3), uint8 or, when `deep`, uint16, full range.

        Args:
            frame: as the decoder gives it.
            colors: settled; they say what the frame means.
            size: (width, height) of the clip; a frame of another size is brought to it.
            deep: keep more than 8 bits.
        """
        source = {} if colors.matrix == RGB else {"src_colorspace": MATRICES[colors.matrix]}
        rgb = self._reformatter.reformat(
            frame,
            *size,
            format="rgb48le" if deep else "rgb24",
            src_color_range=ColorRange(colors.range),
            dst_color_range=ColorRange.JPEG,
            interpolation=FLAGS,
            threads=1,
            **source,
        )
        return rgb.to_ndarray()

    def from_rgb(self, values: np.ndarray, colors: Colors, pixels: str) -> VideoFrame:
        """RGB (H, W, 3) or gray (H, W) as a frame for the encoder.

        Args:
            values: uint8 or uint16, full range.
            colors: as `Colors.encoded`; for RGB and gray formats they are tags alone.
            pixels: FFmpeg's name of the encoder's format.
        """
        kind = {(2, 1): "gray", (3, 1): "rgb24", (3, 2): "rgb48le"}[values.ndim, values.dtype.itemsize]
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(values), kind)
        if pixels.startswith("yuv"):
            frame = self._reformatter.reformat(
                frame,
                format=pixels,
                src_color_range=ColorRange.JPEG,
                dst_colorspace=MATRICES[colors.matrix],
                dst_color_range=ColorRange(colors.range),
                interpolation=FLAGS,
                threads=1,
            )
            frame.colorspace = colors.matrix
        elif frame.format.name != pixels:
            frame = self._reformatter.reformat(frame, format=pixels, interpolation=FLAGS, threads=1)
        frame.color_range = colors.range if pixels.startswith("yuv") else FULL
        frame.color_primaries, frame.color_trc = colors.primaries, colors.transfer
        return frame
