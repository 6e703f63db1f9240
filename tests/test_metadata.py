"""What travels along with the pixels: it is kept where a format has a place for it, and never refuses a picture."""

import io
import re
import struct
import zlib

import numpy as np
import pytest
from made_pictures import png_chunk
from PIL import Image, ImageCms, PngImagePlugin

from ssg_hub.images.formats import AVIF, WRITTEN
from ssg_hub.images.reading import Picture, read_picture, read_size, write_picture

COLORS = np.random.default_rng(5).integers(0, 256, (16, 24, 3), dtype=np.uint8)
DEEP = np.random.default_rng(6).integers(0, 65536, (16, 24, 3), dtype=np.uint16)
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/' tiff:Orientation='1'/>"
SUFFIXES = [".png", ".jpg", ".webp", ".tif", *([".avif"] if AVIF else [])]


def encode(image: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def with_chunks(*chunks: bytes, image: Image.Image | None = None) -> bytes:
    """A PNG with more chunks after its header."""
    data = encode(image or Image.fromarray(COLORS), "PNG")
    return data[:33] + b"".join(chunks) + data[33:]


def made_exif(entries: list[tuple[int, int, int, bytes]], below: int | None = None, order: str = "<") -> bytes:
    """EXIF data of entries (tag, type, count, value), in the main directory or in that behind the pointer `below`."""

    def directory(entries: list, at: int) -> bytes:
        table, extra = struct.pack(order + "H", len(entries)), b""
        for tag, kind, count, value in entries:
            place = value.ljust(4, b"\0")
            if len(value) > 4:
                place = struct.pack(order + "I", at + 2 + 12 * len(entries) + 4 + len(extra))
                extra += value + b"\0" * (len(value) % 2)
            table += struct.pack(order + "HHI", tag, kind, count) + place
        return table + bytes(4) + extra

    head = b"Exif\0\0" + (b"II*\0\x08\0\0\0" if order == "<" else b"MM\0*\0\0\0\x08")
    if below is None:
        return head + directory(entries, 8)
    return head + directory([(below, 4, 1, struct.pack(order + "I", 26))], 8) + directory(entries, 26)


def jpeg_with(*segments: tuple[int, bytes]) -> bytes:
    data = encode(Image.fromarray(COLORS), "JPEG")
    return (
        data[:2] + b"".join(struct.pack(">BBH", 255, mark, len(body) + 2) + body for mark, body in segments) + data[2:]
    )


# ---------------------------------------------------------------- kept in every format that has a place


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("values", [COLORS, DEEP], ids=["8 bit", "16 bit"])
def test_everything_travels_through_every_format(suffix, values, tmp_path):
    exif = made_exif([(270, 2, 5, b"Sea.\0"), (271, 2, 6, b"Maker\0")])
    picture = Picture(
        values, exif=exif, icc=ICC, xmp=XMP, dpi=(300.0, 150.0), text={"Comment": "Straße", "Title": "海"}
    )
    notes = write_picture(picture, tmp_path / f"out{suffix}")
    back = read_picture(tmp_path / f"out{suffix}")
    assert back.icc == ICC and back.xmp == XMP
    assert back.dpi == pytest.approx((300, 150), rel=1e-4)
    assert Image.open(io.BytesIO(encode(back.to_image(), "PNG", exif=back.exif))).getexif()[270] == "Sea."
    kept = {".png": {"Comment", "Title"}, ".jpg": {"Comment"}}.get(suffix, set())
    assert back.text == {key: picture.text[key] for key in kept}
    said = " ".join(notes)
    assert all((key in said) != (key in kept) for key in picture.text), said


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_pillow_finds_what_we_wrote(suffix, tmp_path):
    exif = made_exif([(0x829A, 5, 1, struct.pack("<II", 1, 100))], below=0x8769)
    write_picture(Picture(COLORS, exif=exif, icc=ICC, xmp=XMP, dpi=(300, 300)), tmp_path / f"out{suffix}")
    image = Image.open(tmp_path / f"out{suffix}")
    assert image.info["icc_profile"] == ICC and image.info["xmp"] == XMP
    assert image.getexif().get_ifd(0x8769) == {0x829A: 0.01}
    resolution = image.info.get("dpi") or (image.getexif()[282], image.getexif()[283])
    assert resolution == pytest.approx((300, 300), rel=1e-4)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_mark_of_adobe_rgb_by_dcf_is_kept(suffix, tmp_path):
    """EXIF says only that the colours are not sRGB; the directory below the exposure's says which (DCF 2.0, 3.3)."""
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({0xA001: 65535, 0xA005: {1: "R03", 2: b"0100", 0x1001: 24}})
    picture = read_picture(encode(Image.fromarray(COLORS), "JPEG", exif=exif))
    write_picture(picture, tmp_path / f"out{suffix}")
    back = Image.open(tmp_path / f"out{suffix}").getexif()
    assert back.get_ifd(0x8769)[0xA001] == 65535
    assert back.get_ifd(0xA005) == {1: "R03", 2: b"0100"}  # without the width before


@pytest.mark.parametrize("source", SUFFIXES)
def test_what_pillow_wrote_is_found(source):
    exif = Image.Exif()
    exif[272], exif[282], exif[283], exif[296] = "Model", 72.0, 72.0, 2
    format = WRITTEN[source]
    options = {"PNG": {"pnginfo": _xmp_chunk(XMP)}, "TIFF": {"tiffinfo": {700: XMP, 272: "Model"}}}.get(format, {})
    data = encode(Image.fromarray(COLORS), format, exif=exif, icc_profile=ICC, xmp=XMP, dpi=(72, 72), **options)
    picture = read_picture(data)
    assert (picture.icc, picture.xmp) == (ICC, XMP) and picture.dpi == pytest.approx((72, 72), rel=1e-3)
    assert b"Model\0" in picture.exif and picture.notes == []


def test_orientation_is_reset_wherever_it_was_said():
    turned = b"<x tiff:Orientation='6'><tiff:Orientation>6</tiff:Orientation></x>"
    for data in (encode(Image.fromarray(COLORS), "PNG", pnginfo=_xmp_chunk(turned)), jpeg_with((0xE1, _xmp(turned)))):
        picture = read_picture(data)
        assert picture.size == (16, 24) == read_size(data)
        assert picture.xmp == turned.replace(b"6", b"1")
    both = jpeg_with((0xE1, made_exif([(274, 3, 1, b"\x03\0")])), (0xE1, _xmp(turned)))
    assert read_picture(both).size == (24, 16)  # EXIF counts where the two differ
    assert read_picture(both).exif is None


def _xmp(packet: bytes) -> bytes:
    return b"http://ns.adobe.com/xap/1.0/\0" + packet


def _xmp_chunk(packet: bytes) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet)
    return info


