"""Mask, uncertainty, drift and overlay: known answers from a guide that reads colours."""

import numpy as np
import pytest
import torch
from PIL import Image
from standins import ColorGuide, Repeat, make_model

from ssg_hub.errors import ConfigError
from ssg_hub.upscaling.overlays import draw_overlay
from ssg_hub.upscaling.soft_masks import MaskSheet, Taps, parse_strength, total_variation
from ssg_hub.upscaling.tiling import Feather, Grid
from ssg_hub.upscaling.upscale import upscale

STRIPES = np.zeros((48, 96, 3), np.uint8)  # a third each of red, green and blue, on whole cells
for channel in range(3):
    STRIPES[:, 32 * channel : 32 * (channel + 1), channel] = 255


def array(image) -> np.ndarray:
    return np.asarray(image).astype(int)


@pytest.mark.parametrize("tile", [None, 16, 32])
@pytest.mark.parametrize("outscale", [1.5, 4, 6])
def test_mask_names_what_is_there(tile, outscale):
    result = upscale(make_model(guide=ColorGuide()), STRIPES, tile=tile, outscale=outscale)
    ids, third = array(result.mask), int(32 * outscale)
    assert result.mask.mode == "P" and result.mask.size == result.image.size
    margin = int(outscale) + 1  # half a cell on both sides of an edge
    for channel in range(3):
        inside = ids[:, channel * third + margin : (channel + 1) * third - margin]
        assert (inside == channel).all()
    assert result.mask.getpalette()[:12] == [200, 0, 0, 0, 200, 0, 0, 0, 200, 0, 0, 0]
    assert {entry["name"] for entry in result.labels[:3]} == set(ColorGuide.labels)
    for entry in result.labels[:3]:
        assert entry["share"] == pytest.approx(1 / 3, abs=0.02)
        assert tuple(entry["color"]) == ColorGuide.palette[entry["id"]]
    assert sum(entry["share"] for entry in result.labels) == pytest.approx(1)


def test_shares_count_the_masks_pixels():
    result = upscale(make_model(guide=ColorGuide(certainty=4)), STRIPES[:, 10:70], tile=16)
    ids, counts = np.unique(array(result.mask), return_counts=True)
    shares = {entry["id"]: entry["share"] for entry in result.labels}
    assert shares == {int(i): count / array(result.mask).size for i, count in zip(ids, counts, strict=True)}
    assert [entry["share"] for entry in result.labels] == sorted(shares.values(), reverse=True)


@pytest.mark.parametrize("outscale", [2, 3.3, 4])
def test_tiles_do_not_show_in_the_mask(outscale):
    smooth = np.asarray(Image.fromarray(STRIPES[::12, ::12]).resize((150, 110), Image.Resampling.BICUBIC))
    model = make_model(guide=ColorGuide(certainty=3))
    whole = upscale(model, smooth, tile=None, outscale=outscale)
    tiled = upscale(model, smooth, tile=32, outscale=outscale)
    assert len(np.unique(array(whole.mask))) == 4
    assert np.array_equal(array(whole.mask), array(tiled.mask))
    assert np.abs(array(whole.drift) - array(tiled.drift)).max() <= 1


def test_pixels_of_low_confidence_are_uncertain():
    """Where red and blue are equal, the guide gives each a half: under 0.6, above 0.4."""
    photo = STRIPES.copy()
    photo[:24] = (128, 0, 128)
    model = make_model(guide=ColorGuide())
    marked = upscale(model, photo, uncertain_below=0.6)
    assert (array(marked.mask)[:88] == 3).all() and (array(marked.mask)[104:, :100] == 0).all()
    entry = next(entry for entry in marked.labels if entry["id"] == 3)
    assert entry["name"] == "uncertain" and marked.report["uncertain_id"] == 3
    assert not (array(upscale(model, photo, uncertain_below=0.4).mask)[:88] == 3).any()
    assert (array(upscale(model, photo, uncertain_below=0.0).mask) < 3).all()


@pytest.mark.parametrize("tile", [None, 16])
def test_readings_hold_the_likeliest_class_and_its_probability_where_the_mask_names_none_too(tile):
    """exp(c) against two classes of exp(0), and a half against a half."""
    photo = STRIPES.copy()
    photo[:24] = (128, 0, 120)  # more red than blue, but hardly
    certainty = 3.0
    result = upscale(make_model(guide=ColorGuide(certainty)), photo, outscale=3, tile=tile, uncertain_below=0.6)
    confidence = array(result.confidence)
    assert result.confidence.mode == "L" and result.confidence.size == result.image.size == (288, 144)
    sure = np.exp(certainty) / (np.exp(certainty) + 2)
    assert np.abs(confidence[84:, 12:84] - round(255 * sure)).max() <= 1
    scores = np.exp(certainty * np.array([128, 0, 120]) / 255)
    assert np.abs(confidence[:60] - round(255 * scores[0] / scores.sum())).max() <= 1
    ids = array(result.readings[0])
    assert (ids[:20] == 0).all() and (array(result.mask)[:60] == 3).all()
    assert (ids[28:, 70:] == 2).all() and result.readings[0].size == result.drift_map[0].size
    assert upscale(make_model(), photo).confidence is None


class Painter(Repeat):
    """A generator that invents: it turns what is green into blue."""

    def forward(self, lr):
        sr = super().forward(lr)
        return sr[:, [0, 2, 1]] * (sr[:, 1:2] > 0.5) + sr * (sr[:, 1:2] <= 0.5)


