"""Training pictures over the `datasets` library: folders, shards or Hub sets in, aligned random crops out.

Every sample is a pure function of (seed, position): `position` counts the samples of a run across all processes. So a
run that is stopped and resumed sees the same crops, flips and degradations, and so do two processes that share a batch.
"""

from collections.abc import Collection, Iterable, Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from ..errors import ConfigError, ImageError, SSGError
from ..images.resampling import to_floats
from ..processes.signals import kept_from_workers, leave_signals_to_parent
from .augmentation import jitter_colors, paint_sky, paste_classes, recolor_class
from .tables import open_cell, open_label, picture_names, picture_stem


class Crops(Dataset):
    """Random crops of a table of pictures, by position. Subclasses say what a sample is.

    A picture that cannot be read is replaced by the next one of the epoch's order; the sample's `skipped` counts them.

    Args:
        table: a `datasets.Dataset` with undecoded image columns, from `tables.load_pictures`.
        crop: side of the HR crop, in pixels.
        seed: of the run.
    """

    def __init__(self, table, crop: int, seed: int):
        self.table, self.crop, self.seed = table, crop, seed
        self._order = (-1, np.empty(0, int))

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, position: int) -> dict[str, Tensor | int]:
        epoch, offset = divmod(position, len(self))
        order = self._epoch_order(epoch)
        for skipped in range(len(self)):
            rng = np.random.default_rng((self.seed, 1, position))
            try:
                sample = self.make(self.table[int(order[(offset + skipped) % len(self)])], rng)
            except ImageError:
                continue
            return {**sample, "seed": int(rng.integers(2**62)), "skipped": skipped}
        raise ConfigError(f"none of the {len(self)} pictures can be read. Check the files with an image viewer.")

    def _epoch_order(self, epoch: int) -> np.ndarray:
        if self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng((self.seed, 0, epoch)).permutation(len(self)))
        return self._order[1]

    def make(self, row: dict, rng: np.random.Generator) -> dict[str, Tensor]:
        raise NotImplementedError


class SourceCrops(Crops):
    """HR crops, flipped and turned by quarters: `hr` (3, crop, crop), float in [0, 1].

    Args:
        flat_share: share of samples that are one colour all over, so that flat areas keep their colour.
    """

    def __init__(self, table, crop: int, seed: int, flat_share: float = 0.0):
        super().__init__(table, crop, seed)
        self.flat_share = flat_share

    def make(self, row: dict, rng: np.random.Generator) -> dict[str, Tensor]:
        image = open_cell(row["image"])
        side = min(self.crop, *image.size)  # a picture that is too small is enlarged
        box = _random_box(image.size, side, rng)
        hr = to_floats(np.asarray(image.resize((self.crop, self.crop), Image.Resampling.BICUBIC, box)))
        flip, turns = rng.integers(2), rng.integers(4)
        if self.flat_share:
            apart = rng.spawn(1)[0]  # so that the other samples are the same as without flat ones
            if apart.random() < self.flat_share:
                hr = _random_color(apart).expand_as(hr)
        return {"hr": torch.rot90(_flip(hr, flip), int(turns), (-2, -1)).contiguous()}


class PairedCrops(Crops):
    """True pairs, cropped, flipped and turned alike: `hr` (3, crop, crop), `lr` (3, crop/scale, crop/scale), `judged`.

    Args:
        table: with the columns `image` and `lr`, from `tables.load_pairs`.
        scale: HR pixels per LR pixel, per side.
        unjudged: names, with or without their ending, of the pairs whose `judged`, their weight for the discriminator,
            is 0 instead of 1.
    """

    def __init__(self, table, crop: int, seed: int, scale: int, unjudged: Collection[str] = ()):
        super().__init__(table, crop, seed)
        self.scale, self.unjudged = scale, frozenset(unjudged)

    def make(self, row: dict, rng: np.random.Generator) -> dict[str, Tensor]:
        hr, lr = (open_cell(row[name]) for name in ("image", "lr"))
        side = self.crop // self.scale
        check_pair(hr.size, lr.size, self.scale, side, picture_stem(row["image"]))
        left, top, right, bottom = (int(length) for length in _random_box(lr.size, side, rng))
        in_hr = (self.scale * left, self.scale * top, self.scale * right, self.scale * bottom)
        pair = {"hr": hr.crop(in_hr), "lr": lr.crop((left, top, right, bottom))}
        flip, turns = rng.integers(2), rng.integers(4)
        crops = {
            name: torch.rot90(_flip(to_floats(np.asarray(image)), flip), int(turns), (-2, -1)).contiguous()
            for name, image in pair.items()
        }
        return {**crops, "judged": torch.tensor(float(self.unjudged.isdisjoint(picture_names(row["image"]))))}