def test_exif_of_the_other_byte_order_and_of_imagemagick(tmp_path):
    entries = [(274, 3, 1, struct.pack(">H", 6)), (272, 2, 6, b"Model\0"), (33432, 2, 4, b"me!\0")]
    exif = made_exif(entries, order=">")
    hexadecimal = b"\nexif\n" + str(len(exif)).encode().rjust(8) + b"\n" + exif.hex().encode()
    for data in (
        jpeg_with((0xE1, exif)),
        with_chunks(png_chunk(b"eXIf", exif[6:])),
        with_chunks(png_chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(hexadecimal))),
    ):
        picture = read_picture(data)
        assert picture.size == (16, 24) and picture.notes == []
        for suffix in SUFFIXES:
            write_picture(picture, tmp_path / f"out{suffix}", overwrite=True)
            written = Image.open(tmp_path / f"out{suffix}").getexif()
            assert (written[272], written[33432]) == ("Model", "me!") and written.get(274, 1) == 1


# ---------------------------------------------------------------- odd metadata


HALF = struct.pack("<II", 1, 2)
ODD = {
    "Software as two SHORTs": ([(305, 3, 2, struct.pack("<HH", 1, 2))], None),
    "Description as RATIONAL": ([(270, 5, 1, HALF)], None),
    "Orientation as ASCII": ([(274, 2, 2, b"6\0")], None),
    "Orientation 200": ([(274, 3, 1, b"\xc8\0")], None),
    "Resolution 0/0": ([(282, 5, 1, bytes(8)), (283, 5, 1, bytes(8)), (296, 3, 1, b"\2\0")], None),
    "Resolution as text": ([(282, 2, 3, b"72\0"), (296, 2, 2, b"2\0")], None),
    "Exposure pointer as text": ([(0x8769, 2, 4, b"abc\0")], None),
    "GPSLatitude as ASCII": ([(2, 2, 8, b"55.6761\0")], 0x8825),
    "GPSMapDatum as LONGs": ([(18, 4, 2, HALF)], 0x8825),
    "ExifVersion as RATIONAL 0/0": ([(36864, 5, 1, bytes(8))], 0x8769),
    "GPSDifferential as BYTE": ([(30, 1, 1, b"\1")], 0x8825),
    "a float that is no number": ([(37380, 11, 1, struct.pack("<f", float("nan")))], 0x8769),
    "no values at all": ([(305, 2, 0, b"")], None),
    "a private tag": ([(60000, 7, 9, b"\xff" * 9)], None),
}


