"""A TIFF file's first page (6.0, BigTIFF, Adobe's notes): its tags, and what the file says of itself."""

from dataclasses import dataclass
from io import BytesIO

from PIL import Image, UnidentifiedImageError

from ..errors import ImageError
from .ifd import Directory, Layout, count_directories, read_directory, read_layout
from .ifd import write_directory as pack_directory
from .metadata import DESCRIPTIVE, ORIENTATION, RESOLUTION_UNIT, X_RESOLUTION, Y_RESOLUTION, Found, split_pointed

MOST_PAGES = 1000  # that are counted
NONE, PACK_BITS = 1, 32773  # compressions
OF_BYTES = {NONE, 5, 8, 32946, PACK_BITS, 34925, 50000}  # none, LZW, deflate (two codes), PackBits, LZMA, Zstandard
WHITE_IS_0, BLACK_IS_0, RGB, PALETTE, CMYK, YCC, LAB, ICC_LAB = 0, 1, 2, 3, 5, 6, 8, 9  # photometric interpretations
SUBFILE_TYPE, REDUCED, SUBFILES = 254, 1, 330
XMP, IPTC, ICC, GEOREFERENCE = 700, 33723, 34675, (33550, 33922, 34264)
# What Pillow needs to know of a page: sizes, samples, strips or tiles, fax options, JPEG tables, colour of YCbCr.
STRUCTURE = {*range(256, 260), 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, *range(322, 326), 332, 338, 339}
STRUCTURE |= {347, *range(512, 522), *range(529, 533)}


@dataclass(frozen=True)
class Page:
    """The first page of a file.

    Attributes:
        data: the whole file.
        layout: its byte order.
        tags: of the page.
    """

    data: bytes
    layout: Layout
    tags: Directory

    def numbers(self, tag: int, default: list[int]) -> list[int]:
        return (self.tags[tag].integers() if tag in self.tags else []) or default

    def number(self, tag: int, default: int = 0) -> int:
        return self.numbers(tag, [default])[0]

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) as stored."""
        return self.number(256), self.number(257)

    @property
    def samples(self) -> int:
        """Per pixel."""
        return self.number(277, len(self.numbers(258, [1])))

    @property
    def bits(self) -> int:
        """Of a sample.

        Raises:
            ImageError: not the same number for all, or not 1 to 64.
        """
        depths = set(self.numbers(258, [1])[: self.samples])
        if len(depths) > 1 or not 1 <= min(depths) <= 64:
            raise ImageError(f"its samples have {sorted(depths)} bits; the same number, 1 to 64, is needed for all.")
        return depths.pop()

    @property
    def compression(self) -> int:
        return self.number(259, NONE)

    @property
    def is_tiled(self) -> bool:
        """Whether it is stored in tiles; else in strips."""
        return 322 in self.tags

    @property
    def piece(self) -> tuple[int, int]:
        """(width, height) of a tile, or of a strip, of which the last may be lower."""
        width, height = self.size
        if self.is_tiled:
            return self.number(322), self.number(323)
        return width, min(self.number(278, height) or height, height)

    @property
    def photometric(self) -> int:
        return self.number(262, RGB if self.samples >= 3 else WHITE_IS_0)

    @property
    def is_of_bytes(self) -> bool:
        """Whether the compression is one of plain bytes, so that the samples are ours to read."""
        return self.compression in OF_BYTES and self.photometric != YCC


def take_apart(data: bytes) -> tuple[Page, Found]:
    """Split a file into its first page and what it says of itself.

    Raises:
        ImageError: the first page is a preview, as in a camera's raw file, and the picture stands elsewhere.
        ValueError: no page.
    """
    layout = read_layout(data)
    tags, _, _ = read_directory(data, layout, layout.first)
    if not tags:
        raise ValueError("no page")
    page, pages = Page(data, layout, tags), count_directories(data, layout, MOST_PAGES)
    is_cr2 = data[8:11] == b"CR\2" and layout.first == 16  # which calls no page reduced
    if is_cr2 or page.number(SUBFILE_TYPE) & REDUCED and (SUBFILES in tags or pages > 1):
        raise ImageError(
            "its first page is a small preview, as in a camera's raw file (DNG, NEF, CR2, …). Develop it first, with "
            "darktable or RawTherapee for example, and save a TIFF or JPEG."
        )
    described = DESCRIPTIVE | {ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT}
    found = Found(main={tag: entry for tag, entry in tags.items() if tag in described})
    found.below, _ = split_pointed(data, layout, tags)
    found.xmp = tags[XMP].data if XMP in tags else None
    found.icc = tags[ICC].data if ICC in tags else None
    found.frames = pages
    found.more = found.frames == MOST_PAGES
    if IPTC in tags:
        found.note("The IPTC data was left out.")
    if any(tag in tags for tag in GEOREFERENCE):
        found.note("The georeference was left out: it holds for the pixels of the file that was read.")
    return page, found


def open_by_pillow(page: Page) -> Image.Image:
    """Open the page's pixels by Pillow, for it to decode; the tags that do not concern them are not shown to it."""
    tags = {tag: entry for tag, entry in page.tags.items() if tag in STRUCTURE}
    end = len(page.data) + len(page.data) % 2
    big = page.layout.big
    header = b"II+\0\x08\0\0\0" + end.to_bytes(8, "little") if big else b"II*\0" + end.to_bytes(4, "little")
    rest = page.data[len(header) :].ljust(end - len(header), b"\0")
    try:
        return Image.open(BytesIO(header + rest + pack_directory(tags, end, big)), formats=("TIFF",))
    except UnidentifiedImageError:
        kind = f"compression {page.compression}, photometric interpretation {page.photometric}"
        raise ImageError(f"this kind of TIFF ({kind}) cannot be read. Save it as RGB without compression.") from None
