"""Training pictures over the `datasets` library: folders or Hub sets in, aligned random crops out.

Every sample is a pure function of (seed, position): `position` counts the samples of a run across all processes. So a
run that is stopped and resumed sees the same crops, flips and degradations, and so do two processes that share a batch.
"""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from .errors import ConfigError

PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}


def load_pictures(entries: list[str], root: Path = Path(), with_labels: bool = False):
    """Join folders and Hub ids into one `datasets.Dataset`.

    Args:
        entries: see `TrainConfig`.
        root: folder against which relative entries are resolved.
        with_labels: require a label map for every picture.

    Returns:
        A dataset with the columns `image` and, if asked for, `label`; not decoded yet.

    Raises:
        ConfigError: an entry that does not exist, holds no pictures, or lacks labels.
    """
    from datasets import concatenate_datasets

    return concatenate_datasets([_load_entry(entry, root, with_labels) for entry in entries])


def _load_entry(entry: str, root: Path, with_labels: bool):
    from datasets import Dataset as Table
    from datasets import Image as ImageColumn
    from datasets import load_dataset

    name, _, list_file = entry.partition("#")
    folder = root / name
    if not folder.is_dir():
        if name.count("/") == 1 and not name.startswith("."):
            return load_dataset(name, split="train").select_columns(["image", "label"] if with_labels else ["image"])
        raise ConfigError(f"no data folder at {folder}. Check the path, or set data_root.")
    pictures = _list_pictures(folder / "images" if (folder / "images").is_dir() else folder)
    if list_file:
        stems = set((root / list_file).read_text().split())
        pictures = [path for path in pictures if path.stem in stems]
    if not pictures:
        raise ConfigError(f"{entry} holds no pictures ({', '.join(sorted(PICTURES))}).")
    columns = {"image": [str(path) for path in pictures]}
    if with_labels:
        labels = [folder / "labels" / f"{path.stem}.png" for path in pictures]
        if missing := [path.name for path in labels if not path.is_file()]:
            raise ConfigError(f"{entry}: {len(missing)} pictures have no label map, for instance labels/{missing[0]}.")
        columns["label"] = [str(path) for path in labels]
    table = Table.from_dict(columns)
    for column in columns:
        table = table.cast_column(column, ImageColumn(decode=False))
    return table


def _list_pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES)


class CropDataset(Dataset):
    """Random crops with flips (and quarter turns), the same for a picture and its label map.

    Args:
        pictures: from `load_pictures`.
        crop: side of the crop in pixels; a smaller picture is enlarged first.
        seed: of the run.
        turn: also rotate by quarter turns; not for segmentation, where up is up.
        zoom: range of a random resize before the crop, for the guide stage.

    An item is a dict: `image` (3, crop, crop) float in [0, 1]; `label` (crop, crop) int64 where there are labels;
    `seed`, an int from which everything later that is random about this sample is to be drawn.
    """

    def __init__(self, pictures, crop: int, seed: int, turn: bool = True, zoom: tuple[float, float] = (1.0, 1.0)):
        self.pictures, self.crop, self.seed, self.turn, self.zoom = pictures, crop, seed, turn, zoom

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, position: int) -> dict:
        epoch, offset = divmod(position, len(self))
        index = int(np.random.default_rng((self.seed, epoch)).permutation(len(self))[offset])
        rng = np.random.default_rng((self.seed, 1, position))
        row = self.pictures[index]
        image = open_cell(row["image"]).convert("RGB")
        label = open_cell(row["label"]) if "label" in row else None
        box, size = self._choose_crop(image.size, rng)
        sample = {"image": _to_tensor(image.resize(size, Image.BICUBIC, box)), "seed": int(rng.integers(2**62))}
        if label is not None:
            ids = np.asarray(label.resize(size, Image.NEAREST, box))
            sample["label"] = torch.from_numpy(ids.astype(np.int64))
        flip, turns = rng.integers(2), rng.integers(4) if self.turn else 0
        for key in ("image", "label"):
            if key in sample:
                sample[key] = _flip_and_turn(sample[key], flip, turns)
        return sample

    def _choose_crop(self, size: tuple[int, int], rng: np.random.Generator) -> tuple[tuple, tuple[int, int]]:
        """A box in the picture (left, top, right, bottom) and the size that it is brought to."""
        zoom = rng.uniform(*self.zoom)
        side = min(self.crop / zoom, *size)
        side = int(side) if self.zoom == (1.0, 1.0) else side
        left, top = (rng.integers(int(length - side) + 1) for length in size)
        return (left, top, left + side, top + side), (self.crop, self.crop)


class PositionSampler(Sampler[int]):
    """The positions that one process reads: of each whole batch its own contiguous part, from `start` on, without end."""

    def __init__(self, batch: int, rank: int, world: int, start: int = 0):
        self.batch, self.rank, self.world, self.start = batch, rank, world, start

    def __iter__(self) -> Iterator[int]:
        position = self.start + self.rank * self.batch
        while True:
            yield from range(position, position + self.batch)
            position += self.world * self.batch


def make_loader(dataset: CropDataset, batch: int, rank: int, world: int, start: int, workers: int) -> DataLoader:
    """An endless loader of batches of `batch` samples for this process; `start` is the number of samples already used."""
    return DataLoader(
        dataset,
        batch_size=batch,
        sampler=PositionSampler(batch, rank, world, start),
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
    )


def sample_generators(seeds: Tensor) -> list[torch.Generator]:
    """One random generator per sample, so that a sample's degradation does not depend on its batch."""
    return [torch.Generator().manual_seed(int(seed)) for seed in seeds]


def open_cell(cell: dict | Image.Image) -> Image.Image:
    """Open a cell of a `datasets` image column, decoded or not."""
    if isinstance(cell, Image.Image):
        return cell
    return Image.open(io.BytesIO(cell["bytes"]) if cell.get("bytes") else cell["path"])


def picture_stem(cell: dict) -> str:
    """The name of an undecoded picture without folder and extension."""
    return Path(cell["path"]).stem


def _to_tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def _flip_and_turn(x: Tensor, flip: int, turns: int) -> Tensor:
    x = x.flip(-1) if flip else x
    return torch.rot90(x, int(turns), (-2, -1)).contiguous()
