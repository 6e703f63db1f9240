"""Streamed shards: no process holds the set, none sees another's rows, and a resumed one goes on where it stopped."""

import io
import tarfile

import pytest
from datasets import Dataset
from PIL import Image

from ssg_hub.data.crops import SourceCrops
from ssg_hub.data.streams import load_stream, make_stream_loader
from ssg_hub.errors import ConfigError


def encoded(red: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), (red, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def no_sleep(monkeypatch):
    """`datasets` sleeps 5 s at the end of each pass, for its threads; a pass is twelve small pictures here."""
    monkeypatch.setattr("datasets.config.SLEEP_TIME_ON_THREADS_SHUTDOWN", 0, raising=False)


@pytest.fixture(params=["parquet", "webdataset"])
def shards(request, tmp_path):
    """Four shards of three pictures; a picture's red is its number times ten."""
    for shard in range(4):
        pictures = [encoded(10 * (3 * shard + index)) for index in range(3)]
        if request.param == "parquet":
            table = Dataset.from_dict({"image": [{"bytes": data, "path": None} for data in pictures]})
            table.to_parquet(tmp_path / f"{shard}.parquet")
        else:
            with tarfile.open(tmp_path / f"{shard}.tar", "w") as tar:
                for index, data in enumerate(pictures):
                    entry = tarfile.TarInfo(f"{shard}_{index}.png")
                    entry.size = len(data)
                    tar.addfile(entry, io.BytesIO(data))
    return tmp_path


def samples(folder, count, rank=0, world=1, start=0, workers=0):
    crops = SourceCrops(load_stream(["."], folder), 32, seed=5)
    loader = iter(make_stream_loader(crops, 2, rank, world, start, workers))
    batches = [next(loader) for _ in range(count // 2)]
    reds = [round(float(hr[0].mean()) * 25.5) for batch in batches for hr in batch["hr"]]
    return list(zip(reds, [seed for batch in batches for seed in batch["seed"].tolist()], strict=True))


def test_an_epoch_is_every_picture_once_and_the_next_is_in_another_order(shards):
    reds = [red for red, _ in samples(shards, 24)]
    assert sorted(reds[:12]) == sorted(reds[12:]) == list(range(12))
    assert reds[:12] != reds[12:]


def test_processes_share_the_shards(shards):
    parts = [{red for red, _ in samples(shards, 6, rank, 2)} for rank in range(2)]
    assert parts[0] | parts[1] == set(range(12)) and not parts[0] & parts[1]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("start", [4, 16])
def test_a_resumed_stream_goes_on_where_it_stopped(shards, start, workers):
    assert samples(shards, 6, start=start, workers=workers) == samples(shards, start + 6, workers=workers)[start:]


def test_an_unreadable_row_is_counted_and_replaced(tmp_path):
    rows = [{"bytes": encoded(50), "path": None}, {"bytes": b"no picture", "path": None}]
    Dataset.from_dict({"image": rows}).to_parquet(tmp_path / "0.parquet")
    crops = SourceCrops(load_stream(["."], tmp_path), 32, seed=0)
    loader = iter(make_stream_loader(crops, 2, 0, 1, 2, 0))
    batch = next(loader)  # one epoch: the good row and the bad one
    assert (batch["skipped"] > 0).sum() == 1
    assert [round(float(hr[0].mean()) * 255) for hr in batch["hr"]] == [50, 50]


@pytest.mark.parametrize("content", [None, "wrong column"])
def test_shards_that_cannot_serve_are_explained(tmp_path, content):
    if content:
        Dataset.from_dict({"text": ["a"]}).to_parquet(tmp_path / "0.parquet")
    with pytest.raises(ConfigError, match="no shards" if content is None else "no column image"):
        load_stream(["."], tmp_path)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_shard_that_is_damaged_further_on_ends_with_a_sentence(tmp_path, workers):
    for name in "01":
        rows = [{"bytes": encoded(10 * index), "path": None} for index in range(4)]
        Dataset.from_dict({"image": rows}).to_parquet(tmp_path / f"{name}.parquet")
    stream = load_stream(["."], tmp_path)
    (tmp_path / "1.parquet").write_bytes((tmp_path / "1.parquet").read_bytes()[:200])
    loader = make_stream_loader(SourceCrops(stream, 32, seed=0), 2, 0, 1, 0, workers)
    with pytest.raises(ConfigError, match="stream of source pictures broke off.*resume latest") as caught:
        for _ in range(8):
            next(loader)
    assert "Traceback" not in str(caught.value)
    (tmp_path / "0.parquet").write_bytes(b"no shard")
    with pytest.raises(ConfigError, match="cannot be read as shards"):
        load_stream(["."], tmp_path)
