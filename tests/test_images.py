"""Pictures in and out: every kind keeps what it has, and what cannot be read or written is one clear line."""

import io
import os
import stat
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from made_pictures import png_chunk
from PIL import Image, ImageCms

from ssg_hub.errors import ConfigError, ImageError
from ssg_hub.images import writing as image_files
from ssg_hub.images.formats import AVIF
from ssg_hub.images.reading import Picture, read_picture, write_picture

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GRAY_PROFILE = PROFILE[:16] + b"GRAY" + PROFILE[20:]
RNG = np.random.default_rng(7)
COLORS = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (300, 9, 3), dtype=np.uint16)  # more rows than are written at a time

# How a camera stores an upright picture for each EXIF orientation (CIPA DC-008, 4.6.4, tag 274).
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: np.rot90(upright, 2).swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}


def encode(image: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def planes_of(picture: Picture) -> np.ndarray:
    planes = picture.values[..., None] if picture.is_gray else picture.values
    return planes if picture.alpha is None else np.concatenate((planes, picture.alpha[..., None]), -1)


# ---------------------------------------------------------------- orientation and metadata


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_exif_rotation_is_applied_and_not_written_again(orientation, format, tmp_path):
    exif = Image.Exif()
    exif[274], exif[272] = orientation, "Camera of the test"
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](COLORS)))
    options = {"lossless": True} if format == "WEBP" else {}
    picture = read_picture(encode(stored, format, exif=exif, **options))
    assert np.array_equal(picture.values, COLORS)
    for suffix in (".png", ".jpg", ".webp", ".tif"):
        write_picture(picture, tmp_path / f"out{suffix}")
        written = Image.open(tmp_path / f"out{suffix}")
        assert written.size == (7, 5)
        assert written.getexif().get(274, 1) == 1
        assert written.getexif()[272] == "Camera of the test"


@pytest.mark.parametrize("orientation", STORED)
def test_exif_rotation_of_16_bit_colour(orientation, tmp_path):
    exif = Image.Exif()
    exif[274] = orientation
    stored = np.ascontiguousarray(STORED[orientation](DEEP))
    write_picture(Picture(stored), tmp_path / "deep.png")
    content = (tmp_path / "deep.png").read_bytes()
    start = content.index(b"IDAT") - 4
    turn = png_chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    assert np.array_equal(read_picture(content[:start] + turn + content[start:]).values, DEEP)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_what_is_upright_is_never_said_to_be_turned(suffix, tmp_path):
    """Whoever made the picture: a turned file would be turned twice."""
    exif = Image.Exif()
    exif[274], exif[272] = 6, "Camera of the test"
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><tiff tiff:Orientation='6'/></x:xmpmeta>"
    write_picture(Picture(COLORS, exif=exif.tobytes(), xmp=xmp), tmp_path / f"out{suffix}", quality=100)
    written = Image.open(tmp_path / f"out{suffix}")
    assert written.getexif().get(274, 1) == 1 and written.getexif()[272] == "Camera of the test"
    assert read_picture(tmp_path / f"out{suffix}").values.shape == COLORS.shape


def test_exif_keeps_exposure_and_drops_what_described_the_old_file(tmp_path):
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({0x829A: 0.01, 0xA002: 7, 0x927C: b"maker's secrets"})
    exif.get_ifd(0x8825).update({1: "N"})
    exif[305] = "Software"
    picture = read_picture(encode(Image.fromarray(COLORS), "JPEG", exif=exif))
    write_picture(picture, tmp_path / "out.jpg")
    written = Image.open(tmp_path / "out.jpg").getexif()
    assert written.get_ifd(0x8769) == {0x829A: 0.01}
    assert written.get_ifd(0x8825) == {1: "N"}
    assert written[305] == "Software"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("values", [COLORS, DEEP, COLORS[..., 0], DEEP[..., 0]], ids=["RGB", "RGB16", "L", "L16"])
