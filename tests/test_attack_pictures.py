"""An attack on the reader and the writer: made pictures with odd metadata, damaged files, odd TIFFs, any metadata out.

What must hold: a whole picture is read whatever is said beside its pixels; nothing ends in another exception than an
ImageError of one line, nor takes 10 seconds; and what is written without loss is read as it was.

    SSG_ATTACKS=5000 python -m pytest -m attack -s tests/test_attack_pictures.py        SSG_SEED=1 for others

prints how many pictures were tried, read and refused.
"""

import io
import struct

import numpy as np
import pytest
from attack import EXTREMES, attack, damage, numbers, rng_seed
from attack import attempt as attack_with
from hypothesis import given
from hypothesis import strategies as st
from made_pictures import png_chunk
from PIL import Image, ImageCms
from test_metadata import made_exif
from test_tiff import made_tiff

from ssg_hub.errors import ImageError
from ssg_hub.images.formats import AVIF, READ, WRITTEN
from ssg_hub.images.opening import open_picture
from ssg_hub.images.reading import (
    Picture,
    read_labels,
    read_picture,
    read_rgb,
    read_size,
    write_picture,
)

pytestmark = [pytest.mark.attack, pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("attack_figures")]
LIMIT = 10**6  # pixels of a damaged file
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SUFFIXES = sorted(WRITTEN)
LOSSLESS = {"PNG": 16, "TIFF": 16, "WEBP": 8}  # and the bits that they hold


def attempt(name: str, function, *arguments, **options):
    """Call a reader or writer, which may refuse by an ImageError."""
    return attack_with(name, ImageError, function, *arguments, **options)


# ---------------------------------------------------------------- what is drawn