class LabeledCrops(Crops):
    """HR crops with their label maps, randomly zoomed and flipped: `hr` as above, `label` (crop, crop) int64.

    Args:
        zoom: range of the factor by which a picture is resized before the crop.
        jitter: brightness, contrast and saturation each change by a factor of up to 1 ± jitter.
        recolor: share of the crops in which one class gets another colour (`recolor_class`).
        skies: share of the crops that get another sky (`paint_sky`).
        sky: the id of the class sky, for `skies`.
        paste: share of the crops into which half of the classes of another picture are pasted (`paste_classes`).
        known_ids: the ids that a label map may hold; None: any.
    """

    def __init__(
        self,
        table,
        crop: int,
        seed: int,
        zoom: tuple[float, float] = (0.8, 1.6),
        jitter: float = 0.0,
        recolor: float = 0.0,
        skies: float = 0.0,
        sky: int = 0,
        paste: float = 0.0,
        known_ids: set[int] | None = None,
    ):
        super().__init__(table, crop, seed)
        self.zoom, self.jitter, self.known_ids = zoom, jitter, known_ids
        self.recolor, self.skies, self.sky, self.paste = recolor, skies, sky, paste

    def make(self, row: dict, rng: np.random.Generator) -> dict[str, Tensor]:
        image, label = self._cut(row, rng)
        flip = rng.integers(2)
        if self.recolor and rng.random() < self.recolor:
            image = recolor_class(image, label, rng)
        if self.skies and rng.random() < self.skies:
            image = paint_sky(image, label, self.sky, rng)
        image = jitter_colors(image, self.jitter, rng)
        if self.paste and rng.random() < self.paste:
            other = self._cut(self.table[int(rng.integers(len(self)))], rng)
            image, label = paste_classes(image, label, *other, rng)
        return {"hr": _flip(to_floats(np.asarray(image)), flip), "label": _flip(_to_ids(label), flip)}

    def _cut(self, row: dict, rng: np.random.Generator) -> tuple[Image.Image, Image.Image]:
        """A random square of a picture and of its label map, resized to the crop's side."""
        image, label = open_cell(row["image"]), open_label(row["label"])
        check_label(label, image.size, self.known_ids, picture_stem(row["image"]))
        side = min(self.crop / rng.uniform(*self.zoom), *image.size)
        box, size = _random_box(image.size, side, rng), (self.crop, self.crop)
        return image.resize(size, Image.Resampling.BICUBIC, box), label.resize(size, Image.Resampling.NEAREST, box)


class TargetCrops(Crops):
    """Real LR crops, with label maps where the table has them: `lr` (3, crop/scale, crop/scale), `label` (crop, crop).

    Labels may be of HR size, or of LR size and are then enlarged by nearest neighbour. A picture smaller than the crop
    is extended at its edges, its labels with void.

    Args:
        scale: of the generator.
        void_id: label id that no loss counts.
        known_ids: the ids that a label map may hold; None: any.
    """

    def __init__(self, table, crop: int, seed: int, scale: int, void_id: int, known_ids: set[int] | None = None):
        super().__init__(table, crop, seed)
        self.scale, self.void_id, self.known_ids = scale, void_id, known_ids

    def make(self, row: dict, rng: np.random.Generator) -> dict[str, Tensor]:
        image = open_cell(row["image"])
        side, flip = self.crop // self.scale, rng.integers(2)
        left, top = (int(rng.integers(max(length - side, 0) + 1)) for length in image.size)
        lr = to_floats(np.asarray(image))[:, top : top + side, left : left + side]
        sample = {"lr": _flip(_pad_edges(lr, side), flip)}
        if row.get("label") is not None:
            label = open_label(row["label"])
            factor = check_label(label, image.size, self.known_ids, picture_stem(row["image"]), self.scale)
            ids = _to_ids(label)[factor * top : factor * (top + side), factor * left : factor * (left + side)]
            repeat = self.scale // factor
            ids = ids.repeat_interleave(repeat, 0).repeat_interleave(repeat, 1)
            padded = torch.full((self.crop, self.crop), self.void_id)
            padded[: ids.shape[0], : ids.shape[1]] = ids
            sample["label"] = _flip(padded, flip)
        return sample


class PositionSampler(Sampler[int]):
    """The positions that one process reads: its own contiguous part of each whole batch, endlessly."""

    def __init__(self, batch: int, rank: int, world: int, start: int = 0):
        self.batch, self.rank, self.world, self.start = batch, rank, world, start

    def __iter__(self) -> Iterator[int]:
        position = self.start + self.rank * self.batch
        while True:
            yield from range(position, position + self.batch)
            position += self.world * self.batch