def test_colour_profile_keeps_every_byte(values, suffix, tmp_path):
    write_picture(Picture(values, icc=PROFILE), tmp_path / f"out{suffix}")
    assert read_picture(tmp_path / f"out{suffix}").icc == PROFILE


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", *([".avif"] if AVIF else [])])
@pytest.mark.parametrize("values", [COLORS[..., 0], DEEP[..., 0]], ids=["8 bit", "16 bit"])
@pytest.mark.parametrize("transparent", [False, True])
def test_a_profile_for_gray_is_never_in_a_file_of_rgb(values, transparent, suffix, tmp_path):
    picture = Picture(values, values if transparent else None, icc=GRAY_PROFILE)
    notes = write_picture(picture, tmp_path / f"out{suffix}")
    image = Image.open(tmp_path / f"out{suffix}")
    is_gray = suffix == ".png" or image.mode in ("L", "LA", "I;16")  # Pillow shows gray and alpha of 16 bits as RGBA
    assert image.info.get("icc_profile") == (GRAY_PROFILE if is_gray else None)
    assert any("it is for gray" in note for note in notes) == (not is_gray)
    assert is_gray or suffix != ".jpg"  # laid on white, gray stays gray


def test_a_profile_for_gray_in_a_file_of_rgb_is_left_out_and_said(tmp_path):
    picture = read_picture(encode(Image.fromarray(COLORS), "PNG", icc_profile=GRAY_PROFILE))
    assert picture.icc is None and "it is for gray" in picture.notes[0]
    indexed = Image.fromarray(COLORS).quantize()
    indexed.info["icc_profile"] = GRAY_PROFILE
    assert "it is for gray" in write_picture(indexed, tmp_path / "out.tif")[0]


# ---------------------------------------------------------------- depth


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", ["gray", "RGB", "gray+alpha", "RGB+alpha"])
def test_16_bits_survive_to_the_last(channels, suffix, tmp_path):
    values = DEEP[..., 0] if channels.startswith("gray") else DEEP
    picture = Picture(values, DEEP[..., 1] if "alpha" in channels else None)
    notes = write_picture(picture, tmp_path / f"deep{suffix}")
    back = read_picture(tmp_path / f"deep{suffix}")
    as_rgba = channels == "gray+alpha" and suffix == ".tif"  # said in a note
    expected = Picture(np.stack([values] * 3, -1), picture.alpha) if as_rgba else picture
    assert np.array_equal(planes_of(back), planes_of(expected))
    assert back.bits == 16 and (back.mode == f"{channels} 16 bit" or as_rgba)
    assert bool(notes) == as_rgba


@pytest.mark.parametrize("white", [1023, 65535])
def test_16_bits_of_a_ppm_binary_and_plain(white):
    """Netpbm's ppm(5): two bytes a sample, the high one first; comments may stand anywhere before the samples."""
    values = RNG.integers(0, white + 1, (4, 3, 3))
    expected = np.rint(values * (65535 / white))
    for kind, samples in (("6", values.astype(">u2").tobytes()), ("3", " ".join(map(str, values.flat)).encode())):
        data = f"P{kind}\n# made\n3 #wide\n4\n{white}\n".encode() + samples
        picture = read_picture(data)
        assert picture.bits == 16 and picture.notes == [] and np.array_equal(picture.values, expected)
        with pytest.raises(ImageError, match="damaged or cut short"):
            read_picture(data[:-8])
    assert read_picture(b"P6 1 1 255 abc").bits == 8


def test_our_16_bit_png_is_a_png_to_pillow_alone(tmp_path):
    """Pillow, which did not write it, verifies the checksums and finds the high bytes."""
    write_picture(Picture(DEEP), tmp_path / "deep.png")
    Image.open(tmp_path / "deep.png").verify()
    assert np.array_equal(np.asarray(Image.open(tmp_path / "deep.png")), DEEP >> 8)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"byteorder": ">"},
        {"compression": "zlib", "predictor": 2},
        {"byteorder": ">", "compression": "zlib"},
        {"tile": (16, 16)},
        {"tile": (16, 16), "compression": "zlib"},
        {"bigtiff": True},
    ],
    ids=str,
)
def test_16_bit_tiffs_of_another_program(options, tmp_path):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "theirs.tif", DEEP, photometric="rgb", **options)
    assert np.array_equal(read_picture(tmp_path / "theirs.tif").values, DEEP)