@st.composite
def pixels(draw, deep: bool = True) -> np.ndarray:
    """Gray, gray with alpha, RGB or RGBA, of 8 or 16 bits: (h, w, C)."""
    shape = draw(st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 4)))
    kind = draw(st.sampled_from(["u1", "u2"] if deep else ["u1"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    few = draw(st.integers(1, 300))  # different values: flat pictures too
    return rng.integers(0, np.iinfo(kind).max + 1, few, dtype=kind)[rng.integers(0, few, shape)]


def as_picture(planes: np.ndarray, **metadata) -> Picture:
    colors = 1 if planes.shape[2] < 3 else 3
    alpha = planes[..., -1] if planes.shape[2] in (2, 4) else None
    return Picture(planes[..., 0] if colors == 1 else planes[..., :3], alpha, **metadata)


TAGS = [0, 254, 256, 270, 272, 274, 282, 283, 296, 305, 315, 330, 513, 700, 0x8769, 0x8825, 0x927C, 33723, 34675, 65535]
entries = st.lists(
    st.tuples(
        st.one_of(st.sampled_from(TAGS), st.integers(0, 65535)),
        st.integers(0, 20),
        st.one_of(st.integers(0, 9), st.sampled_from(EXTREMES)),
        st.binary(max_size=40),
    ),
    max_size=6,
)
exifs = st.one_of(
    st.builds(made_exif, entries, st.sampled_from([None, 0x8769, 0x8825]), st.sampled_from("<>")),
    st.binary(max_size=60).map(lambda data: b"Exif\0\0" + data),
)
profiles = st.one_of(st.just(ICC), st.binary(max_size=200), st.just(b"x" * 70_000))
packets = st.one_of(
    st.binary(max_size=200), st.integers(0, 12).map(lambda n: b"<x tiff:Orientation='%d'/>" % n), st.just(b"y" * 70_000)
)
words = st.one_of(st.text(max_size=30), st.just("long" * 20_000))
texts = st.dictionaries(st.one_of(st.just("Comment"), st.text(max_size=90)), words, max_size=3)
resolutions = st.one_of(
    st.none(), st.tuples(st.floats(), st.floats()), st.tuples(st.floats(1, 6000), st.floats(1, 6000))
)
chunks = st.lists(
    st.tuples(
        st.sampled_from(
            b"tEXt zTXt iTXt iCCP eXIf pHYs acTL fcTL fdAT gAMA cHRM sRGB sBIT tIME bKGD hIST sPLT abCd".split()
        ),
        st.binary(max_size=60),
        st.booleans(),
    ),
    max_size=5,
)
segments = st.lists(
    st.tuples(
        st.sampled_from([0xE0, *range(0xE1, 0xF0), 0xFE]),
        st.sampled_from(
            [
                b"",
                b"JFIF\0",
                b"JFXX\0",
                b"FPXR\0",
                b"Adobe",
                b"MPF\0",
                b"Exif\0\0",
                b"ICC_PROFILE\0",
                b"Photoshop 3.0\x008BIM",
                b"http://ns.adobe.com/xap/1.0/\0",
                b"http://ns.adobe.com/xmp/extension/\0",
            ]
        ),
        st.binary(max_size=60),
    ),
    max_size=5,
)


def encode(image: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def with_metadata(draw, planes: np.ndarray, format: str) -> bytes:
    """A file of these pixels, and what is drawn beside them."""
    image = as_picture(planes).to_image()
    exif = draw(exifs)
    if format == "PNG":
        data = encode(image, "PNG")
        added = [png_chunk(*made) if sound else png_chunk(*made)[:-1] + b"?" for *made, sound in draw(chunks)]
        return data[:33] + b"".join(added) + png_chunk(b"eXIf", exif[6:]) + data[33:]
    if format == "JPEG":
        data = encode(image.convert("RGB"), "JPEG")
        bodies = [(0xE1, exif), *((marker, head + body) for marker, head, body in draw(segments))]
        telling = {0xE0: b"JFIF\0", 0xEE: b"Adobe"}  # whole, these say how colours are stored, and are no metadata
        bodies = [(m, body) for m, body in bodies if len(body) < 12 or not body.startswith(telling.get(m, b"?"))]
        added = [struct.pack(">BBH", 255, marker, len(body) + 2) + body for marker, body in bodies]
        return data[:2] + b"".join(added) + data[2:]
    if format == "TIFF":
        samples, kind = planes.shape[2], {1: 1, 2: 1, 3: 2, 4: 2}[planes.shape[2]]
        used = {*range(254, 263), 266, *range(273, 280), 284, 317, *range(320, 326), 338, 339}
        odd = {f"t{tag}": value for tag, _, _, value in draw(entries) if tag not in used}
        odd |= {"t700": draw(packets), "t34675": draw(profiles), "t34665": draw(numbers), "t274": draw(numbers)}
        tags = {"t258": [8 * planes.itemsize] * samples, "t262": kind, "t277": samples}
        size = (planes.shape[1], planes.shape[0])
        return made_tiff(planes.tobytes(), size, **(odd | tags | ({"t338": 2} if samples in (2, 4) else {})))
    options = {"exif": exif, "xmp": draw(packets), "icc_profile": draw(profiles)}
    if format == "WEBP":
        return encode(image.convert("RGBA" if planes.shape[2] in (2, 4) else "RGB"), "WEBP", lossless=True, **options)
    try:
        return encode(image, format, quality=100, **options)
    except Exception:  # Pillow's AVIF writer looks into EXIF itself
        return encode(image, format, quality=100, **(options | {"exif": b""}))


@st.composite
def files(draw) -> tuple[bytes, np.ndarray, str]:
    """A whole file of any format with any metadata; its pixels; the format."""
    format = draw(st.sampled_from(["PNG", "JPEG", "TIFF", "WEBP", *(["AVIF"] if AVIF else [])]))
    planes = draw(pixels(deep=format == "TIFF"))
    return with_metadata(draw, planes, format), planes, format


# ---------------------------------------------------------------- the attacks


@rng_seed
@attack
@given(made=files())
def test_a_whole_picture_is_read_whatever_is_said_beside_its_pixels(made):
    data, planes, format = made
    picture = attempt("odd metadata", read_picture, data)
    assert picture is not None, "a whole picture was refused"
    assert picture.size == read_size(data) and sorted(picture.size) == sorted(planes.shape[1::-1])
    if format in ("PNG", "TIFF") and open_picture(data).orientation == 1:
        expected = as_picture(planes)
        assert np.array_equal(picture.values, expected.values)
        assert expected.alpha is None or np.array_equal(picture.alpha, expected.alpha)


@rng_seed
@attack
@given(made=files(), data=st.data())
def test_damaged_files_end_in_a_picture_or_in_one_line(made, data):
    damaged = damage(data.draw, made[0])
    picture = attempt("damaged files", read_picture, damaged, max_pixels=LIMIT)
    if picture is not None:
        assert picture.values.dtype in (np.uint8, np.uint16) and 0 < picture.values.size <= 3 * LIMIT
        assert read_size(damaged) == picture.size
        assert attempt("damaged files", read_rgb, damaged, max_pixels=LIMIT).shape == (*picture.size[::-1], 3)
    attempt("damaged files", read_labels, damaged, max_pixels=LIMIT)


@rng_seed
@attack
@given(data=st.data(), format=st.sampled_from(sorted(set(READ.values()))))
def test_other_formats_and_palettes_damaged(data, format):
    image = Image.fromarray(data.draw(pixels(deep=False))[..., 0])
    colors = data.draw(st.integers(2, 256))
    if format in ("PNG", "TIFF", "GIF", "BMP"):
        image = image.convert("RGB").quantize(colors)
    options = {"transparency": 1} if format in ("PNG", "GIF") else {}
    if format in ("GIF", "PNG", "WEBP", "TIFF"):
        options |= {"save_all": True, "append_images": [image.copy() for _ in range(data.draw(st.integers(0, 3)))]}
    whole = encode(image, format, **options)
    assert attempt("other kinds", read_picture, whole).size == image.size
    attempt("other kinds", read_picture, damage(data.draw, whole), max_pixels=LIMIT)


STRUCTURE = [
    254,
    *range(256, 260),
    262,
    266,
    273,
    274,
    *range(277, 280),
    284,
    292,
    317,
    320,
    *range(322, 326),
    338,
    339,
]
tag_values = st.one_of(st.integers(0, 40), numbers, st.lists(st.one_of(st.integers(0, 40), numbers), max_size=5))
tag_values = st.one_of(tag_values, st.sampled_from([1, 2, 3, 5, 7, 8, 16, 32, 32773, 32946, 50000]))


@rng_seed
@attack
@given(
    samples=st.binary(max_size=3000),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    order=st.sampled_from("<>"),
    tags=st.dictionaries(st.sampled_from(STRUCTURE).map("t{}".format), tag_values, max_size=9),
)
def test_tiffs_of_any_tags(samples, size, order, tags):
    data = made_tiff(samples, size, order, **({"t258": 8, "t262": 1} | tags))
    picture = attempt("odd TIFFs", read_picture, data, max_pixels=LIMIT)
    assert picture is None or read_size(data) == picture.size
    attempt("odd TIFFs", read_labels, data, max_pixels=LIMIT)


@rng_seed
@attack
@given(
    planes=pixels(),
    suffix=st.sampled_from(SUFFIXES),
    metadata=st.fixed_dictionaries(
        {}, optional={"icc": profiles, "exif": exifs, "xmp": packets, "dpi": resolutions, "text": texts}
    ),
    quality=st.one_of(st.none(), st.integers(1, 100)),
)
def test_any_picture_is_written_with_any_metadata(planes, suffix, metadata, quality, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / f"out{suffix}"
    picture, format = as_picture(planes, **metadata), WRITTEN[suffix]
    notes = attempt("writing", write_picture, picture, path, overwrite=True, quality=quality)
    assert notes is not None, "a picture was not written"
    back = attempt("writing", read_picture, path)
    assert back is not None and sorted(back.size) == sorted(picture.size)
    if LOSSLESS.get(format, 0) >= picture.bits and not (format == "WEBP" and quality) and back.size == picture.size:
        if format == "WEBP" or any("as RGBA" in note for note in notes):
            assert np.array_equal(back.pixels, picture.pixels)
        else:
            assert np.array_equal(back.values, picture.values)
        assert picture.alpha is None or np.array_equal(back.alpha if back.alpha is not None else 255, picture.alpha)