def make_loader(crops: Crops, batch: int, rank: int, world: int, start: int, workers: int) -> Iterator[dict]:
    """This process's batches of `batch` samples, endlessly; `start` samples of the run are already used.

    Raises:
        ConfigError: as `crops` raises it, also from a worker process.
    """
    loader = DataLoader(
        _ErrorsAsValues(crops),
        batch_size=batch,
        sampler=PositionSampler(batch, rank, world, start),
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        collate_fn=collate,
        worker_init_fn=leave_signals_to_parent,
    )
    return raise_errors(loader)


class _ErrorsAsValues(Dataset):
    """Passes our own errors on as values: raised in a worker, they would arrive inside a traceback."""

    def __init__(self, crops: Crops):
        self.crops = crops

    def __getitem__(self, position: int) -> dict | SSGError:
        try:
            return self.crops[position]
        except SSGError as error:
            return error


def collate(samples: list[dict | SSGError]) -> dict | SSGError:
    """Samples as one batch, or the first error among them."""
    return next((sample for sample in samples if isinstance(sample, SSGError)), None) or default_collate(samples)


def raise_errors(batches: Iterable[dict | SSGError]) -> Iterator[dict]:
    """Pass batches on; raise an error that comes among them."""
    with kept_from_workers():
        begun = iter(batches)
    for batch in begun:
        if isinstance(batch, SSGError):
            raise batch
        yield batch


def sample_generators(seeds: Tensor) -> list[torch.Generator]:
    """One random generator per sample, so that a sample's degradation does not depend on its batch."""
    return [torch.Generator().manual_seed(int(seed)) for seed in seeds]


def _random_color(rng: np.random.Generator) -> Tensor:
    """A gray, or a colour whose channels are at an end of their range or between: (3, 1, 1) in [0, 1]."""
    if rng.random() < 0.3:
        values = np.full(3, rng.random())
    else:
        values = np.where(rng.random(3) < 0.6, rng.integers(2, size=3), rng.random(3))
    return torch.from_numpy(values).float().view(3, 1, 1)


def _random_box(size: tuple[int, int], side: float, rng: np.random.Generator) -> tuple[float, float, float, float]:
    left, top = (int(rng.integers(int(length - side) + 1)) for length in size)
    return left, top, left + side, top + side


def check_label(
    label: Image.Image, size: tuple[int, int], known_ids: set[int] | None, name: str, scale: int = 1
) -> int:
    """Check that a label map holds known ids, and belongs to a picture by its size.

    Args:
        label: from `tables.open_label`.
        size: of the picture, width and height.
        known_ids: the ids that it may hold; None: any.
        name: of the picture, for the message.
        scale: how many times the picture's size the label map may have, beside 1.

    Returns:
        By how much the label map is larger than the picture: 1 or `scale`.

    Raises:
        ConfigError: it has ids that are not a class, or another size.
    """
    ids = np.asarray(label)
    present = np.flatnonzero(np.bincount(ids.ravel())) if ids.dtype == np.uint8 else np.unique(ids)
    if known_ids is not None and (unknown := sorted({*present.tolist()} - known_ids)):
        raise ConfigError(
            f"the label map of {name} holds the id {unknown[0]}, which is neither one of the classes nor void. "
            "Correct the map, class_names or void_id."
        )
    for factor in {1, scale}:
        if label.size == (factor * size[0], factor * size[1]):
            return factor
    raise ConfigError(
        f"a label map of {label.size[0]}x{label.size[1]} belongs to the picture {name} of {size[0]}x{size[1]}; "
        f"it must have that size{f' or {scale} times it' if scale > 1 else ''}."
    )


def check_pair(hr: tuple[int, int], lr: tuple[int, int], scale: int, side: int, name: str) -> None:
    """Check by their sizes, (width, height), that an HR and an LR picture are a pair, from which crops can be cut.

    Args:
        hr, lr: HR is `scale` times LR, but for a remainder that LR does not show.
        side: of a crop of LR, pixels.
        name: of the picture, for the message.

    Raises:
        ConfigError: they are none, or LR is smaller than a crop.
    """
    if tuple(length // scale for length in hr) != lr or min(lr) < side:
        raise ConfigError(
            f"{name}: HR is {hr[0]}x{hr[1]} and LR {lr[0]}x{lr[1]}; HR must be {scale} times LR, and LR at least "
            f"{side} pixels a side. Correct the pair, scale or hr_crop."
        )


def _to_ids(label: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(label).astype(np.int64))


def _flip(x: Tensor, flip: int | np.integer) -> Tensor:
    return x.flip(-1) if flip else x


def _pad_edges(x: Tensor, side: int) -> Tensor:
    height, width = x.shape[-2:]
    return torch.nn.functional.pad(x, (0, side - width, 0, side - height), mode="replicate")
