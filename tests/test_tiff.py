"""TIFF of every kind: samples of any depth, sense and layout, held against tifffile and against files made by hand."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from ssg_hub.errors import ImageError
from ssg_hub.images.png import SIGNATURE, make_chunk
from ssg_hub.images.reading import Picture, read_labels, read_picture, read_size, write_picture

RNG = np.random.default_rng(3)
H, W = 37, 45
GRAY8 = RNG.integers(0, 256, (H, W), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (H, W, 4), dtype=np.uint16)


def made_tiff(pixels: bytes, size: tuple[int, int], order: str = "<", **tags: int | list[int] | bytes) -> bytes:
    """A TIFF of one strip; tags by number as `t259=8`, integers as LONG and bytes as UNDEFINED."""
    values = {256: size[0], 257: size[1], 273: 8, 278: size[1], 279: len(pixels)}
    values |= {int(name[1:]): value for name, value in tags.items()}
    start = 8 + len(pixels) + len(pixels) % 2
    table, extra = struct.pack(order + "H", len(values)), b""
    for tag, value in sorted(values.items()):
        numbers = [value] if isinstance(value, int) else value
        data = value if isinstance(value, bytes) else struct.pack(f"{order}{len(numbers)}I", *numbers)
        place = data.ljust(4, b"\0")
        if len(data) > 4:
            place = struct.pack(order + "I", start + 2 + 12 * len(values) + 4 + len(extra))
            extra += data + b"\0" * (len(data) % 2)
        table += struct.pack(order + "HHI", tag, 7 if isinstance(value, bytes) else 4, len(numbers)) + place
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", start)
    return header + pixels.ljust(start - 8, b"\0") + table + bytes(4) + extra


def pack_bits(samples: np.ndarray, bits: int) -> bytes:
    """Samples (H, W) as rows of so many bits, the highest first, each row filled up to whole bytes."""
    single = (samples[..., None].astype(np.uint64) >> np.arange(bits, dtype=np.uint64)[::-1]) & np.uint64(1)
    return np.packbits(single.astype(np.uint8).reshape(len(samples), -1), axis=1).tobytes()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 24, 32])
@pytest.mark.parametrize("white_is_0", [True, False])
def test_gray_of_any_depth_and_sense(order, bits, white_is_0):
    samples = RNG.integers(0, 2**bits, (H, W), dtype=np.uint32)
    if bits in (16, 32):
        data = samples.astype(f"{order}u{bits // 8}").tobytes()
    elif bits == 24:
        wide = samples.astype(f"{order}u4").view(np.uint8).reshape(H, W, 4)
        data = (wide[..., :3] if order == "<" else wide[..., 1:]).tobytes()
    else:
        data = pack_bits(samples, bits)
    picture = read_picture(made_tiff(data, (W, H), order, t258=bits, t262=0 if white_is_0 else 1))
    peak = 255 if bits <= 8 else 65535
    expected = np.rint(samples * (peak / (2**bits - 1)))
    assert picture.peak == peak and picture.is_gray
    assert np.array_equal(picture.values, peak - expected if white_is_0 else expected)


@pytest.mark.parametrize("kind", ["u1", "u2", "f2", "f4", "f8"])
@pytest.mark.parametrize("options", [{}, {"tile": (16, 32)}, {"rowsperstrip": 5}, {"bigtiff": True}], ids=str)
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_rgb_of_another_program(kind, options, compression, planes, order):
    tifffile = pytest.importorskip("tifffile")
    file = io.BytesIO()
    samples = RNG.random((H, W, 3)).astype(kind) if kind[0] == "f" else DEEP[..., :3].astype(kind)
    stored = samples if planes == "contig" else np.moveaxis(samples, -1, 0)
    options |= {"photometric": "rgb", "planarconfig": planes, "byteorder": order, "compression": compression}
    tifffile.imwrite(file, stored, **options)
    expected = samples if kind[0] == "u" else np.rint(samples.astype(np.float64) * 65535)
    assert np.array_equal(read_picture(file.getvalue()).values, expected)
    assert read_size(file.getvalue()) == (W, H)


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "zstd", "lzma", "tiff_adobe_deflate"])
@pytest.mark.parametrize("deep", [False, True])
def test_every_compression_of_bytes(compression, deep):
    values, file = DEEP[..., 0] if deep else GRAY8, io.BytesIO()
    Image.fromarray(values).save(file, "TIFF", compression=compression)
    assert np.array_equal(read_picture(file.getvalue()).values, values)


@pytest.mark.parametrize("compression", ["jpeg", "group4"])
def test_compressions_that_are_pictures_are_left_to_pillow(compression):
    image, file = Image.fromarray(GRAY8 // 128 * 255), io.BytesIO()
    image = image.convert("1") if compression == "group4" else image
    image.save(file, "TIFF", compression=compression)
    pillow = Image.open(io.BytesIO(file.getvalue()))
    assert np.array_equal(read_picture(file.getvalue()).values, np.asarray(pillow.convert("L")))


@pytest.mark.parametrize("bits", [16, 32, 64])
def test_the_predictor_of_floats(bits):
    """Adobe's technical note 3: the bytes of each row by significance, then differences of bytes."""
    values = RNG.random((H, W, 3)).astype(f">f{bits // 8}")
    rows = values.view(np.uint8).reshape(H, W * 3, bits // 8).swapaxes(1, 2).reshape(H, -1, 3)
    stored = np.diff(rows, axis=1, prepend=np.zeros((H, 1, 3), np.uint8))
    data = zlib.compress(stored.astype(np.uint8).tobytes())
    tags = {"t258": [bits] * 3, "t259": 8, "t262": 2, "t277": 3, "t317": 3, "t339": [3] * 3}
    picture = read_picture(made_tiff(data, (W, H), **tags))
    assert np.array_equal(picture.values, np.rint(values.astype(np.float64) * 65535))


def test_bits_in_the_other_order():
    samples = RNG.integers(0, 2, (H, 48), dtype=np.uint8)
    data = np.packbits(samples, axis=1, bitorder="little").tobytes()
    picture = read_picture(made_tiff(data, (48, H), t258=1, t262=1, t266=2))
    assert np.array_equal(picture.values, samples * 255)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("unit", [1, 257])
def test_palettes_of_any_depth(bits, unit):
    """Colour maps have 16 bits; some programs write 8."""
    size = min(2**bits, 256)
    indices, colors = RNG.integers(0, size, (H, W)), RNG.integers(0, 256, (3, size))
    data = indices.astype("<u2").tobytes() if bits == 16 else pack_bits(indices, bits)
    picture = read_picture(made_tiff(data, (W, H), t258=bits, t262=3, t320=(colors * unit).ravel().tolist()))
    assert np.array_equal(picture.values, colors.T[indices])


@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_alpha_in_a_tiff_is_told_from_what_is_none(kind):
    planes = np.maximum(DEEP.astype(kind), 1)
    tags = {"t258": [8 * planes.itemsize] * 4, "t262": 2, "t277": 4}
    straight = read_picture(made_tiff(planes.tobytes(), (W, H), **tags, t338=2))
    assert np.array_equal(straight.values, planes[..., :3]) and np.array_equal(straight.alpha, planes[..., 3])
    nothing_said = read_picture(made_tiff(planes.tobytes(), (W, H), **tags))
    assert np.array_equal(nothing_said.alpha, planes[..., 3])
    unspecified = read_picture(made_tiff(planes.tobytes(), (W, H), **tags, t338=0))
    assert unspecified.alpha is None and np.array_equal(unspecified.values, planes[..., :3])
    premultiplied = read_picture(made_tiff(planes.tobytes(), (W, H), **tags, t338=1))
    peak = np.iinfo(kind).max
    expected = np.rint(planes[..., :3] * (peak / planes[..., 3:])).clip(0, peak)
    assert np.array_equal(premultiplied.values, expected) and np.array_equal(premultiplied.alpha, planes[..., 3])


def test_gray_with_alpha_and_16_bits_of_another_program():
    data = np.ascontiguousarray(DEEP[..., :2]).astype("<u2").tobytes()
    picture = read_picture(made_tiff(data, (W, H), t258=[16, 16], t262=1, t277=2, t338=2))
    assert np.array_equal(picture.values, DEEP[..., 0]) and np.array_equal(picture.alpha, DEEP[..., 1])


def test_cmyk_and_lab_of_16_bits_are_read_as_8_and_said():
    white = np.zeros((H, W, 4), np.uint16)
    cmyk = read_picture(made_tiff(white.tobytes(), (W, H), t258=[16] * 4, t262=5, t277=4))
    assert (cmyk.values == 255).all() and "read as 8" in cmyk.notes[0] and "CMYK" in cmyk.notes[1]
    lab = np.zeros((H, W, 3), np.uint16) + np.array([65535, 0, 0], np.uint16)
    picture = read_picture(made_tiff(lab.tobytes(), (W, H), t258=[16] * 3, t262=8, t277=3))
    assert picture.values.min() >= 254 and "read as 8" in picture.notes[0]


def test_32_bits_with_16_bits_of_content():
    samples = RNG.integers(0, 65536, (H, W), dtype=np.uint32)
    picture = read_picture(made_tiff(samples.tobytes(), (W, H), t258=32, t262=1))
    assert np.array_equal(picture.values, samples) and "65535" in picture.notes[0]


@pytest.mark.parametrize(
    ("samples", "bits", "kind", "words"),
    [
        (np.full((H, W), 700.5, np.float32), 32, 3, "700.5"),
        (np.full((H, W), np.nan, np.float32), 32, 3, "no known white"),
        (np.full((H, W), -3, np.int16), 16, 2, "-3"),
        (np.zeros((H, W), np.complex64), 64, 6, "format 6"),
        (np.zeros((H, W * 3), np.uint8), 24, 3, "24 bits"),
    ],
)
def test_samples_without_a_known_white_are_refused_in_words(samples, bits, kind, words):
    with pytest.raises(ImageError, match=words):
        read_picture(made_tiff(samples.tobytes(), (W, H), t258=bits, t262=1, t339=kind))


def test_a_few_floats_out_of_range_are_clipped_and_said():
    samples = np.full((H, W), 0.5, np.float32)
    samples[0, :4] = np.nan, 1.5, -0.25, np.inf
    picture = read_picture(made_tiff(samples.tobytes(), (W, H), t258=32, t262=1, t339=3))
    assert picture.values[0, :5].tolist() == [0, 65535, 0, 65535, 32768]
    assert "4 samples" in picture.notes[0]


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"t262": 32803}, "photometric interpretation 32803"),
        ({"t258": [5, 6, 5], "t277": 3}, r"\[5, 6\] bits"),
        ({"t277": 4000, "t258": 8}, "4000 samples"),
        ({"t322": 2**30, "t323": 2**30}, "damaged.*larger than the picture"),
        ({"t257": 0}, "at least one pixel"),
        ({"t257": 5000, "t278": 5000}, "damaged or cut short"),
        ({"t278": 2}, "strips or tiles are missing"),
        ({"t259": 7}, "damaged or cut short"),
        ({"t259": 9999}, "compression 9999"),
        ({"t259": 8}, "damaged or cut short"),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_pages_that_cannot_be_read_are_one_sentence(tags, words):
    with pytest.raises(ImageError, match=words) as caught:
        read_picture(made_tiff(GRAY8.tobytes(), (W, H), **({"t258": 8, "t262": 1} | tags)))
    assert "\n" not in str(caught.value)


