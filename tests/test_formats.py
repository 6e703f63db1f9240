"""Which files are pictures, which are written, and what is refused before there is anything to write."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssg_hub.data.tables import load_pictures
from ssg_hub.degradation.learning.pictures import read_pictures
from ssg_hub.errors import ImageError
from ssg_hub.evaluation.methods import index_pictures
from ssg_hub.images import formats
from ssg_hub.images.formats import READ, WRITTEN, check_size, check_target, choose_format, list_pictures
from ssg_hub.images.reading import Picture, read_picture, write_picture

COMPANIONS = [
    "._a.png",
    ".hidden.jpg",
    "Thumbs.db",
    "desktop.ini",
    ".DS_Store",
    "@eaDir/a.png",
    "__MACOSX/a.png",
    ".thumbnails/a.png",
    "#recycle/a.png",
    "$RECYCLE.BIN/a.png",
    "notes.txt",
]


@pytest.fixture
def crowded(tmp_path) -> Path:
    """Two pictures, one with a rare ending and one below, among what systems leave beside pictures."""
    folder = tmp_path / "photos"
    for name in ("b.jfif", "below/a.PNG", *COMPANIONS):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(0).integers(0, 256, (80, 80, 3), np.uint8)
        Image.fromarray(pixels).save(folder / name, "JPEG" if name.startswith("b") else "PNG")
    return folder


def test_every_door_finds_the_same_pictures(crowded):
    expected = [crowded / "b.jfif", crowded / "below/a.PNG"]
    assert list_pictures(crowded) == expected
    assert [Path(cell["path"]) for cell in load_pictures([str(crowded)])["image"]] == expected
    assert read_pictures(crowded).names == ["b.jfif", "a.PNG"]
    assert index_pictures(crowded) == {"b": expected[0]}
    assert list_pictures(crowded, recursive=False) == expected[:1]


def test_folders_are_no_pictures_whatever_their_name(tmp_path):
    (tmp_path / "folder.png").mkdir()
    assert list_pictures(tmp_path) == [] == list_pictures(tmp_path / "absent")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_what_could_be_read_forever_is_no_picture(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to("pipe.png")
    (tmp_path / "null.png").symlink_to(os.devnull)
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    assert list_pictures(tmp_path) == [tmp_path / "gone.png"]  # it is named when it is read


@pytest.mark.parametrize("place", [".", "below"])
def test_a_folder_that_cannot_be_read_is_not_passed_over(place, crowded, monkeypatch):
    (crowded / "below").mkdir(exist_ok=True)
    scandir = os.scandir

    def denied(folder):
        if Path(folder) == crowded / place:
            raise PermissionError(13, "Permission denied", folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", denied)  # root may read any folder
    with pytest.raises(ImageError, match=r"the folder .* cannot be read: Permission denied\. Change its permissions"):
        list_pictures(crowded)


def test_every_ending_is_read_by_the_decoder_of_its_format(tmp_path):
    for ending, format in READ.items():
        Image.new("RGB", (9, 8)).save(tmp_path / f"x{ending}", format)
        assert read_picture(tmp_path / f"x{ending}").size == (9, 8)
    for ending, format in WRITTEN.items():
        write_picture(Picture(np.zeros((8, 9, 3), np.uint8)), tmp_path / f"y{ending}")
        assert Image.open(tmp_path / f"y{ending}").format == format == READ[ending]


@pytest.mark.parametrize("format", ["JPEG", "WEBP", *(["AVIF"] if formats.AVIF else [])])
def test_the_longest_side_is_what_the_encoder_takes(format, tmp_path):
    longest, suffix = formats.LONGEST_SIDE[format], {"JPEG": ".jpg"}.get(format, f".{format.lower()}")
    write_picture(Picture(np.zeros((1, longest), np.uint8)), tmp_path / f"wide{suffix}")
    assert read_picture(tmp_path / f"wide{suffix}").size == (longest, 1)
    with pytest.raises(ImageError, match=f"ends at {longest} pixels"):
        check_size((1, longest + 1), format)


def test_a_size_is_refused_that_only_the_area_forbids():
    check_size((2**14, 2**14), "AVIF")
    with pytest.raises(ImageError, match="268,435,456 pixels"):
        check_size((2**15, 2**14), "AVIF")


@pytest.mark.parametrize("name", ["x.tga", "x.eps", "x.psd", "x.ico", "x.", "x"])
def test_no_other_ending_is_written(name):
    with pytest.raises(ImageError, match="does not end in a format"):
        choose_format(Path(name))


def test_a_name_that_is_too_long_is_refused_beforehand(tmp_path):
    longest = os.pathconf(tmp_path, "PC_NAME_MAX")
    check_target(tmp_path / ("x" * (longest - 4) + ".png"))
    for name in ("x" * (longest - 3) + ".png", "海" * (longest // 3 + 1)):
        with pytest.raises(ImageError, match=f"{longest} are allowed"):
            check_target(tmp_path / name)
    with pytest.raises(ImageError):
        check_target(Path("/".join([str(tmp_path), *["x" * 200] * 40, "a.png"])))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_the_right_to_write_is_refused_beforehand(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ImageError, match="permissions"):
        check_target(tmp_path / "x.png")
