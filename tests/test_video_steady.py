"""Steadiness: what averaging along the motion removes, what it must not touch, and what is reused."""

from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("cv2")

import cv2

from ssg_hub.video.motion import AWAY, Flow, follow, leads_inside, warp
from ssg_hub.video.steady import MOVING, STILL, Steady
from ssg_hub.video.stills import BLOCK, CHANGE, CONTEXT, Stills, can_reuse, plan_regions

SIGMA = 6.0
HEIGHT, WIDTH = 96, 128


def scene(seed: int = 0, size: tuple[int, int] = (HEIGHT + 64, WIDTH + 64), smoothness: float = 2.5) -> np.ndarray:
    """A smooth textured picture, (H, W, 3) float32 in levels."""
    random = np.random.default_rng(seed).normal(0, 1, (*size, 3)).astype(np.float32)
    texture = cv2.GaussianBlur(random, (0, 0), smoothness)
    return (128 + 45 * texture / texture.std()).clip(10, 245)


def noisy(frame: np.ndarray, seed: int) -> np.ndarray:
    frame = frame + np.random.default_rng(seed).normal(0, SIGMA, frame.shape)
    return np.rint(frame).clip(0, 255).astype(np.uint8)


def pan(number: int, step: tuple[float, float] = (1.3, 0.7), smoothness: float = 2.5) -> np.ndarray:
    """The clean frame of a pan with a known flow of `step` pixels (x, y) a frame."""
    shift = np.float32([[1, 0, 8 + step[0] * number], [0, 1, 8 + step[1] * number]])
    flags = cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(scene(smoothness=smoothness), shift, (WIDTH, HEIGHT), flags=flags)


def error(frame: np.ndarray, clean: np.ndarray) -> float:
    """Standard deviation of the difference away from the edges, in levels."""
    inner = (slice(12, -12), slice(12, -12))
    return float((frame.astype(np.float32) - clean)[inner].std())


def test_warping_follows_a_known_flow():
    values = scene()[:64, :64]
    flow = np.zeros((64, 64, 2), np.float32)
    flow[..., 0], flow[..., 1] = 3, -2
    moved = warp(values, flow, cv2.INTER_LINEAR)
    assert np.allclose(moved[10:50, 10:50], values[8:48, 13:53])


def test_a_flow_is_found_and_followed_through_several_frames():
    frames = [noisy(pan(number), number).astype(np.float32) for number in range(3)]
    find = Flow()
    one, other = find(frames[2], frames[1]), find(frames[1], frames[0])
    inner = (slice(12, -12), slice(12, -12))
    for flow, steps in ((one, 1), (follow(one, other), 2)):
        found = flow[inner][leads_inside(flow)[inner]]
        assert len(found) > 0.95 * flow[inner][..., 0].size
        assert np.linalg.norm(found - np.multiply((1.3, 0.7), steps), axis=-1).mean() < 0.15
    assert not leads_inside(one)[12:-12, -1].any()  # the camera goes right: this was not seen before


def test_what_has_no_counterpart_has_none_further_back():
    flow, nowhere = np.zeros((40, 50, 2), np.float32), np.full((40, 50, 2), AWAY, np.float32)
    assert leads_inside(flow).all()
    assert not leads_inside(follow(nowhere, flow)).any() and not leads_inside(follow(flow, nowhere)).any()


def test_a_still_scene_gains_by_every_frame_up_to_the_limit():
    steady, clean = Steady(), scene()[:HEIGHT, :WIDTH]
    for number in range(STILL + 8):
        frame, count = steady(noisy(clean, number))
    assert np.median(count) == STILL
    assert error(frame, clean) < 1.5 * SIGMA / np.sqrt(STILL) + 0.3
    assert not steady.cut


def test_a_pan_is_averaged_along_the_motion_and_stays_sharp():
    steady = Steady()
    for number in range(8):
        frame, count = steady(noisy(pan(number), number))
    assert np.median(count) == MOVING
    # Independent noise of four frames halves; bringing them into place adds little.
    assert error(frame, pan(7)) < 0.65 * SIGMA
    steady = Steady()
    for number in range(8):
        frame, _ = steady(np.rint(pan(number)).astype(np.uint8))
    assert error(frame, pan(7)) < 1.5


