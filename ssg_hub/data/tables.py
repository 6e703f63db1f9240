"""Tables of pictures for training: folders, lists, `metadata.csv` and Hub sets as one `datasets.Dataset`."""

import csv
import hashlib
import io
from itertools import compress
from pathlib import Path

from PIL import Image

from ..errors import ConfigError
from ..images.formats import composed, list_pictures, name_endings
from ..images.levels import to_8_bit
from ..images.reading import read_labels, read_rgb, read_size
from ..storage import settle_path

MAX_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 2**62)  # of one training picture: what Pillow itself opens


def load_pictures(entries: list[str], root: Path = Path(), labels: str | bool = False):
    """Join folders and Hub ids into one table.

    Args:
        entries: each a folder with `images/` (and `labels/`), a folder with `metadata.csv`
            (`image_file_name,label_file_name`), a plain folder of pictures, or a Hub id; `FOLDER#LIST.txt` takes only
            the pictures that are in the list, a name a line (with or without folders and ending).
        root: folder against which relative entries are resolved.
        labels: True requires a label map for every picture, beside it as above; a text names another folder that
            holds them, for folders alone. `images/a/1.jpg` has its labels in `a/1.png` there. Names are the same
            whether é is one character or two.

    Returns:
        A `datasets.Dataset` with the columns `image` and, if asked for, `label`, not decoded yet.

    Raises:
        ConfigError: an entry that does not exist, holds no pictures or names that are not UTF-8, or lacks labels; or a
            Hub id, and a folder of labels.
        HubError: a Hub id, and HF_ENDPOINT is no address.
    """
    from datasets import concatenate_datasets

    return concatenate_datasets([_load_entry(entry, root, labels) for entry in entries])


def load_pairs(entries: list[str], lr_folder: str, root: Path = Path()):
    """HR pictures with the LR pictures that really belong to them.

    Args:
        entries: HR, as `load_pictures` takes them.
        lr_folder: holds an LR picture for each, at the same place below it (`scene/0001`), whatever its format.
        root: folder against which both are resolved.

    Returns:
        A `datasets.Dataset` with the columns `image` (HR) and `lr`, not decoded yet.

    Raises:
        ConfigError: as `load_pictures`; HR pictures without LR; or several that would share one, or could have several.
    """
    from datasets import Image as ImageColumn

    table = load_pictures(entries, root)
    folder = root / lr_folder
    partners = _index_places(_find_pictures(folder), f"source_lr: {folder}")
    places = [place for entry in entries for place in list_places(entry, root)]
    if missing := [place for place in places if place not in partners]:
        raise ConfigError(
            f"source_lr: {len(missing)} of {len(places)} HR pictures have no LR picture at their place below {folder}, "
            f"for instance {missing[0]}. Add them, or list the others in source (FOLDER#LIST.txt)."
        )
    if len(set(places)) < len(places):
        twice = next(place for place in places if places.count(place) > 1)
        raise ConfigError(
            f"source_lr: two HR pictures of source are called {twice}, so that both would get the LR picture "
            f"{partners[twice]}. Put each set below a folder of its own, in source and in source_lr alike."
        )
    column = [str(partners[place]) for place in places]
    return table.add_column("lr", column).cast_column("lr", ImageColumn(decode=False))


def load_by_place(entry: str, root: Path) -> dict[Path, dict]:
    """The pictures of an entry, not decoded, by their place below its folder, as `list_places` has it.

    Raises:
        ConfigError: as `load_pictures`; or two pictures at one place, or some without a name.
    """
    cells = load_pictures([entry], root)["image"]
    found: dict[Path, dict] = {}
    for place, cell in zip(list_places(entry, root), cells, strict=True):
        if place in found:
            raise ConfigError(f"{entry} has two pictures called {place}. Keep one of them.")
        found[place] = cell
    return found


def list_places(entry: str, root: Path) -> list[Path]:
    """Where each picture of an entry lies below its folder, without the ending and in composed characters, in the order
    of the table.

    Raises:
        ConfigError: as `load_pictures`; or the entry is a set of the Hub whose pictures have no names.
    """
    name, _, list_file = entry.partition("#")
    folder = root / name
    if folder.is_dir() and not (folder / "metadata.csv").is_file():
        places = _find_pictures(folder)
        listed = _only_listed(places, root / list_file) if list_file else places
        return [_composed(place) for place in listed.values()]
    paths = [Path(cell["path"] or "") for cell in load_pictures([entry], root)["image"]]
    if nameless := [path for path in paths if not path.name]:
        raise ConfigError(
            f"{len(nameless)} of the {len(paths)} pictures of {entry} have no names, by which LR and HR are paired. "
            "Give folders of pictures with the same names."
        )
    return [_composed(_place_below(path, folder / "images", folder)) for path in paths]