def test_drift_is_where_the_generator_changed_the_meaning():
    result = upscale(make_model(Painter(), ColorGuide()), STRIPES, tile=32, color_fix=False)
    drift = array(result.drift)
    assert result.drift.mode == "L" and result.drift.size == result.image.size
    assert drift[:, 32 * 4 + 16 : 64 * 4 - 16].min() >= 254
    assert max(drift[:, : 32 * 4 - 16].max(), drift[:, 64 * 4 + 16 :].max()) <= 1
    assert result.report["drift_mean"] == pytest.approx(1 / 3, abs=0.03)
    assert (array(result.mask)[:, 32 * 4 + 8 : 64 * 4 - 8] == 2).all()


def test_drift_and_mask_describe_the_picture_as_delivered():
    """With the generator held back to a tenth, green is still read as green."""
    model = make_model(Painter(), ColorGuide())
    held = upscale(model, STRIPES, strength=0.1)
    assert (array(held.mask)[:, 32 * 4 + 8 : 64 * 4 - 8] == 1).all() and array(held.drift).max() < 30
    assert array(upscale(model, STRIPES, strength=0).drift).max() == 0


def test_total_variation_of_known_beliefs():
    before = torch.tensor([1.0, 0.5, 0.2]).view(1, 1, 3)
    after = torch.tensor([0.0, 0.5, 0.6]).view(1, 1, 3)
    drift = total_variation(torch.cat((before, 1 - before)), torch.cat((after, 1 - after)))
    assert torch.allclose(drift.flatten(), torch.tensor([1.0, 0.0, 0.4]))


@pytest.mark.parametrize("step", [1.0, 1.5, 2.9, 4.0, 8.0])
def test_blocks_of_soft_labels_join_as_one(step):
    """A linear ramp over cells, in blocks with one cell of context, is the same linear ramp over pixels."""
    cells, length = 30, round(30 * step)
    ramp = torch.arange(cells, dtype=torch.float32)
    pieces = []
    grid = Grid([(0, 1)], [(0, 12), (8, 20), (16, 30)])
    feather = Feather(
        grid,
        lambda part, top, left: pieces.append(Taps(left, part.shape[2], step, length).apply(part, 2)),
        context=1,
    )
    for column, (start, stop) in enumerate(grid.columns):
        feather.add(ramp[start:stop].view(1, 1, -1).clone(), 0, column)
    joined = torch.cat(pieces, 2).flatten()
    expected = ((torch.arange(length) + 0.5) / step - 0.5).clamp(0, cells - 1)
    assert len(joined) == length and torch.allclose(joined, expected, atol=1e-4)


def test_a_mask_of_many_classes_in_bands():
    """More classes and columns than are interpolated at a time."""
    soft = torch.rand(150, 20, 40).softmax(0)
    sheet = MaskSheet((320, 160), (8.0, 8.0), 150, 0.0)
    sheet.put(soft, 0, 0)
    expected = torch.nn.functional.interpolate(soft[None], scale_factor=8, mode="bilinear")[0].argmax(0)
    assert (torch.from_numpy(sheet.ids).long() == expected).float().mean() > 0.9999  # ties may fall either way
    assert sheet.counts.sum() == 320 * 160


def test_strength_in_its_forms():
    labels = ["sky", "car"]
    assert parse_strength(0.5, labels) == 0.5 and parse_strength(1, []) == 1.0 and parse_strength({}, []) == 1.0
    assert parse_strength({"sky": 0.25, "car": 0.25}, labels) == 0.25
    assert torch.equal(parse_strength({"car": 0.25}, labels), torch.tensor([1.0, 0.25]))
    assert parse_strength(np.float32(0.5), labels) == 0.5


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan"), None, "half"])
def test_an_impossible_overlay_is_refused(alpha):
    with pytest.raises(ConfigError, match="alpha is .*number from 0 to 1"):
        draw_overlay(Image.new("RGB", (4, 4)), Image.new("P", (4, 4)), uncertain=1, alpha=alpha)


def test_overlay_from_the_picture_alone_to_the_mask_alone():
    result = upscale(make_model(guide=ColorGuide()), STRIPES, uncertain_below=0.0)
    assert np.array_equal(array(result.overlay(0.0)), array(result.image))
    assert np.array_equal(array(result.overlay(1.0)), array(result.mask.convert("RGB")))
    half = (array(result.image) + array(result.mask.convert("RGB"))) / 2
    assert np.abs(array(result.overlay()) - half).max() <= 1


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "I;16"])
def test_overlay_hatches_the_uncertain(mode):
    image = Image.new(mode, (80, 1100))  # taller than is drawn at a time
    mask = Image.new("P", (80, 1100))
    mask.putpalette([10, 20, 30, 0, 0, 0])
    mask.paste(1, (0, 0, 40, 1100))
    drawn = array(draw_overlay(image, mask, uncertain=1, alpha=1.0))
    assert (drawn[:, 40:] == (10, 20, 30)).all()
    hatched = drawn[:, :40]
    assert set(np.unique(hatched)) == {0, 255} and 0.4 < (hatched == 255).mean() < 0.6
    assert np.array_equal(hatched[8:, :32], hatched[:-8, 8:]) or np.array_equal(hatched[1:, :-1], hatched[:-1, 1:])
