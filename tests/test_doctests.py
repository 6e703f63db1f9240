"""The examples in all docstrings run, and print what they say."""

import doctest
import importlib
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(path for path in (ROOT / "ssg_hub").rglob("*.py") if "\n    >>> " in path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_examples_run(source):
    torch.manual_seed(0)
    name = ".".join(source.relative_to(ROOT).with_suffix("").parts)
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.attempted and not result.failed