def test_a_long_pan_keeps_its_finest_detail():
    steady, clean = Steady(), pan(11, smoothness=1.2)
    for number in range(12):
        frame, _ = steady(noisy(pan(number, smoothness=1.2), number))

    def detail(values):
        values = values.astype(np.float32)
        return (values - cv2.GaussianBlur(values, (0, 0), 1.5))[12:-12, 12:-12]

    kept = (detail(frame) * detail(clean)).sum() / np.square(detail(clean)).sum()
    assert kept > 0.985  # a mean that is resampled in each frame keeps .967
    assert error(frame, clean) < 0.6 * SIGMA


def test_what_is_uncovered_in_a_pan_leaves_no_ghost():
    steady = Steady()
    for number in range(8):
        clean = pan(number)
        arrived = clean.copy()
        arrived[30:60, 60 - 6 * number : 90 - 6 * number] = (230, 30, 30)  # goes left while the camera goes right
        frame, _ = steady(noisy(arrived, number))
    uncovered = (slice(34, 56), slice(90 - 6 * 7 + 2, 90 - 6 * 6 - 2))
    assert abs((frame.astype(np.float32) - arrived)[uncovered].mean(axis=(0, 1))).max() < 3
    assert error(frame[:, :60], arrived[:, :60]) < SIGMA


def test_what_is_new_is_shown_as_it_is():
    steady, clean = Steady(), scene()[:HEIGHT, :WIDTH]
    for number in range(6):
        steady(noisy(clean, number))
    with_box = clean.copy()
    with_box[30:60, 40:80] = (230, 30, 30)
    arrived = noisy(with_box, 99)
    frame, count = steady(arrived)
    box = (slice(32, 58), slice(42, 78))
    assert np.array_equal(frame[box], arrived[box]) and (count[box] == 1).all()
    assert np.median(count) > 5 and not steady.cut
    gone, _ = steady(noisy(clean, 100))  # and leaves no ghost
    assert abs(float((gone.astype(np.float32) - clean)[box].mean())) < 1


def test_a_cut_starts_afresh():
    steady = Steady()
    for number in range(4):
        steady(noisy(scene(0)[:HEIGHT, :WIDTH], number))
    other = noisy(scene(5)[:HEIGHT, :WIDTH], 9)
    frame, count = steady(other)
    assert steady.cut and np.array_equal(frame, other) and (count == 1).all()


def test_a_fade_is_not_held_back():
    steady, clean = Steady(), scene()[:HEIGHT, :WIDTH]
    for number in range(8):
        arrived = noisy(clean * (1 - 0.1 * number), number)
        frame, _ = steady(arrived)
    assert abs(frame.astype(float).mean() - arrived.astype(float).mean()) < 1.5


def test_16_bits_stay_16_bits_and_tiny_frames_pass():
    steady, clean = Steady(), scene()[:HEIGHT, :WIDTH]
    for number in range(5):
        frame, _ = steady(noisy(clean, number).astype(np.uint16) * 257)
    assert frame.dtype == np.uint16 and error(frame / 257, clean) < 0.6 * SIGMA
    tiny = Steady()
    for number in range(3):
        frame, count = tiny(noisy(clean[:6, :9], number))
    assert frame.shape == (6, 9, 3) and count.shape == (6, 9)


def test_a_filter_that_is_taken_up_again_goes_on_exactly():
    frames = [noisy(pan(number), number) for number in range(6)]
    whole, first, second = Steady(), Steady(), Steady()
    expected = [whole(frame)[0] for frame in frames]
    for frame in frames[:3]:
        first(frame)
    second.arrays = {key: value.copy() for key, value in first.arrays.items()}
    assert all(np.array_equal(second(frame)[0], want) for frame, want in zip(frames[3:], expected[3:], strict=True))