def test_16_bit_tiff_reads_the_same_in_another_program(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    write_picture(Picture(DEEP, DEEP[..., 0]), tmp_path / "ours.tif")
    assert np.array_equal(tifffile.imread(tmp_path / "ours.tif"), np.concatenate((DEEP, DEEP[..., :1]), -1))


def test_16_bits_into_a_format_of_8_are_rounded_and_said(tmp_path):
    notes = write_picture(Picture(DEEP), tmp_path / "out.webp")
    assert np.array_equal(read_picture(tmp_path / "out.webp").values, np.rint(DEEP / 257).astype(np.uint8))
    assert "rounded" in notes[0]


def test_png_with_a_transparent_16_bit_colour(tmp_path):
    write_picture(Picture(DEEP), tmp_path / "deep.png")
    data = (tmp_path / "deep.png").read_bytes()
    key = b"\0\0\0\6tRNS" + DEEP[2, 3].astype(">u2").tobytes()
    import zlib

    chunk = key + zlib.crc32(key[4:]).to_bytes(4, "big")
    picture = read_picture(data[:33] + chunk + data[33:])
    assert np.array_equal(picture.alpha == 0, (DEEP[2, 3] == DEEP).all(-1))
    assert picture.alpha[2, 3] == 0 and picture.alpha.max() == 65535


# ---------------------------------------------------------------- kinds of pictures


def test_palette_with_transparency_becomes_rgb_with_alpha():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    picture = read_picture(encode(image, "PNG", transparency=0))
    assert picture.values.tolist() == [[[10, 20, 30], [40, 50, 60]]]
    assert picture.alpha.tolist() == [[0, 255]]


@pytest.mark.parametrize(
    ("image", "mode"),
    [
        (Image.new("1", (2, 2), 1), "gray 8 bit"),
        (Image.new("L", (2, 2), 255), "gray 8 bit"),
        (Image.new("LA", (2, 2), (255, 9)), "gray+alpha 8 bit"),
        (Image.new("P", (2, 2)), "RGB 8 bit"),
        (Image.new("RGB", (2, 2), "white"), "RGB 8 bit"),
        (Image.new("RGBA", (2, 2), "white"), "RGB+alpha 8 bit"),
        (Image.new("YCbCr", (2, 2), (255, 128, 128)), "RGB 8 bit"),
        (Image.new("HSV", (2, 2), (0, 0, 255)), "RGB 8 bit"),
        (Image.new("LAB", (2, 2), (255, 128, 128)), "RGB 8 bit"),
        (Image.new("I;16", (2, 2), 65535), "gray 16 bit"),
        (Image.new("I", (2, 2), 65535), "gray 16 bit"),
        (Image.new("F", (2, 2), 1.0), "gray 16 bit"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.mode,
)
def test_pillow_modes(image, mode):
    picture = read_picture(image)
    assert picture.mode == mode
    assert picture.pixels.shape == (2, 2, 3) and picture.pixels.dtype == np.float32
    white = 254 / 255 if image.mode == "LAB" else 1  # the colour conversion may be off by one level
    assert image.mode == "P" or picture.pixels.min() >= np.float32(white)


def test_cmyk_becomes_rgb_without_its_profile():
    image = Image.new("CMYK", (4, 4), (0, 255, 255, 0))
    picture = read_picture(encode(image, "JPEG", quality=100, icc_profile=b"not a profile"))
    assert np.abs(picture.values.astype(int) - (255, 0, 0)).max() <= 3
    assert picture.icc is None and "CMYK" in picture.notes[0]


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_animation_gives_its_first_frame_and_says_so(format):
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue", "lime")]
    options = {"lossless": True} if format == "WEBP" else {}
    picture = read_picture(encode(frames[0], format, save_all=True, append_images=frames[1:], **options))
    assert (picture.values == (255, 0, 0)).all()
    assert "3 frames" in picture.notes[0] and "1 was used" in picture.notes[0]


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1)])
@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_extreme_shapes_are_pictures(size, suffix, tmp_path):
    values = RNG.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    write_picture(Picture(values), tmp_path / f"thin{suffix}")
    assert np.array_equal(read_picture(tmp_path / f"thin{suffix}").values, values)


# ---------------------------------------------------------------- arrays and tensors


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 1), (4, 3, 3), (4, 3, 4)])
def test_arrays_keep_their_values(shape):
    for dtype in (np.uint8, np.uint16):
        array = RNG.integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)
        assert np.array_equal(planes_of(read_picture(array)), array.reshape(4, 3, -1))
    floats = RNG.random(shape)
    assert np.array_equal(planes_of(read_picture(floats)), np.rint(floats * 65535).reshape(4, 3, -1))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_made_from_bytes_become_those_bytes_again(dtype):
    picture = read_picture((COLORS / 255).astype(dtype))
    assert picture.bits == 8 and np.array_equal(picture.values, COLORS)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("batch", [False, True])