def test_many_strips_in_one_place_take_no_memory():
    """A small file whose strips all point to the whole of it."""
    data = made_tiff(
        bytes(10**6), (8, 200_000), t258=8, t262=1, t259=5, t278=1, t273=[8] * 200_000, t279=[10**6] * 200_000
    )
    with pytest.raises(ImageError, match="overlap"):
        read_picture(data)


def test_many_pages_are_counted_quickly_and_up_to_a_bound():
    directory = made_tiff(b"\7\7", (1, 1), t258=8, t262=1)[10:]
    pages, place = [b"II*\0" + struct.pack("<I", 16) + b"\7".ljust(8, b"\0")], 16
    for index in range(30_000):
        place += len(directory)
        last = index == 29_999
        pages.append(directory[:-4] + struct.pack("<I", 0 if last else place))
    picture = read_picture(b"".join(pages))  # Pillow takes minutes to count them
    assert picture.values.tolist() == [[7]] and "more than 1000 frames" in picture.notes[0]


@pytest.mark.parametrize("predictor", [0, 3, 34892])  # 3 is for floats; 34892 is Adobe's, over two columns
def test_a_prediction_that_is_not_known_is_refused(predictor):
    """Its differences would pass for the pixels."""
    data = zlib.compress(GRAY8.tobytes())
    assert np.array_equal(read_picture(made_tiff(data, (W, H), t258=8, t259=8, t262=1)).values, GRAY8)
    with pytest.raises(ImageError, match=rf"with predictor {predictor} cannot be read. Save it without"):
        read_picture(made_tiff(data, (W, H), t258=8, t259=8, t262=1, t317=predictor))


