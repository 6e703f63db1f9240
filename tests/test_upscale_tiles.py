"""Tiles: they cover, they join without a seam, and one that does not fit is done in parts."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from standins import ColorGuide, Repeat, make_model
from torch import nn

from ssg_hub.errors import CheckpointError, SSGError
from ssg_hub.networks.registry import build_generator
from ssg_hub.upscaling.engines.base import is_out_of_memory
from ssg_hub.upscaling.engines.choice import open_engine
from ssg_hub.upscaling.tiling import ALIGN, Feather, Grid, choose_tile, cross_fade, overlap_of, plan_grid, plan_spans
from ssg_hub.upscaling.upscale import upscale

PHOTO = np.random.default_rng(5).integers(0, 256, (70, 90, 3), dtype=np.uint8)


def array(image) -> np.ndarray:
    return np.asarray(image).astype(int)


def repeat(values: np.ndarray, times: int = 4) -> np.ndarray:
    return values.repeat(times, 0).repeat(times, 1)


def test_spans_cover_overlap_and_align():
    for tile, length in itertools.product((16, 17, 32, 48, 64, 100, 256), range(1, 700, 7)):
        spans = plan_spans(length, tile)
        assert spans[0][0] == 0 and spans[-1][1] == length
        assert all(stop - start <= tile and start % ALIGN == 0 for start, stop in spans)
        shared = [before[1] - after[0] for before, after in itertools.pairwise(spans)]
        assert all(overlap >= overlap_of(tile) for overlap in shared)
        # No pixel lies in three: Feather joins neighbours only.
        assert all(first[1] <= third[0] for first, third in zip(spans, spans[2:], strict=False))
        assert len(spans) <= -(-length // (tile - tile % ALIGN - overlap_of(tile)))
    assert plan_spans(10**6, None) == [(0, 10**6)]


def test_cross_fade_drops_the_outer_quarters():
    weights = cross_fade(64)
    assert weights[:16].max() == 0 and weights[-16:].min() == 1
    assert torch.allclose(weights + weights.flip(0), torch.ones(64))
    assert (weights.diff() >= 0).all()


@pytest.mark.parametrize("context", [0, 1])
@pytest.mark.parametrize("size", [(16, 70), (70, 16), (61, 103), (200, 33), (29, 43)])
def test_feather_gives_back_what_was_cut(size, context):
    """Every pixel is emitted once (and once more as context), and equals the canvas that the tiles were cut from."""
    canvas = torch.rand(2, *size, dtype=torch.float64)
    back, times = torch.full_like(canvas, torch.nan), torch.zeros(size, dtype=torch.int)
    grid = plan_grid(*size, 16 if size == (29, 43) else 32)

    def place(part, top, left):
        window = (slice(top, top + part.shape[1]), slice(left, left + part.shape[2]))
        assert not (known := back[:, *window]).isfinite().any() or context
        assert torch.equal(known[known.isfinite()], part[known.isfinite()])
        back[:, *window] = part
        times[window] += 1

    feather = Feather(grid, place, context)
    for row, column in grid:
        feather.add(canvas[:, slice(*grid.rows[row]), slice(*grid.columns[column])].clone(), row, column)
    assert torch.allclose(back, canvas, rtol=0, atol=1e-15)
    assert context or (times == 1).all()


def test_feather_fades_from_one_tile_to_the_next():
    grid = Grid([(0, 4)], [(0, 40), (24, 64)])
    whole = torch.empty(1, 4, 64)

    def place(part, top, left):
        whole[:, :, left : left + part.shape[2]] = part

    feather = Feather(grid, place)
    feather.add(torch.zeros(1, 4, 40), 0, 0)
    feather.add(torch.ones(1, 4, 40), 0, 1)
    assert torch.equal(whole[0, 0, 24:40], cross_fade(16))
    assert whole[..., :24].max() == 0 and whole[..., 40:].min() == 1


def test_what_the_feather_drops_is_what_the_grid_says():
    grid = Grid([(0, 40), (28, 64), (44, 90)], [(0, 30)])
    assert [grid.dropped(row, 0) for row in range(3)] == [(0, 0, 0, 3), (0, 0, 3, 5), (0, 0, 5, 0)]
    assert cross_fade(4 * 12)[: 4 * 3].max() == 0 < cross_fade(4 * 12)[4 * 3]


def test_a_generators_tiles_join_without_a_seam():
    """Against the untiled output: equal within a grey level everywhere, with zero-padding at the edges of each tile."""
    torch.manual_seed(0)
    generator = build_generator("rrdb", {"features": 8, "blocks": 1, "growth": 4})
    with torch.no_grad():
        generator.conv_last.bias += 0.5
    whole = array(upscale(make_model(generator), PHOTO, tile=None, color_fix=False).image)
    tiled = array(upscale(make_model(generator), PHOTO, tile=48, color_fix=False).image)
    assert whole.std() > 3  # there is something to see
    assert np.abs(whole - tiled).max() <= 1


class ZeroPadded(Repeat):
    """A generator that averages 5x5 pixels, and takes what is beyond its input for black, as convolutions do."""

    def forward(self, lr):
        return super().forward(F.avg_pool2d(lr, 5, stride=1, padding=2))


@pytest.mark.parametrize("tile", [None, 32])
@pytest.mark.parametrize("size", [(70, 50), (3, 2)])
def test_the_edges_of_a_picture_keep_their_colour(size, tile):
    result = upscale(make_model(ZeroPadded()), Image.new("RGB", size, (255, 200, 10)), tile=tile)
    assert set(result.image.get_flattened_data()) == {(255, 200, 10)}


class Cramped(Repeat):
    """A generator that runs out of memory when a tile is larger than `room` pixels a side."""

    def __init__(self, room: int, error: Exception):
        super().__init__()
        self.room, self.error = room, error

    def forward(self, lr):
        if max(lr.shape[-2:]) > self.room:
            self.seen.append(tuple(lr.shape[-2:]))
            raise self.error
        return super().forward(lr)


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory."),
    RuntimeError("MPS backend out of memory"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=repr)
def test_a_tile_that_does_not_fit_is_redone_in_parts(error):
    generator = Cramped(40, error)
    seen = []
    result = upscale(make_model(generator), PHOTO, tile=64, watch=seen.append)
    assert np.array_equal(array(result.image), repeat(PHOTO))
    counted = list(dict.fromkeys((progress.tiles_done, progress.tiles) for progress in seen if progress.tiles))
    assert counted == [(done, 4) for done in range(5)]  # the tiles as planned: only inside of one it went in parts
    too_large = [size for size in generator.seen if max(size) > 40]
    assert len(too_large) == 1, "later tiles start with what fitted"
    assert result.report["fallbacks"] == {"tile_halved": 1} and "Memory ran out 1" in result.report["notes"][-1]


def test_a_guide_that_does_not_fit_is_redone_in_parts():
    class CrampedGuide(ColorGuide):
        def forward(self, image):
            if max(image.shape[-2:]) > 150:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return super().forward(image)

    plain = upscale(make_model(guide=ColorGuide()), PHOTO, tile=64)
    result = upscale(make_model(guide=CrampedGuide()), PHOTO, tile=64)
    assert result.report["fallbacks"] == {"tile_halved": 1}
    assert np.array_equal(array(result.mask), array(plain.mask))


def test_memory_that_never_suffices_is_one_clear_line():
    generator = Cramped(0, torch.OutOfMemoryError("CUDA out of memory."))
    with pytest.raises(SSGError, match=r"^the generator ran out of memory on cpu with a tile of \d+ pixels") as caught:
        upscale(make_model(generator), PHOTO)
    assert "\n" not in str(caught.value)
    assert min(max(size) for size in generator.seen) >= 16


def test_other_errors_of_a_network_are_not_swallowed():
    with pytest.raises(RuntimeError, match="a bug"):
        upscale(make_model(Cramped(0, RuntimeError("a bug"))), PHOTO)
    assert not is_out_of_memory(ValueError("shape"))


class Overflowing(Repeat):
    """A generator that returns NaN in half precision where a tile is bright, and always when `broken`."""

    def __init__(self, broken: bool = False):
        super().__init__()
        self.broken = broken

    def forward(self, lr):
        sr = super().forward(lr)
        overflows = self.broken or (lr.dtype != torch.float32 and lr.max() > 0.5)
        return sr * torch.nan if overflows else sr


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_that_overflows_is_redone_in_float32(dtype):
    photo = np.zeros((32, 120, 3), np.uint8)
    photo[:, :40] = 255
    model = make_model(Overflowing())
    result = upscale(model, photo, tile=48, dtype=dtype)
    assert np.array_equal(array(result.image), repeat(photo))
    assert result.report["tiles"] == 3 and 1 <= result.report["fallbacks"]["float32_redo"] < 3
    assert model.generator.gain.dtype == torch.float32


def test_half_precision_without_an_operation_is_redone_in_float32(tiny_model):
    """A guide that reads at another size: torch has no antialiasing in half precision on a CPU."""
    tiny_model.guide.network.config.input_scale = 0.5
    plain, half = (tiny_model.upscale(PHOTO, tile=64, dtype=dtype, engine="torch") for dtype in ("float32", "bfloat16"))
    assert half.report["fallbacks"]["float32_redo"] >= half.report["tiles"]
    assert (array(plain.mask) == array(half.mask)).mean() > 0.9

    class Unfinished(Repeat):
        def forward(self, lr):
            raise NotImplementedError("nothing here yet")

    with pytest.raises(NotImplementedError, match="nothing here yet"):
        upscale(make_model(Unfinished()), PHOTO)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_nan_in_full_precision_names_the_checkpoint(dtype):
    with pytest.raises(CheckpointError, match="NaN"):
        upscale(make_model(Overflowing(broken=True)), PHOTO, dtype=dtype)


def test_nan_of_the_guide_names_the_checkpoint():
    with pytest.raises(CheckpointError, match="the guide returned NaN"):
        upscale(make_model(guide=ColorGuide(certainty=float("nan"))), PHOTO)


def test_the_real_networks_in_half_precision(tiny_model):
    full, half = (tiny_model.upscale(PHOTO, tile=64, dtype=dtype) for dtype in ("float32", "bfloat16"))
    assert np.abs(array(full.image) - array(half.image)).max() <= 4


def test_automatic_tiles_shrink_with_the_generators_width():
    def tile(generator_type, **config):
        with torch.device("meta"):
            generator = build_generator(generator_type, config)
        engine = open_engine(generator.to_empty(device="cpu"), None, "torch", "cpu")  # values that nobody needs
        return choose_tile(engine.budget, engine.bytes_per_pixel)

    assert tile("compact") == 256
    assert tile("rrdb", features=8, blocks=1, growth=4) == 256
    wide = tile("rrdb", features=256, blocks=1)
    assert 64 <= wide < 256 and wide % 32 == 0
    assert tile("rrdb", features=1024, blocks=1) == 64


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_gpu_gives_what_the_cpu_gives(tiny_model, dtype):
    here = tiny_model.upscale(PHOTO, tile=48)
    there = tiny_model.upscale(PHOTO, tile=48, device="cuda", dtype=dtype)
    assert there.report["device"] == "cuda:0"
    assert np.abs(array(here.image) - array(there.image)).max() <= (1 if dtype == "float32" else 4)
    assert next(tiny_model.parameters()).device.type == "cpu"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_that_is_really_full():
    class Greedy(Repeat):
        def forward(self, lr):
            free = torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
            share = lr.shape[-1] * lr.shape[-2] / 40**2  # more than everything, above 40x40 pixels
            torch.empty(int(free * share), dtype=torch.uint8, device=lr.device)
            return super().forward(lr)

    result = upscale(make_model(nn.Module.cuda(Greedy())), PHOTO, tile=64)
    assert result.report["fallbacks"] == {"tile_halved": 1}
    assert np.array_equal(array(result.image), repeat(PHOTO))