@pytest.mark.parametrize("name", ODD)
def test_exif_of_odd_types_is_carried_as_it_is(name, tmp_path):
    exif = made_exif(*ODD[name])
    for data in (
        jpeg_with((0xE1, exif)),
        with_chunks(png_chunk(b"eXIf", exif[6:])),
        encode(Image.fromarray(COLORS), "WEBP", exif=exif, lossless=True),
    ):
        picture = read_picture(data)
        assert picture.size == (24, 16) and picture.notes == []
        for suffix in SUFFIXES:
            write_picture(picture, tmp_path / f"out{suffix}", overwrite=True)
            lost = suffix == ".tif" and name == "a private tag"  # there, a program's own
            assert lost or read_picture(tmp_path / f"out{suffix}").exif == picture.exif


@pytest.mark.parametrize(
    ("exif", "note"),
    [
        (b"Exif\0\0", "cannot be read"),
        (b"Exif\0\0no directory here", "cannot be read"),
        (b"Exif\0\0II*\0\xff\xff\xff\xff", None),
        (made_exif([(305, 2, 2**31, b"12345")]), "cannot be read"),
        (made_exif([(305, 99, 1, b"1"), (270, 2, 2, b"a\0")]), "left out: 1"),
        (made_exif([(305, 2, 2, b"a\0")])[:-8], "cannot be read"),
        (made_exif([(tag, 7, 2**20, b"\0" * 2**20) for tag in (50, 60)])[:-5], "left out: 1"),
    ],
)
def test_damaged_exif_is_left_out_with_a_note(exif, note):
    picture = read_picture(with_chunks(png_chunk(b"eXIf", exif[6:])))
    assert np.array_equal(picture.values, COLORS)
    assert (note in " ".join(picture.notes)) if note else picture.notes == []


def test_entries_that_share_their_bytes_do_not_multiply():
    """3,000 entries that all point to the same megabyte would be 3 GB."""
    body = b"".join(struct.pack("<HHII", 1000 + index, 7, 10**6, 50_000) for index in range(3000))
    exif = b"II*\0\x08\0\0\0" + struct.pack("<H", 3000) + body
    picture = read_picture(with_chunks(png_chunk(b"eXIf", exif.ljust(1_050_000, b"x"))))
    assert len(picture.exif) < 2 * 10**6 and "left out: 2999" in picture.notes[0]


def test_png_chunks_do_not_decide_over_the_picture(tmp_path):
    long = "a" * 1_200_000
    bomb = zlib.compress(bytes(20 * 2**20))
    text = with_chunks(png_chunk(b"zTXt", b"workflow\0\0" + zlib.compress(long.encode())))
    assert read_picture(text).text == {"workflow": long} and read_picture(text).notes == []
    write_picture(read_picture(text), tmp_path / "out.png")
    assert Image.open(tmp_path / "out.png").text["workflow"] == long
    for data, note in {
        with_chunks(png_chunk(b"iCCP", b"big\0\0" + zlib.compress(bytes(1_200_000)))): "profile cannot be read",
        with_chunks(png_chunk(b"iCCP", b"big\0\0" + bomb)): "more than 16 MB",
        with_chunks(png_chunk(b"iCCP", b"big\0\0garbage")): "cannot be read",
        with_chunks(png_chunk(b"zTXt", b"bomb\0\0" + bomb)): "more than 16 MB",
        with_chunks(png_chunk(b"zTXt", b"bomb\0\x07garbage")): "cannot be read",
        with_chunks(png_chunk(b"tEXt", b"a\0b" * 2**23)): "more than 16 MB",
        with_chunks(png_chunk(b"tRNS", b"\0")): "transparent colour",
        with_chunks(png_chunk(b"tEXt", b"a\0b")[:-4] + bytes(4)): None,
        with_chunks(png_chunk(b"iTXt", b"\xff\xfe"), png_chunk(b"tEXt", b""), png_chunk(b"zTXt", b"x")): None,
        with_chunks(
            png_chunk(b"pHYs", b"\0"), png_chunk(b"acTL", b"\0"), png_chunk(b"gAMA", b"\0"), png_chunk(b"sRGB", b"")
        ): None,
        with_chunks(png_chunk(b"pHYs", struct.pack(">IIB", 0, 2**32 - 1, 1))): None,
        with_chunks(png_chunk(b"fcTL", bytes(26)), png_chunk(b"PLTE", b"\0\0\0"), png_chunk(b"eXIf", b"")): None,
    }.items():
        picture = read_picture(data)
        assert np.array_equal(picture.values, COLORS), note
        assert (note in " ".join(picture.notes)) if note else not picture.text.get("a", "b").strip("b"), picture.notes