def test_a_preview_is_not_taken_for_the_picture():
    """Raw files are TIFFs whose first page is reduced (tag 254) while the picture stands in a directory below (330)."""
    for tags in ({"t254": 1, "t330": 8}, {"t254": 1, "t330": [8, 8], "t50706": b"\1\4\0\0"}):
        raw = made_tiff(GRAY8.tobytes(), (W, H), t258=8, t262=1, **tags)
        for read in (read_picture, read_size, read_labels):
            with pytest.raises(ImageError, match="raw file .* Develop it first"):
                read(raw)
    canon = made_tiff(b"CR\2\0....", (2, 4), t258=8, t262=1)
    with pytest.raises(ImageError, match="raw file .* Develop it first"):
        read_picture(canon)
    for tags in (
        {"t254": 0, "t330": [8, 8]},  # reduced pictures below a full one
        {"t254": 1},  # there is no other
        {"t254": 0, "t50706": b"\1\4\0\0"},  # a DNG that is developed
    ):
        picture = read_picture(made_tiff(GRAY8.tobytes(), (W, H), t258=8, t262=1, **tags))
        assert np.array_equal(picture.values, GRAY8)


def test_a_loop_of_pages_ends():
    data = bytearray(made_tiff(GRAY8.tobytes(), (W, H), t258=8, t262=1))
    data[-4:] = data[4:8]
    assert read_picture(bytes(data)).notes == []


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_our_tiffs_read_the_same_in_another_program(kind, tmp_path):
    tifffile = pytest.importorskip("tifffile")
    for channels in (1, 3, 4):
        planes = DEEP[..., :channels].astype(kind)
        picture = Picture(
            planes[..., 0] if channels == 1 else planes[..., :3], planes[..., 3] if channels == 4 else None
        )
        write_picture(picture, tmp_path / "ours.tif", overwrite=True)
        assert np.array_equal(tifffile.imread(tmp_path / "ours.tif").reshape(planes.shape), planes)