def enlarge(lr: np.ndarray) -> np.ndarray:
    """A generator that looks at its neighbours: a 5x5 mean, doubled in size."""
    return cv2.blur(lr, (5, 5), borderType=cv2.BORDER_REPLICATE).repeat(2, 0).repeat(2, 1)


class Counting:
    """An upscaler that keeps the sizes it was given."""

    def __init__(self):
        self.seen = []

    def __call__(self, lr):
        self.seen.append(lr.shape[:2])
        return enlarge(lr)


def test_only_what_changed_is_computed_and_the_seams_are_exact():
    upscaler = Counting()
    stills = Stills(upscaler, Fraction(2))
    size = (256, 384)
    lr = np.rint(scene(size=size)).astype(np.uint8)
    count = np.full(size, 9, np.float32)
    stills(lr, count)
    again = stills(lr, count)
    assert upscaler.seen == [size] and np.array_equal(again, enlarge(lr))
    changed = lr.copy()
    changed[100:120, 200:230] = 255
    sr = stills(changed, count)
    assert np.array_equal(sr, enlarge(changed))
    assert len(upscaler.seen) == 2 and np.prod(upscaler.seen[1]) < 0.3 * np.prod(size)
    assert stills.frames == 3 and stills.reused == pytest.approx(1 + 1 - 64 * 128 / np.prod(size), abs=0.1)


def test_small_changes_do_not_add_up_unseen():
    upscaler = Counting()
    stills = Stills(upscaler, Fraction(2))
    count = np.full((64, 96), 9, np.float32)
    for level in range(100, 112):  # one level a frame
        sr = stills(np.full((64, 96, 3), level, np.uint8), count)
        assert abs(float(sr.mean()) - level) <= CHANGE
    assert 3 < len(upscaler.seen) < 12


def test_a_still_region_is_computed_again_when_it_is_much_cleaner():
    upscaler = Counting()
    stills = Stills(upscaler, Fraction(2))
    for number in range(1, 33):
        stills(np.full((64, 64, 3), 90, np.uint8), np.full((64, 64), number, np.float32))
    assert len(upscaler.seen) == 3  # 1, 4, 16


def test_regions_cover_every_change_with_a_margin_and_give_up_when_it_is_no_less_work():
    changed = np.zeros((270, 480), bool)
    nothing = changed.copy()
    assert plan_regions(changed, nothing) == []
    changed[40:60, 50:90] = changed[255:269, 470:479] = True
    boxes = plan_regions(changed, nothing)
    covered = np.zeros_like(changed)
    for left, top, right, bottom in boxes:
        assert left % BLOCK == top % BLOCK == 0 and right <= 480 and bottom <= 270
        covered[top:bottom, left:right] = True
    grown = cv2.dilate(changed.astype(np.uint8), np.ones((2 * BLOCK - 1,) * 2, np.uint8)).astype(bool)
    assert covered[grown].all() and CONTEXT >= BLOCK
    changed[::8] = True
    assert plan_regions(changed, nothing) is None


def test_a_little_light_that_goes_on_is_seen_wherever_it_is():
    for place in ((40, 40), (31, 31), (47, 63), (0, 0), (126, 190)):  # within a block, and where four meet
        stills = Stills(enlarge, Fraction(2))
        lr = np.full((128, 192, 3), 60, np.uint8)
        count = np.full((128, 192), 32, np.float32)
        stills(lr, count)
        lit = lr.copy()
        lit[place[0] : place[0] + 2, place[1] : place[1] + 2] = 255
        assert np.array_equal(stills(lit, count), enlarge(lit)) and stills.reused > 0.3


@pytest.mark.parametrize(
    ("size", "outscale", "ratio"),
    [((480, 270), 4, 4), ((480, 270), 2.5, Fraction(5, 2)), ((481, 270), 2.5, None), ((480, 270), 1.37, None)],
)
def test_reuse_needs_blocks_that_end_on_whole_pixels(size, outscale, ratio):
    assert can_reuse(size, outscale) == ratio
