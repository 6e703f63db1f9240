"""Training pictures that are read as they come: Parquet or WebDataset shards, local or on the Hub, split by process.

No process holds the set. The order is a function of the seed and the epoch, and a sample's crop of the seed and the
number of samples before it, so that a resumed run sees what the uninterrupted one would have seen; it skips, without
decoding, what was used.
"""

from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from torch.utils.data import DataLoader, IterableDataset

from ..errors import ConfigError, ImageError, SSGError
from ..images.formats import READ
from ..processes.signals import leave_signals_to_parent
from .crops import Crops, collate, raise_errors

SHARDS = {"parquet": "parquet", "tar": "webdataset"}  # file suffix -> builder of `datasets`
IMAGE_NAMES = tuple(dict.fromkeys(("image", "jpg", "jpeg", "png", "webp", *(ending[1:] for ending in READ))))
SHUFFLE_BUFFER = 256  # rows; also the delay before the first sample
RECENT_ROWS = 8  # how many consecutive rows may be unreadable


def load_stream(entries: list[str], root: Path = Path()):
    """Join shards into one streamed table.

    Args:
        entries: folders of `*.parquet` or `*.tar` (WebDataset) shards, or Hub ids.
        root: folder against which relative entries are resolved.

    Returns:
        A `datasets.IterableDataset` with the undecoded column `image`.

    Raises:
        ConfigError: an entry without shards or without such a column.
        HubError: a Hub id, and HF_ENDPOINT is no address.
    """
    from datasets import concatenate_datasets

    return concatenate_datasets([_open_entry(entry, root) for entry in entries])


def _open_entry(entry: str, root: Path):
    from datasets import Image, load_dataset

    from ..storage.hub import check_endpoint

    folder = root / entry
    if folder.is_dir():
        found = [(kind, sorted(folder.rglob(f"*.{suffix}"))) for suffix, kind in SHARDS.items()]
        kind, files = max(found, key=lambda pair: len(pair[1]))
        if not files:
            raise ConfigError(f"{folder} holds no shards (*.parquet or *.tar). Leave `streaming` out to read pictures.")
        source = {"path": kind, "data_files": [str(file) for file in files]}
    elif entry.count("/") == 1:
        check_endpoint()
        source = {"path": entry}
    else:
        raise ConfigError(f"no folder of shards at {folder}. Check the path, or set data_root.")
    try:
        stream = load_dataset(**source, split="train", streaming=True)
        columns = stream.column_names or list(next(iter(stream.take(1)), {}))
    except Exception as error:  # each kind of shard, and the Hub, has its own
        raise ConfigError(
            f"{entry} cannot be read as shards ({_reason(error)}). Check files and connection."
        ) from error
    column = _find_pictures(columns, entry)
    stream = stream.select_columns([column])
    if column != "image":
        stream = stream.rename_column(column, "image")
    return stream.cast_column("image", Image(decode=False))


def _find_pictures(columns: list[str], entry: str) -> str:
    for name in IMAGE_NAMES:
        for column in columns:
            if column.split(".")[0] == name:
                return column
    known = " or ".join(IMAGE_NAMES)
    raise ConfigError(f"the shards of {entry} have no column {known}; they have {', '.join(columns)}.")


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


class StreamedCrops(IterableDataset):
    """This process's samples, endlessly: epochs follow each other, each in its own order.

    Args:
        crops: says what a sample is; its table is a stream from `load_stream`.
        rank, world: of the process.
        start: samples that this process has used before.
    """

    def __init__(self, crops: Crops, rank: int, world: int, start: int):
        from datasets.distributed import split_dataset_by_node

        self.crops, self.rank, self.world, self.start = crops, rank, world, start
        shuffled = crops.table.shuffle(seed=crops.seed, buffer_size=SHUFFLE_BUFFER)
        self.stream = split_dataset_by_node(shuffled, rank, world)

    def __iter__(self) -> Iterator[dict | SSGError]:
        """Samples; an error comes last, as a value: raised in a worker it would arrive inside a traceback."""
        try:
            yield from self._samples()
        except SSGError as error:
            yield error
        except Exception as error:  # damaged shards and broken connections each have their own
            yield ConfigError(
                f"the stream of source pictures broke off ({_reason(error)}). Check its shards and the connection, "
                "then continue with --resume latest."
            )

    def _samples(self) -> Iterator[dict]:
        count, epoch = 0, 0
        recent: deque[dict] = deque(maxlen=RECENT_ROWS)
        while True:
            self.stream.set_epoch(epoch)
            for row in self.stream:
                recent.appendleft(row)
                if count >= self.start:
                    yield self._make(recent, number=count * self.world + self.rank)
                count += 1
            if not recent:
                raise ConfigError("the stream holds no pictures. Check its shards.")
            epoch += 1

    def _make(self, recent: deque[dict], number: int) -> dict:
        """A sample of the newest row, or if that is unreadable, of the one before: rows and samples stay in step."""
        for skipped, row in enumerate(recent):
            rng = np.random.default_rng((self.crops.seed, 1, number))
            try:
                sample = self.crops.make(row, rng)
            except ImageError:
                continue
            return {**sample, "seed": int(rng.integers(2**62)), "skipped": skipped}
        raise ConfigError(f"{len(recent)} pictures of the stream in a row cannot be read. Check its shards.")


def make_stream_loader(crops: Crops, batch: int, rank: int, world: int, start: int, workers: int) -> Iterator[dict]:
    """This process's batches, without end; `start` samples of the whole run are already used.

    At most one worker: several would each read their own shards, and their order could not be resumed.
    """
    samples = StreamedCrops(crops, rank, world, start // world)
    loader = DataLoader(
        samples,
        batch_size=batch,
        num_workers=min(workers, 1),
        collate_fn=collate,
        worker_init_fn=leave_signals_to_parent,
    )
    return raise_errors(loader)