def is_utf_8(place: str | Path) -> bool:
    """Whether a name is text, as a table's must be; on Linux it may be any bytes, as old archives leave them."""
    try:
        str(place).encode()
    except UnicodeEncodeError:
        return False
    return True


def settle_entry(entry: str) -> str:
    """The one form of an entry that may be written in several: full paths of a folder and a list on this machine."""
    return "#".join(settle_path(part) for part in entry.split("#", 1))


def fingerprint(entry: str, root: Path = Path()) -> dict:
    """Number of pictures of an entry, and a hash that changes with their names or sizes."""
    cells = load_pictures([entry], root)["image"]
    digest = hashlib.sha256()
    for cell in cells:
        size = len(cell["bytes"]) if cell.get("bytes") else Path(cell["path"]).stat().st_size
        digest.update(f"{Path(cell['path'] or '').name} {size}\n".encode())
    return {"pictures": len(cells), "sha256": digest.hexdigest()[:16]}


def open_cell(cell: dict | Image.Image) -> Image.Image:
    """A cell of a `datasets` image column, decoded or not, as training sees it: 8-bit RGB, opaque, upright.

    Raises:
        ImageError: it cannot be read.
    """
    return Image.fromarray(to_8_bit(read_rgb(_source(cell), MAX_PIXELS)))


def cell_size(cell: dict) -> tuple[int, int]:
    """(width, height) of the picture in an undecoded cell, upright, from its header alone.

    Raises:
        ImageError: it cannot be read.
    """
    return read_size(_source(cell))


def open_label(cell: dict | Image.Image) -> Image.Image:
    """A cell that holds a label map, upright; its values are class ids.

    Raises:
        ImageError: it cannot be read, or is a picture in colour.
    """
    return Image.fromarray(read_labels(_source(cell), MAX_PIXELS))


def picture_stem(cell: dict) -> str:
    """What messages call an undecoded picture: its name without folder and ending; in sets of the Hub, few have one."""
    return Path(cell["path"] or "").stem or "(without a name)"


def picture_names(cell: dict) -> set[str]:
    """The names by which a list may call an undecoded picture, whatever folder it is in; in composed characters."""
    path = _composed(Path(cell["path"] or ""))
    return {path.stem, path.name}


def _source(cell: dict | Image.Image) -> Image.Image | bytes | str:
    if isinstance(cell, Image.Image):
        return cell
    return cell["bytes"] if cell.get("bytes") else cell["path"]


def _load_entry(entry: str, root: Path, labels: str | bool):
    from datasets import Dataset
    from datasets import Image as ImageColumn

    name, _, list_file = entry.partition("#")
    folder = root / name
    if not folder.is_dir():
        if list_file and _is_hub_id(name):
            raise ConfigError(
                f"{entry}: a list is for a folder, and there is none at {folder}. Leave #{list_file} out."
            )
        return _load_from_hub(name, folder, labels)
    if (folder / "metadata.csv").is_file():
        columns = _read_metadata(folder, labels is True)
        if list_file:
            listed = _only_listed({path: _place_below(path, folder) for path in columns["image"]}, root / list_file)
            kept = [path in listed for path in columns["image"]]
            columns = {column: list(compress(paths, kept)) for column, paths in columns.items()}
        places = [_place_below(path, folder / "images", folder) for path in columns["image"]]
    else:
        found = _find_pictures(folder)
        found = _only_listed(found, root / list_file) if list_file else found
        columns, places = {"image": list(found)}, list(found.values())
    if labels and "label" not in columns:
        label_folder = folder / "labels" if labels is True else root / labels
        maps = [(label_folder / place).with_name(f"{place.name}.png") for place in places]
        columns["label"] = _as_spelled(maps, label_folder)
    _check_columns(columns, entry)
    table = Dataset.from_dict({column: [str(path) for path in paths] for column, paths in columns.items()})
    for column in columns:
        table = table.cast_column(column, ImageColumn(decode=False))
    return table


def _find_pictures(folder: Path) -> dict[Path, Path]:
    """Pictures of a folder, or of `images/` in it -> their place below it, without the ending."""
    base = folder / "images" if (folder / "images").is_dir() else folder
    return {path: path.relative_to(base).parent / path.stem for path in list_pictures(base)}


def _place_below(path: Path, *folders: Path) -> Path:
    """Where a picture lies below the first of the folders that it is in, without its ending; else its name alone."""
    below = next((path.relative_to(folder) for folder in folders if path.is_relative_to(folder)), Path(path.name))
    return below.parent / below.stem


def _composed(path: Path) -> Path:
    """A path as `composed` has its name: so the place of a picture is compared."""
    return Path(composed(str(path)))