SRGB = struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
ADOBE = struct.pack(">8I", 31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)
GAMMA, LINEAR = struct.pack(">I", 45455), struct.pack(">I", 100_000)
PROFILE = b"sRGB\0\0" + zlib.compress(ICC)


@pytest.mark.parametrize(
    ("chunks", "words"),
    [
        ({b"cICP": b"\x09\x10\0\1"}, r"not sRGB \(BT.2020, PQ \(HDR\)\)"),
        ({b"cICP": b"\x0c\x0d\0\1", b"sRGB": b"\0"}, r"\(Display P3\)"),
        ({b"gAMA": LINEAR}, r"\(gamma 1\)"),
        ({b"gAMA": GAMMA, b"cHRM": ADOBE}, r"\(other primaries\)"),
        ({b"gAMA": GAMMA, b"cHRM": SRGB}, None),
        ({b"cICP": b"\1\x0d\0\1", b"gAMA": LINEAR}, None),
        ({b"sRGB": b"\0", b"gAMA": LINEAR}, None),
        ({b"iCCP": PROFILE, b"gAMA": LINEAR, b"cHRM": ADOBE, b"cICP": b"\x09\x10\0\1"}, None),
        ({b"cICP": b"", b"gAMA": bytes(4), b"cHRM": b"\0"}, None),
    ],
)
def test_colours_of_a_png_that_are_not_srgb_are_told(chunks, words):
    picture = read_picture(with_chunks(*(png_chunk(*chunk) for chunk in chunks.items())))
    assert (re.search(words, " ".join(picture.notes)) is not None) if words else picture.notes == []


@pytest.mark.skipif(not AVIF, reason="this Pillow was built without AVIF")
@pytest.mark.parametrize(
    ("points", "words"), [((9, 16), r"not sRGB \(BT.2020, PQ"), ((12, 13), r"\(Display P3\)"), ((1, 13), None)]
)
def test_colours_of_an_avif_that_are_not_srgb_are_told(points, words):
    for icc, expected in ((b"", words), (ICC, None)):
        data = bytearray(encode(Image.fromarray(COLORS), "AVIF", icc_profile=icc))
        box = struct.pack(">HHH", *points, 6)
        if (place := data.find(b"colrnclx")) >= 0:
            data[place + 8 : place + 14] = box
        assert place >= 0 or icc
        notes = " ".join(read_picture(bytes(data)).notes)
        assert re.search(expected, notes) if expected else notes == ""


def test_texts_of_one_keyword_are_joined_and_come_from_behind_the_pixels_too():
    data = with_chunks(png_chunk(b"tEXt", b"Comment\0one"))
    data = data[:-12] + png_chunk(b"tEXt", b"Comment\0two") + data[-12:]
    assert read_picture(data).text == {"Comment": "one\ntwo"}


