"""Small parts of the benchmarks: boxes on skies, and a generator that is deepened without a change."""

import numpy as np
import torch

from benchmarks import deepen
from benchmarks.skies import __main__ as skies
from ssg_hub.networks.compact import SRVGGNetCompact


def test_boxes_are_cut_in_fractions_of_the_picture():
    ids = np.arange(200).reshape(10, 20)
    assert skies.Region("sky", 0.5, 0.1, 0.6, 0.3).cut(ids).tolist() == [30, 31, 50, 51]


def test_each_photograph_with_boxes_is_in_one_part():
    parts = [skies.read_regions(part) for part in skies.PARTS]
    assert not parts[0].keys() & parts[1].keys() and abs(len(parts[0]) - len(parts[1])) <= 1
    boxes = [box for part in parts for regions in part.values() for box in regions]
    assert {box.kind for box in boxes} == {kind for kind, _ in skies.COLUMNS}
    assert all(0 <= box.left < box.right <= 1 and 0 <= box.top < box.bottom <= 1 for box in boxes)


def test_a_deeper_generator_computes_the_same():
    torch.manual_seed(0)
    shallow = SRVGGNetCompact(features=8, convs=3)
    lr = torch.rand(1, 3, 12, 10)
    for convs in (3, 4, 8):
        deeper = deepen.deepen(shallow, convs)
        assert deeper.options["convs"] == convs
        assert torch.allclose(deeper(lr), shallow(lr), atol=1e-6)
