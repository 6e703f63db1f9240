"""Which picture formats are read and written, by which endings, how large they may be, and which files are pictures."""

import os
import stat
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from PIL import features

from ..errors import ImageError

AVIF = features.check("avif")  # Pillow is built with or without it

# Ending -> Pillow's name. Nothing else is decoded, whatever a file is called: some of Pillow's other formats start
# external programs (EPS) or take almost any bytes for a picture (TGA).
READ = {
    ".png": "PNG",
    ".apng": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".ppm": "PPM",
    ".pgm": "PPM",
    ".pbm": "PPM",
    ".pnm": "PPM",
} | ({".avif": "AVIF"} if AVIF else {})
WRITTEN = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jfif": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
} | ({".avif": "AVIF"} if AVIF else {})

# What the formats' size fields hold, or their usual decoders take: libjpeg 65500, libavif 32768 and 2^28 pixels.
LONGEST_SIDE = {"PNG": 2**31 - 1, "TIFF": 2**31 - 1, "JPEG": 65500, "WEBP": 16383, "AVIF": 32768}
MOST_PIXELS = {"AVIF": 2**28}

MAGIC = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}

# What people take for pictures that are read: the first bytes, what the file is, and what to do.
OTHER_KINDS = {
    b"\xff\x0a": "JPEG XL: convert it to JPEG or PNG",
    b"\0\0\0\x0cJXL ": "JPEG XL: convert it to JPEG or PNG",
    b"\0\0\0\x0cjP  ": "JPEG 2000: convert it to TIFF or PNG",
    b"8BPS": "a file of Photoshop: save it as TIFF or PNG",
    b"%PDF": "a PDF: save its pages as PNG",
    b"<!doctype html": "a web page: download the picture itself",
    b"<html": "a web page: download the picture itself",
    b"version https://git-lfs": "a pointer of Git LFS: fetch the file with `git lfs pull`",
}
HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}

# Folders that systems and cloud drives keep beside people's own: thumbnails, waste, resource forks.
SYSTEM_FOLDERS = {"@eadir", "__macosx", "#recycle", "$recycle.bin", "system volume information", "lost+found"}


def find_format(data: bytes) -> str | None:
    """Pillow's name of the format that a file's first bytes announce; None if it is none that is read here."""
    for magic, name in MAGIC.items():
        if data.startswith(magic):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:1] == b"P" and data[1:2] in b"123456" and data[2:3] in (b" ", b"\t", b"\r", b"\n", b"#"):
        return "PPM"
    if AVIF and data[4:8] == b"ftyp" and data[8:12] in (b"avif", b"avis", b"mif1", b"msf1") and not _is_heic(data):
        return "AVIF"
    return None


def explain_other(data: bytes) -> str:
    """What a file is that `find_format` does not know, and what to do with it, as far as its first bytes tell.

    >>> explain_other(b"<HTML><head>"), explain_other(b"abc")
    ('it is a web page: download the picture itself', "it starts with b'abc'")
    """
    if _is_heic(data):
        return "it is HEIC, as phones make it: convert it to JPEG or PNG"
    start = data[:64].lstrip().lower() if data[:64].lstrip()[:1] == b"<" else data[:64]
    kind = next((kind for magic, kind in OTHER_KINDS.items() if start.startswith(magic)), None)
    return f"it is {kind}" if kind else f"it starts with {data[:8]!r}"


def _is_heic(data: bytes) -> bool:
    """Whether the brands of an ISO file (ISO/IEC 23008-12, B.4) name HEVC, and not AV1."""
    if data[4:8] != b"ftyp":
        return False
    length = min(int.from_bytes(data[:4], "big"), 256)
    brands = {data[place : place + 4] for place in (8, *range(16, length, 4))}
    return bool(brands & HEIC_BRANDS) and brands.isdisjoint({b"avif", b"avis"})


def is_picture(path: str | os.PathLike) -> bool:
    """Whether a file's name says that it is a picture: a known ending, and no hidden companion of another file.

    >>> is_picture("photos/cat.JPG"), is_picture("photos/._cat.JPG"), is_picture("photos/cat.txt")
    (True, False, False)
    """
    path = Path(path)
    return path.suffix.lower() in READ and not is_companion(path.name)


def is_companion(name: str) -> bool:
    """Whether a system put this file or folder beside the user's own: hidden ones, Thumbs.db, @eaDir and the like."""
    return name.startswith(".") or name.lower() in SYSTEM_FOLDERS | {"thumbs.db", "ehthumbs.db", "desktop.ini"}


def entries_of(folder: str | os.PathLike[str]) -> list[Path]:
    """What lies directly in a folder, but for what systems put there unseen; empty where there is no such folder."""
    return [path for path in Path(folder).iterdir() if not is_companion(path.name)] if os.path.isdir(folder) else []


def composed(name: str) -> str:
    """A name in the one form of Unicode in which names are compared: macOS may write é as e and an accent.

    >>> composed("cafe\u0301.png") == "caf\u00e9.png"
    True
    """
    return unicodedata.normalize("NFC", name)