def test_tensors(dtype, batch):
    tensor = (torch.from_numpy(COLORS).permute(2, 0, 1) / 255).to(dtype).requires_grad_()
    picture = read_picture(tensor[None] if batch else tensor)
    assert picture.bits == 8
    assert np.abs(picture.values.astype(int) - COLORS).max() <= (1 if dtype == torch.bfloat16 else 0)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (np.zeros((3, 20, 30), np.uint8), ["(3, 20, 30)", "transpose"]),
        (np.zeros((4, 4, 2), np.uint8), ["(4, 4, 2)"]),
        (np.zeros((0, 4, 3), np.uint8), ["(0, 4, 3)"]),
        (np.zeros(4, np.uint8), ["(4,)"]),
        (np.zeros((4, 4), np.int64), ["int64"]),
        (np.full((4, 4), 1.5), ["1.5", "[0, 1]"]),
        (np.full((4, 4), -0.25), ["-0.25"]),
        (np.array([[0.5, np.nan]]), ["nan"]),
        (torch.zeros(1, 4, 4), ["(1, 4, 4)"]),
        (torch.zeros(2, 3, 4, 4), ["(2, 3, 4, 4)", "one by one"]),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), ["uint8", "255"]),
        (torch.full((3, 4, 4), 2.0), ["2"]),
        (torch.full((3, 4, 4), float("nan")), ["nan"]),
        ([[1, 2]], ["list"]),
        (None, ["NoneType"]),
        (Image.fromarray(np.full((2, 2), 700.5, np.float32)), ["700.5"]),
        (Image.fromarray(np.full((2, 2), -3, np.int32)), ["-3"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and isinstance(value[0], str) else "",
)
def test_what_is_no_picture_is_named(source, words):
    with pytest.raises(ImageError) as caught:
        read_picture(source)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("seeks", [True, False])
def test_an_open_file_is_read_from_its_beginning(seeks, tmp_path):
    data = encode(Image.fromarray(COLORS), "PNG")
    stream = io.BytesIO(data)
    stream.read(10)
    source = stream if seeks else SimpleNamespace(read=lambda: data)
    for _ in range(2):
        assert np.array_equal(read_picture(source).values, COLORS)
    (tmp_path / "photo.png").write_bytes(data)
    with open(tmp_path / "photo.png", "rb") as file:
        assert np.array_equal(read_picture(file).values, COLORS)
    with pytest.raises(ImageError, match="Open it as binary, and do not close it"):
        read_picture(file)
    with open(tmp_path / "photo.png", encoding="latin-1") as text, pytest.raises(ImageError, match="bytes are needed"):
        read_picture(text)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_an_image_that_was_closed_before_it_was_decoded_is_not_called_damaged(format, tmp_path):
    (tmp_path / "photo").write_bytes(encode(Image.fromarray(COLORS), format))
    with open(tmp_path / "photo", "rb") as file:
        behind_a_closed_file = Image.open(file)
    with Image.open(tmp_path / "photo") as closed:
        pass
    for image in (behind_a_closed_file, closed):
        with pytest.raises(ImageError, match="closed before it was decoded"):
            read_picture(image)


# ---------------------------------------------------------------- bad files


@pytest.mark.parametrize(
    ("data", "word"), [(b"", "empty"), (b"I am a text file.", "not a picture"), (b"\x89PNG\r\n\x1a\n", "PNG")]
)
def test_bytes_that_are_no_picture(data, word, tmp_path):
    (tmp_path / "bad.png").write_bytes(data)
    for source in (data, tmp_path / "bad.png", str(tmp_path / "bad.png")):
        with pytest.raises(ImageError, match=word) as caught:
            read_picture(source)
        assert "\n" not in str(caught.value)
        assert isinstance(source, bytes) or "bad.png" in str(caught.value)


HEIC = b"\0\0\0\x18ftyp%s\0\0\0\0%sheic" + bytes(100)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (HEIC % (b"heic", b"mif1"), "it is HEIC.*: convert it"),
        (HEIC % (b"mif1", b"miaf"), "it is HEIC.*: convert it"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(20), "JPEG XL"),
        (b"\n<!DOCTYPE HTML><title>Log in</title>", "a web page: download the picture itself"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
    ],
)
def test_a_file_of_another_kind_under_a_pictures_name_is_called_what_it_is(data, words, tmp_path):
    (tmp_path / "IMG_1.jpg").write_bytes(data)
    with pytest.raises(ImageError, match=rf"IMG_1\.jpg is not a picture that can be read \(.*{words}"):
        read_picture(tmp_path / "IMG_1.jpg")