def _as_spelled(paths: list[Path], folder: Path) -> list[Path]:
    """Paths below a folder, each as it is spelled there: as given, or else with its characters composed otherwise."""
    found = {path for path in paths if path.is_file()}
    if len(found) == len(set(paths)):
        return paths
    others = {_composed(path): path for path in list_pictures(folder) if path not in found}
    return [path if path in found else others.get(_composed(path), path) for path in paths]


def _index_places(places: dict[Path, Path], where: str) -> dict[Path, Path]:
    """Place, in composed characters -> picture; refuses two pictures at one place."""
    index: dict[Path, Path] = {}
    for path, place in places.items():
        if (place := _composed(place)) in index:
            raise ConfigError(f"{where} has both {index[place].name} and {path.name}. Keep one of them.")
        index[place] = path
    return index


def _load_from_hub(name: str, folder: Path, labels: str | bool):
    from datasets import Image as ImageColumn
    from datasets import load_dataset
    from pyarrow import ArrowException

    from ..storage.hub import check_endpoint

    if not _is_hub_id(name):
        raise ConfigError(f"no data folder at {folder}. Check the path, or set data_root.")
    if isinstance(labels, str):
        raise ConfigError(
            f"{name} is a Hub dataset, and the label maps in the folder {labels} belong to pictures in a folder. Save "
            "its pictures to a folder, or leave the label maps out."
        )
    check_endpoint()
    try:
        table = load_dataset(name, split="train")
    except Exception as error:  # datasets raises many kinds, all of which mean that the set is not available
        raise ConfigError(f"there is no folder {folder}, and no Hub dataset {name!r} could be read: {error}") from error
    wanted = ["image", "label"] if labels else ["image"]
    if missing := [column for column in wanted if column not in table.column_names]:
        raise ConfigError(
            f"the Hub dataset {name} has no column {missing[0]!r}; it has {', '.join(table.column_names)}."
        )
    table = table.select_columns(wanted)
    for column in wanted:
        try:
            table = table.cast_column(column, ImageColumn(decode=False))
        except (ArrowException, TypeError, ValueError) as error:
            raise ConfigError(
                f"the column {column} of the Hub dataset {name} holds no pictures, but {table.features[column]}."
            ) from error
    return table


def _is_hub_id(name: str) -> bool:
    return name.count("/") == 1 and not name.startswith(".")


def _read_metadata(folder: Path, labels: bool) -> dict[str, list[Path]]:
    text = _read_text(folder / "metadata.csv")
    heading = text.partition("\n")[0]
    delimiter = ";" if ";" in heading and "," not in heading else ","  # as Excel writes it where the comma is decimal
    rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter))
    names = {"image": "image_file_name", "label": "label_file_name"} if labels else {"image": "image_file_name"}
    if missing := [name for name in names.values() if rows and name not in rows[0]]:
        found = ", ".join(map(str, rows[0]))
        raise ConfigError(f"{folder / 'metadata.csv'} has no column {missing[0]}; it has {found}.")
    columns = {column: [folder / (row[name] or "") for row in rows] for column, name in names.items()}
    return {column: _as_spelled(paths, folder) for column, paths in columns.items()}


def _only_listed(places: dict[Path, Path], list_file: Path) -> dict[Path, Path]:
    """The pictures whose name or place, with or without its ending, is a line of the list."""
    listed = read_list(list_file)

    def is_listed(path: Path, place: Path) -> bool:
        path, place = _composed(path), _composed(place)
        return not listed.isdisjoint({place.name, path.name, place.as_posix(), f"{place.as_posix()}{path.suffix}"})

    return {path: place for path, place in places.items() if is_listed(path, place)}


def read_list(path: Path) -> set[str]:
    """The lines of a list of pictures, in composed characters.

    Raises:
        ConfigError: there is none, or it is not UTF-8.
    """
    if not path.is_file():
        raise ConfigError(f"no list of pictures at {path}.")
    return {composed(line.strip()) for line in _read_text(path).splitlines()}


def _read_text(path: Path) -> str:
    """A text file, also as Excel and Windows' Notepad save it, with a mark before the first character."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text ({error.reason}). Save it as UTF-8.") from error


def _check_columns(columns: dict[str, list[Path]], entry: str) -> None:
    if not columns["image"]:
        folder, _, list_file = entry.partition("#")
        if list_file:
            raise ConfigError(f"{list_file} lists no picture of {folder}. Write a name a line.")
        raise ConfigError(f"{entry} holds no pictures ({name_endings()}).")
    for column, paths in columns.items():
        if missing := [path for path in paths if not path.is_file()]:
            raise ConfigError(f"{entry}: {len(missing)} {column} files are missing, for instance {missing[0]}.")
        if odd := [path for path in paths if not is_utf_8(path)]:
            raise ConfigError(
                f"{entry}: the names of {len(odd)} {column} files are not UTF-8, for instance {odd[0]}, and a table "
                "cannot hold them. Rename them."
            )