def test_jpeg_segments_do_not_decide_over_the_picture():
    plain = read_picture(jpeg_with())
    for segments, note in [
        ([(0xE2, b"ICC_PROFILE\0\1\2" + ICC[:100])], "profile cannot be read"),
        ([(0xE2, b"ICC_PROFILE\0")], "profile cannot be read"),
        ([(0xE2, b"MPF\0II*\0\xff\xff\xff\xff"), (0xE2, b"MPF\0")], None),
        ([(0xE1, b"Exif\0\0"), (0xE1, b"Exif"), (0xE0, b"JFIF\0"), (0xEE, b"Adobe")], "EXIF data cannot be read"),
        ([(0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0\xff\xff\xff\xff")], "IPTC"),
        ([(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + b"x" * 60)], "extension of the XMP"),
        ([(0xFE, b"\xff\xfe\0"), (0xEB, b"x" * 65000)], None),
    ]:
        picture = read_picture(jpeg_with(*segments))
        assert np.array_equal(picture.values, plain.values), segments
        assert (note in " ".join(picture.notes)) if note else picture.notes == []


def test_a_profile_in_numbered_parts_is_joined_in_their_order():
    parts = [(0xE2, b"ICC_PROFILE\0" + bytes([number, 3]) + part) for number, part in enumerate(_cut(ICC, 3), 1)]
    assert read_picture(jpeg_with(*parts[::-1])).icc == ICC


def _cut(data: bytes, count: int) -> list[bytes]:
    step = -(-len(data) // count)
    return [data[place : place + step] for place in range(0, len(data), step)]


@pytest.mark.parametrize("field", ["exif", "xmp", "text", "icc"])
def test_what_is_too_long_for_jpeg_is_left_out_with_a_note(field, tmp_path):
    long = {
        "exif": made_exif([(270, 2, 5, b"Sea.\0"), (271, 2, 70_000, b"w" * 70_000)]),
        "xmp": b"x" * 65_600,
        "text": {"Comment": "c" * 65_600},
        "icc": ICC.ljust(255 * 65519 + 1, b"\0"),
    }
    notes = write_picture(Picture(COLORS, **{field: long[field]}), tmp_path / "out.jpg")
    back = read_picture(tmp_path / "out.jpg")
    assert len(notes) == 1 and "left out: JPEG holds" in notes[0]
    assert field != "exif" or (b"Sea.\0" in back.exif and b"ww" not in back.exif)
    assert field == "exif" or not getattr(back, field)
    write_picture(Picture(COLORS, **{field: long[field]}), tmp_path / "out.png")
    assert getattr(read_picture(tmp_path / "out.png"), field) == long[field]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_metadata_of_a_users_own_picture_may_be_anything(suffix, tmp_path):
    image = Image.fromarray(COLORS)
    image.info.update(exif=b"nonsense", xmp="text", icc_profile=7, dpi="high", text=["no"], comment=3, transparency="?")
    del image.info["transparency"]
    write_picture(image, tmp_path / f"out{suffix}")
    assert read_picture(tmp_path / f"out{suffix}").size == (24, 16)
    picture = read_picture(image)
    assert np.array_equal(picture.values, COLORS) and "EXIF" in " ".join(picture.notes)


def test_keywords_and_texts_that_png_cannot_hold_as_they_are(tmp_path):
    text = {"Ключ": "x", "k" * 100: "y", "null\0in": "a\0b", "": "z"}
    write_picture(Picture(COLORS, text=text), tmp_path / "out.png")
    back = read_picture(tmp_path / "out.png")
    assert np.array_equal(back.values, COLORS) and back.text["k" * 79] == "y" and back.text["null in"] == "a b"
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out.png")), COLORS)


# ---------------------------------------------------------------- transparency and frames


@pytest.mark.parametrize(("bits", "key"), [(1, 1), (1, 0), (2, 2), (4, 3), (8, 200), (16, 1000)])
@pytest.mark.parametrize("high", [0, 0xA500], ids=["", "with more bits set"])
def test_a_transparent_gray_of_every_depth(bits, key, high):
    """PNG's tRNS for gray; of its 16 bits only as many count as a sample has."""
    values = np.repeat([[key], [(key + 1) % 2**bits]], [8, 8], axis=0).repeat(16, axis=1)
    if bits == 16:
        rows = values.astype(">u2").view(np.uint8)
    else:
        rows = np.packbits(((values[..., None] >> np.arange(bits)[::-1]) & 1).astype(np.uint8).reshape(16, -1), axis=1)
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 16, bits, 0, 0, 0, 0))
    chunks = [
        header,
        png_chunk(b"tRNS", struct.pack(">H", key if bits == 16 else key | high)),
        png_chunk(b"IDAT", pixels),
    ]
    picture = read_picture(b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + png_chunk(b"IEND", b""))
    assert picture.is_gray and picture.bits == max(bits, 8)
    assert picture.alpha[:8].max() == 0 and picture.alpha[8:].min() == picture.peak


def test_animations_are_counted_up_to_a_bound():
    frame = b"\x2c\0\0\0\0\1\0\1\0\0\2\2\x4c\1\0"
    gif = b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff"
    assert "3 frames" in read_picture(gif + frame * 3 + b";").notes[0]
    assert "more than 1000 frames" in read_picture(gif + frame * 5000 + b";").notes[0]
    assert read_picture(gif + frame + b";").notes == []


def test_a_gif_keeps_its_comment_whatever_its_length():
    block = b"\x21\xfe" + b"\xff" + b"c" * 255
    frame = b"\x2c\0\0\0\0\1\0\1\0\0\2\2\x4c\1\0"
    data = b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff" + block + (b"\xff" + b"c" * 255) * 9999 + b"\0" + frame + b";"
    assert read_picture(data).text == {"Comment": "c" * 2_550_000}


MOTION = {
    "attributes": (b' GCamera:MotionPhoto="1" Camera:MotionPhotoVersion="1"\n', b""),
    "older": (b" GCamera:MicroVideo='1' GCamera:MicroVideoOffset='4231'", b""),
    "elements": (b"", b"<Camera:MotionPhoto>1</Camera:MotionPhoto>"),
    "no motion": (b' GCamera:MotionPhoto="0" hdrgm:Version="1.0" xmpNote:HasExtendedXMP="5A"', b""),
}
ITEMS = b"""<Container:Directory><rdf:Seq><rdf:li rdf:parseType="Resource"><Container:Item Item:Mime="image/jpeg"
 Item:Semantic="Primary"/></rdf:li><rdf:li><Container:Item Item:Length="4231"/></rdf:li></rdf:Seq>
</Container:Directory >"""


@pytest.mark.parametrize("name", MOTION)
def test_xmp_forgets_the_clip_behind_a_motion_photo(name):
    attributes, elements = MOTION[name]
    xmp = b'<rdf:Description xmp:Rating="5"%b GCamera:Keep="a">%b<dc:a>b</dc:a>%b</rdf:Description>'
    data = jpeg_with((0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp % (attributes, elements, ITEMS))) + b"ftypmp42"
    picture = read_picture(data)
    assert picture.xmp.replace(b"\n", b"") == xmp % (b"", b"", b"")
    assert ("moving part" in " ".join(picture.notes)) == (name != "no motion")


def test_pictures_beside_a_jpeg_are_told_of():
    frames = [Image.fromarray(COLORS), Image.fromarray(255 - COLORS)]
    picture = read_picture(encode(frames[0], "MPO", save_all=True, append_images=frames[1:]))
    assert "2 frames" in picture.notes[0] and picture.size == (24, 16)


@pytest.mark.skipif(not AVIF, reason="this Pillow was built without AVIF")
def test_avif_in_and_out(tmp_path):
    smooth = Picture(np.asarray(Image.fromarray(COLORS).resize((120, 80), Image.Resampling.BICUBIC)))
    write_picture(smooth, tmp_path / "out.avif")
    back = read_picture(tmp_path / "out.avif")
    assert np.abs(back.values.astype(int) - smooth.values).mean() < 2
    gray = Picture(smooth.values[..., 0])
    write_picture(gray, tmp_path / "gray.avif")
    assert read_picture(tmp_path / "gray.avif").is_gray
    # Pillow looks into EXIF itself here, and gives the picture up where that fails
    data = (tmp_path / "out.avif").read_bytes()
    odd = encode(smooth.to_image(), "AVIF", exif=made_exif([(272, 2, 6, b"Model\0")]))
    damaged = odd.replace(b"II*\0\x08\0\0\0", b"II*\0\xff\xff\xff\x7f")
    assert odd != damaged and read_picture(damaged).size == (120, 80) and len(data) > 100


def test_only_the_formats_of_the_list_are_decoded(tmp_path):
    Image.init()
    tried = 0
    for format in sorted(set(Image.SAVE) - {*WRITTEN.values(), "AVIF", "MPO", "GIF", "BMP", "PPM"}):
        try:
            data = encode(Image.fromarray(COLORS), format)
        except Exception:  # it does not write RGB, or not here
            continue
        (tmp_path / "photo.png").write_bytes(data)
        tried += 1
        with pytest.raises(ValueError, match=re.escape("not a picture that can be read")):
            read_picture(tmp_path / "photo.png")
    assert tried >= 8