@pytest.mark.parametrize("format", ["PNG", "GIF", "WEBP", "BMP"])
def test_a_file_that_ends_in_its_header_is_called_damaged_and_no_other_kind(format, tmp_path):
    Image.new("RGB", (9, 8)).save(tmp_path / "x", format)
    with pytest.raises(ImageError, match="damaged or cut short.*Copy or download it again"):
        read_picture((tmp_path / "x").read_bytes()[:14])


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_a_truncated_file_is_refused(format, tmp_path):
    noise = Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = encode(noise, format)
    for share in (0.3, 0.5, 0.9):
        (tmp_path / "cut").write_bytes(data[: int(len(data) * share)])
        with pytest.raises(ImageError, match=r"damaged or cut short|cannot be read|not a picture") as caught:
            read_picture(tmp_path / "cut")
        assert "\n" not in str(caught.value) and "cut" in str(caught.value)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP", "GIF"])
@pytest.mark.filterwarnings("ignore:Truncated File Read")
def test_flipped_bytes_never_end_in_another_exception(format):
    data = encode(Image.fromarray(COLORS.repeat(8, 0).repeat(8, 1)), format)
    rng = np.random.default_rng(1)
    for _ in range(60):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), 4):
            damaged[place] = rng.integers(256)
        try:
            read_picture(bytes(damaged), max_pixels=10**6)
        except ImageError as error:
            assert "\n" not in str(error)


