"""Tables of pictures for training: folders, lists, `metadata.csv` and Hub sets as one `datasets.Dataset`."""

import csv
import hashlib
import io
from pathlib import Path

from PIL import Image

from ..errors import ConfigError

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}


def load_pictures(entries: list[str], root: Path = Path(), labels: str | bool = False):
    """Join folders and Hub ids into one table.

    Args:
        entries: each a folder with `images/` (and `labels/`), a folder with `metadata.csv`
            (`image_file_name,label_file_name`), a plain folder of pictures, or a Hub id; `FOLDER#LIST.txt` takes only
            the pictures whose stems are in the list.
        root: folder against which relative entries are resolved.
        labels: True requires a label map for every picture, beside it as above; a text names another folder that
            holds them, `STEM.png`.

    Returns:
        A `datasets.Dataset` with the columns `image` and, if asked for, `label`, not decoded yet.

    Raises:
        ConfigError: an entry that does not exist, holds no pictures, or lacks labels.
    """
    from datasets import concatenate_datasets

    return concatenate_datasets([_load_entry(entry, root, labels) for entry in entries])


def load_pairs(entries: list[str], lr_folder: str, root: Path = Path()):
    """HR pictures with the LR pictures that really belong to them.

    Args:
        entries: HR, as `load_pictures` takes them.
        lr_folder: holds an LR picture for each, of the same stem, whatever its format.
        root: folder against which both are resolved.

    Returns:
        A `datasets.Dataset` with the columns `image` (HR) and `lr`, not decoded yet.

    Raises:
        ConfigError: as `load_pictures`, or HR pictures without LR.
    """
    from datasets import Image as ImageColumn

    table = load_pictures(entries, root)
    partners = {path.stem: str(path) for path in list_pictures(root / lr_folder)}
    stems = [picture_stem(cell) for cell in table["image"]]
    if missing := [stem for stem in stems if stem not in partners]:
        raise ConfigError(
            f"source_lr: {len(missing)} of {len(stems)} HR pictures have no LR picture of their name in "
            f"{root / lr_folder}, for instance {missing[0]}. Add them, or list the others in source (FOLDER#LIST.txt)."
        )
    return table.add_column("lr", [partners[stem] for stem in stems]).cast_column("lr", ImageColumn(decode=False))


def fingerprint(entry: str, root: Path = Path()) -> dict:
    """Number of pictures of an entry, and a hash that changes with their names or sizes."""
    cells = load_pictures([entry], root)["image"]
    digest = hashlib.sha256()
    for cell in cells:
        size = len(cell["bytes"]) if cell.get("bytes") else Path(cell["path"]).stat().st_size
        digest.update(f"{Path(cell['path'] or '').name} {size}\n".encode())
    return {"pictures": len(cells), "sha256": digest.hexdigest()[:16]}


def open_cell(cell: dict | Image.Image) -> Image.Image:
    """Open a cell of a `datasets` image column, decoded or not."""
    if isinstance(cell, Image.Image):
        return cell
    return Image.open(io.BytesIO(cell["bytes"]) if cell.get("bytes") else cell["path"])


def picture_stem(cell: dict) -> str:
    """The name of an undecoded picture without folder and extension."""
    return Path(cell["path"]).stem


def list_pictures(folder: Path) -> list[Path]:
    """All pictures below a folder, sorted."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def _load_entry(entry: str, root: Path, labels: str | bool):
    from datasets import Dataset
    from datasets import Image as ImageColumn

    name, _, list_file = entry.partition("#")
    folder = root / name
    if not folder.is_dir():
        return _load_from_hub(name, folder, bool(labels))
    if (folder / "metadata.csv").is_file():
        columns = _read_metadata(folder, bool(labels))
    else:
        pictures = list_pictures(folder / "images" if (folder / "images").is_dir() else folder)
        columns = {"image": _only_listed(pictures, root / list_file) if list_file else pictures}
        if labels:
            label_folder = folder / "labels" if labels is True else root / labels
            columns["label"] = [label_folder / f"{path.stem}.png" for path in columns["image"]]
    _check_columns(columns, entry)
    table = Dataset.from_dict({column: [str(path) for path in paths] for column, paths in columns.items()})
    for column in columns:
        table = table.cast_column(column, ImageColumn(decode=False))
    return table


def _load_from_hub(name: str, folder: Path, labels: bool):
    from datasets import Image as ImageColumn
    from datasets import load_dataset

    if name.count("/") != 1 or name.startswith("."):
        raise ConfigError(f"no data folder at {folder}. Check the path, or set data_root.")
    try:
        table = load_dataset(name, split="train")
    except Exception as error:  # datasets raises many kinds, all of which mean that the set could not be had
        raise ConfigError(f"there is no folder {folder}, and no Hub dataset {name!r} could be had: {error}") from error
    wanted = ["image", "label"] if labels else ["image"]
    if missing := [column for column in wanted if column not in table.column_names]:
        raise ConfigError(
            f"the Hub dataset {name} has no column {missing[0]!r}; it has {', '.join(table.column_names)}."
        )
    table = table.select_columns(wanted)
    for column in wanted:
        table = table.cast_column(column, ImageColumn(decode=False))
    return table


def _read_metadata(folder: Path, labels: bool) -> dict[str, list[Path]]:
    with open(folder / "metadata.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    names = {"image": "image_file_name", "label": "label_file_name"} if labels else {"image": "image_file_name"}
    if missing := [name for name in names.values() if rows and name not in rows[0]]:
        raise ConfigError(f"{folder / 'metadata.csv'} has no column {missing[0]}; it has {', '.join(rows[0])}.")
    return {column: [folder / row[name] for row in rows] for column, name in names.items()}


def _only_listed(pictures: list[Path], list_file: Path) -> list[Path]:
    if not list_file.is_file():
        raise ConfigError(f"no list of pictures at {list_file}.")
    stems = set(list_file.read_text().split())
    return [path for path in pictures if path.stem in stems]


def _check_columns(columns: dict[str, list[Path]], entry: str) -> None:
    if not columns["image"]:
        raise ConfigError(f"{entry} holds no pictures ({', '.join(sorted(SUFFIXES))}).")
    for column, paths in columns.items():
        if missing := [path for path in paths if not path.is_file()]:
            raise ConfigError(f"{entry}: {len(missing)} {column} files are missing, for instance {missing[0]}.")
