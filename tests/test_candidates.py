"""The measure of a mesh, by which candidates are told apart beside LPIPS."""

import pytest
import torch

from benchmarks.candidates import unevenness


@pytest.fixture
def noise():
    return torch.rand(1, 3, 130, 130, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("columns", [slice(None, None, 4), slice(None)])
@pytest.mark.parametrize("moved", [0, 1, 3])
def test_a_mesh_is_found_wherever_the_grid_begins(noise, columns, moved):
    """A pixel in sixteen with twice the contrast; and rows that have it, which people see as dashes."""
    meshed = noise.clone()
    meshed[..., ::4, columns] = 0.5 + 2 * (meshed[..., ::4, columns] - 0.5)
    assert unevenness(meshed[..., moved:, moved:]).mean() > 2 * unevenness(noise).mean()


def test_a_checkerboard_is_a_mesh_though_its_detail_has_one_size(noise):
    board = 0.1 * torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(65, 65)
    weak, colors = 0.5 + 0.2 * (noise - 0.5), torch.tensor([2.0, -1.0, -1.0]).view(3, 1, 1)
    for mesh in (board, board * colors):  # the second has no gray
        assert unevenness(weak + mesh).mean() > 10 * unevenness(weak).mean()