def test_a_truncated_16_bit_png_is_refused(tmp_path):
    write_picture(Picture(DEEP), tmp_path / "deep.png")
    data = (tmp_path / "deep.png").read_bytes()
    with pytest.raises(ImageError, match="damaged or cut short"):
        read_picture(data[: len(data) // 2])


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(ImageError, match=r"no file .*gone\.png"):
        read_picture(tmp_path / "gone.png")
    with pytest.raises(ImageError, match="is a folder"):
        read_picture(tmp_path)
    with pytest.raises(ImageError, match="is empty"):
        read_picture("")


def test_pixel_limit_is_checked_before_decoding_and_can_be_raised():
    data = encode(Image.new("RGB", (40, 30)), "PNG")
    with pytest.raises(ImageError, match=r"40x30 = 1,200 pixels; the limit is .*max_pixels"):
        read_picture(data[: len(data) // 2], max_pixels=1199)  # half a file: whoever decodes it, fails otherwise
    assert read_picture(data, max_pixels=1200).size == (40, 30)
    for source in (np.zeros((30, 40), np.uint8), torch.zeros(3, 30, 40), Image.new("L", (40, 30))):
        with pytest.raises(ImageError, match="raise max_pixels"):
            read_picture(source, max_pixels=1199)


def test_more_pixels_than_pillow_opens(monkeypatch):
    data = encode(Image.new("RGB", (40, 30)), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ImageError, match="MAX_IMAGE_PIXELS"):
        read_picture(data)


# ---------------------------------------------------------------- writing


def test_an_existing_file_is_kept_unless_asked(tmp_path):
    path = tmp_path / "out.png"
    write_picture(Picture(COLORS), path)
    before = path.read_bytes()
    with pytest.raises(ImageError, match="exists"):
        write_picture(Picture(COLORS[::-1]), path)
    assert path.read_bytes() == before
    write_picture(Picture(COLORS[::-1]), path, overwrite=True)
    assert np.array_equal(read_picture(path).values, COLORS[::-1])


@pytest.mark.parametrize(
    ("name", "format", "word"),
    [
        ("out.bmp", None, "PNG"),
        ("out", None, "'out'"),
        ("out.png", "gif", "'gif'"),
        ("out.png", "jpeg", "out.png"),
        ("absent/out.png", None, "no folder"),
        ("file.txt/out.png", None, "file.txt is a file, no folder"),
        ("folder.png", None, "is a folder"),
    ],
)
def test_impossible_targets(name, format, word, tmp_path):
    (tmp_path / "file.txt").write_text("in the way")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ImageError, match=word):
        write_picture(Picture(COLORS), tmp_path / name, format=format)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.txt", "folder.png"]


def test_format_for_a_name_without_a_suffix(tmp_path):
    write_picture(Picture(COLORS), tmp_path / "out", format="webp")
    assert Image.open(tmp_path / "out").format == "WEBP"


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("moment", ["encoding", "renaming"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(failure, moment, tmp_path, monkeypatch):
    path = tmp_path / "out.png"
    path.write_bytes(b"the old one")

    def half_a_file(file, *rest):
        file.write(b"half")
        raise failure

    def no_rename(*paths):
        raise failure

    if moment == "encoding":
        monkeypatch.setattr(image_files, "_encode", half_a_file)
    else:
        monkeypatch.setattr(os, "replace", no_rename)
    expected = KeyboardInterrupt if isinstance(failure, KeyboardInterrupt) else ImageError
    with pytest.raises(expected) as caught:
        write_picture(Picture(COLORS), path, overwrite=True)
    assert expected is KeyboardInterrupt or "No space left" in str(caught.value)
    assert os.listdir(tmp_path) == ["out.png"] and path.read_bytes() == b"the old one"


def test_written_files_have_the_usual_permissions(tmp_path):
    (tmp_path / "usual").write_bytes(b"")
    write_picture(Picture(COLORS), tmp_path / "out.png")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("usual", "out.png")}
    assert len(modes) == 1


def test_jpeg_lays_transparency_on_white_and_says_so(tmp_path):
    alpha = np.zeros((16, 16), np.uint8)
    notes = write_picture(Picture(np.zeros((16, 16, 3), np.uint8), alpha), tmp_path / "out.jpg")
    assert (read_picture(tmp_path / "out.jpg").values == 255).all()
    assert "white" in notes[0]


def test_a_side_too_long_for_the_format(tmp_path):
    wide = Picture(np.zeros((1, 16384), np.uint8))
    with pytest.raises(ImageError, match="16383"):
        write_picture(wide, tmp_path / "out.webp")
    write_picture(wide, tmp_path / "out.png")


def test_a_mask_stays_indexed(tmp_path):
    mask = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3))
    mask.putpalette(list(range(18)))
    for suffix in (".png", ".tif"):
        write_picture(mask, tmp_path / f"mask{suffix}")
        back = Image.open(tmp_path / f"mask{suffix}")
        assert back.mode == "P" and np.array_equal(np.asarray(back), np.asarray(mask))
        assert back.getpalette()[:18] == list(range(18))


def test_quality_is_for_jpeg_and_webp(tmp_path):
    smooth = Picture(np.asarray(Image.fromarray(COLORS).resize((200, 150), Image.Resampling.BICUBIC)))
    for suffix in (".jpg", ".webp"):
        write_picture(smooth, tmp_path / f"best{suffix}")
        write_picture(smooth, tmp_path / f"small{suffix}", quality=20)
        assert (tmp_path / f"small{suffix}").stat().st_size < (tmp_path / f"best{suffix}").stat().st_size
    assert np.array_equal(read_picture(tmp_path / "best.webp").values, smooth.values)
    for quality in (0, 101, 50.5, "high", True):
        with pytest.raises(ConfigError, match="from 1 to 100"):
            write_picture(smooth, tmp_path / "new.jpg", quality=quality)


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_arrays_of_the_other_byte_order_are_read_as_they_are(kind):
    values = DEEP[:5].astype(kind) / 65535 if kind == np.float32 else DEEP[:5]
    values = values.astype(np.dtype(kind))
    swapped = values.astype(values.dtype.newbyteorder())
    assert np.array_equal(read_picture(swapped).values, read_picture(values).values)
    assert read_picture(swapped).values.dtype == np.uint16


def test_a_matrix_is_a_gray_picture():
    gray = COLORS[..., 0]
    read = read_picture(np.asmatrix(gray)).values
    assert type(read) is np.ndarray and np.array_equal(read, gray)