def list_pictures(folder: str | os.PathLike, recursive: bool = True) -> list[Path]:
    """The pictures in a folder, sorted; hidden files and what systems leave beside pictures are no pictures.

    Args:
        folder: where to look; links to folders below it are not followed.
        recursive: also look into the folders below.

    Returns:
        Paths that begin with `folder`; an empty list where there is no such folder.

    Raises:
        ImageError: a folder that cannot be read.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("b.png", "a.jpg", "._a.jpg", "notes.txt"):
    ...     (folder / name).touch()
    >>> [path.name for path in list_pictures(folder)]
    ['a.jpg', 'b.png']
    """
    return [path for path in list_folder(folder, recursive)[0] if is_picture(path)]


def list_folder(folder: str | os.PathLike[str], recursive: bool = True) -> tuple[list[Path], list[Path]]:
    """What a folder holds of a user's own, each sorted: every file, whatever its ending, and the links to folders.

    Pipes, sockets and devices are no files: to read one could take forever. A link that leads nowhere counts, so that
    it is missed by name. Args, raises and what else does not count: as `list_pictures`.
    """
    files, links = [], []
    for place, folders, names in os.walk(folder, onerror=_refuse_folder):
        folders[:] = [name for name in folders if recursive and not is_companion(name)]
        links += [path for name in folders if (path := Path(place, name)).is_symlink()]
        paths = [Path(place, name) for name in names if not is_companion(name)]
        files += [path for path in paths if not _is_special(path)]
    return sorted(files), sorted(links)


def _is_special(path: Path) -> bool:
    """Whether it is a pipe, a socket or a device."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def _refuse_folder(error: OSError) -> None:
    """Raise ImageError for a folder that is there and cannot be read: its pictures would be missed without a word."""
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise ImageError(
            f"the folder {error.filename} cannot be read: {error.strerror}. Change its permissions, or move it away."
        ) from error


def choose_format(path: Path, format: str | None = None) -> str:
    """Pillow's name of the format in which `path` is written.

    Args:
        path: its suffix decides.
        format: a word like "png" for a path without a suffix.

    Raises:
        ImageError: a suffix or name that is not known, or two that contradict each other.

    >>> choose_format(Path("out.tif")), choose_format(Path("out"), "webp")
    ('TIFF', 'WEBP')
    """
    by_suffix = WRITTEN.get(path.suffix.lower())
    by_name = None if format is None else WRITTEN.get(f".{str(format).lower()}")
    known = f"PNG (.png), JPEG (.jpg), WebP (.webp), {'AVIF (.avif), ' if AVIF else ''}and TIFF (.tif)"
    if format is not None and by_name is None:
        raise ImageError(f"cannot write the format {format!r}; known are {known}.")
    if by_suffix is None and (path.suffix or by_name is None):
        raise ImageError(f"the name {path.name!r} does not end in a format that can be written; known are {known}.")
    if by_suffix and by_name and by_suffix != by_name:
        raise ImageError(f"{path.name!r} would be a {by_name} by another name. Leave the format out, or rename it.")
    return by_suffix or by_name


def check_size(size: tuple[int, int], format: str) -> None:
    """Refuse a picture that is too large for a format.

    Args:
        size: (width, height) in pixels.
        format: Pillow's name, as `choose_format` returns it.

    Raises:
        ImageError: the picture does not fit.

    >>> check_size((16383, 8), "WEBP")
    >>> check_size((16384, 8), "WEBP")
    Traceback (most recent call last):
    ...
    ssg_hub.errors.ImageError: 16384x8 is too large for WEBP, which ends at 16383 pixels a side. Write a PNG.
    """
    width, height = size
    if max(size) > LONGEST_SIDE[format]:
        raise ImageError(
            f"{width}x{height} is too large for {format}, which ends at {LONGEST_SIDE[format]} pixels a side. "
            "Write a PNG."
        )
    if width * height > MOST_PIXELS.get(format, 2**62):
        raise ImageError(
            f"{width}x{height} is too large for {format}, which ends at {MOST_PIXELS[format]:,} pixels. Write a PNG."
        )


def check_target(path: Path, overwrite: bool = False) -> None:
    """Refuse a path where no file can be written, before there is anything to write.

    Args:
        path: the file.
        overwrite: a file that exists may be replaced.

    Raises:
        ImageError: a folder of that name, no folder to write in or no right to, a file that exists, or too long a name.
    """
    longest = _longest_name(path.parent)
    if (length := len(os.fsencode(path.name))) > longest:
        raise ImageError(f"the name {path.name[:24]}… has {length} bytes; {longest} are allowed. Choose a shorter one.")
    try:
        if path.is_dir():
            raise ImageError(f"{path} is a folder; give a file name in it.")
        if not path.parent.is_dir():
            if path.parent.exists():
                raise ImageError(f"cannot write {path}: {path.parent} is a file, no folder. Choose another place.")
            raise ImageError(f"cannot write {path}: there is no folder {path.parent}. Make it first.")
        if path.exists() and not overwrite:
            raise ImageError(f"{path} exists and is kept. Choose another name, or allow overwriting.")
    except OSError as error:
        raise ImageError(f"{path} cannot be written: {error.strerror or error}. Choose another place.") from error
    if not os.access(path.parent, os.W_OK):
        raise ImageError(f"the folder {path.parent} cannot be written to. Choose another, or change its permissions.")


def _longest_name(folder: Path) -> int:
    """How many bytes the file system allows in a name."""
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):  # not on Windows; no such folder
        return 255


def name_endings(endings: Iterable[str] = READ) -> str:
    """Endings as a sentence lists them."""
    return ", ".join(sorted(endings))
