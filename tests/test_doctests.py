"""The examples in the docstrings of the public API run, and print what they say."""

import doctest
import importlib

import pytest
import torch

MODULES = [
    "ssg_hub.loading",
    "ssg_hub.model",
    "ssg_hub.networks.guide",
    "ssg_hub.networks.registry",
    "ssg_hub.saved_model",
    "ssg_hub.storage.card",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    torch.manual_seed(0)
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.attempted and not result.failed