def test_beyond_4_gb_a_bigtiff_is_written(tmp_path, monkeypatch):
    from ssg_hub.images import tiff_writer

    tifffile = pytest.importorskip("tifffile")
    monkeypatch.setattr(tiff_writer, "MOST_BYTES", 1000)
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x829A] = 0.01
    write_picture(Picture(DEEP[..., :3], DEEP[..., 3], exif=exif.tobytes()), tmp_path / "big.tif")
    assert (tmp_path / "big.tif").read_bytes()[:4] == b"II+\0"
    assert np.array_equal(tifffile.imread(tmp_path / "big.tif"), DEEP)
    back = read_picture(tmp_path / "big.tif")
    assert np.array_equal(back.values, DEEP[..., :3]) and back.exif is not None


def test_label_maps_keep_their_ids_in_every_container(tmp_path):
    ids = RNG.integers(0, 30, (H, W), dtype=np.uint8)
    indexed = Image.fromarray(ids)
    indexed.putpalette(RNG.integers(0, 256, 768).tolist())
    exif = Image.Exif()
    exif[274] = 6
    for name, image in {"gray": Image.fromarray(ids), "palette": indexed}.items():
        for suffix in (".png", ".tif"):
            image.save(tmp_path / f"{name}{suffix}")
            assert np.array_equal(read_labels(tmp_path / f"{name}{suffix}"), ids)
        image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / f"{name}.png", exif=exif)
        assert np.array_equal(read_labels(tmp_path / f"{name}.png"), ids)
    assert np.array_equal(read_labels(made_tiff(DEEP[..., 0].tobytes(), (W, H), t258=16, t262=1)), DEEP[..., 0])
    for image in (Image.new("RGB", (2, 2)), Image.new("F", (2, 2))):
        with pytest.raises(ImageError, match="one class id per pixel"):
            read_labels(image)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_label_maps_of_few_bits_keep_their_ids(bits, tmp_path):
    ids = DEEP[..., 0] >> (16 - bits)
    rows = np.frombuffer(pack_bits(ids, bits), np.uint8).reshape(H, -1)
    chunks = {
        b"IHDR": struct.pack(">IIBB3x", W, H, bits, 0),
        b"IDAT": zlib.compress(np.pad(rows, ((0, 0), (1, 0))).tobytes()),  # no filter in any row
        b"IEND": b"",
    }
    header = f"{W} {H} {2**bits - 1}\n"
    files = {
        "gray.png": SIGNATURE + b"".join(make_chunk(*chunk) for chunk in chunks.items()),
        "gray.pgm": b"P5 " + header.encode() + ids.astype(">u2" if bits > 8 else "u1").tobytes(),
        "plain.pgm": f"P2 {header}{' '.join(map(str, ids.flat))}\n".encode(),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        assert np.array_equal(read_labels(tmp_path / name), ids), name
        assert np.array_equal(read_labels(Image.open(tmp_path / name)), ids), name
