"""The guide: gradients to the pixels, rebuilt from its configuration alone, clear errors."""

import copy
import json
import pickle

import pytest
import torch

from ssg_hub.errors import ConfigError
from ssg_hub.networks.building import sketch
from ssg_hub.networks.guide import Guide, check_reading, default_palette

LITE = {"model_type": "ssg_lite_segmentation", "width": 16, "id2label": {"0": "sky", "1": "road"}}


@pytest.fixture(params=["segformer", "lite0", "lite2"])
def config(request, tiny_guide_config):
    return tiny_guide_config if request.param == "segformer" else {**LITE, "trunk": request.param}


def test_gradients_flow_from_logits_to_pixels_but_not_into_a_frozen_guide(config):
    guide = Guide(config).eval().requires_grad_(False)
    picture = torch.rand(1, 3, 64, 48, requires_grad=True)
    guide(picture).square().mean().backward()
    assert picture.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in guide.parameters())


def test_rebuilt_from_json_gives_the_same_logits(config):
    guide = Guide(config).eval()
    copy = Guide(json.loads(json.dumps(guide.guide_config))).eval()
    copy.load_state_dict(guide.state_dict())
    picture = torch.rand(1, 3, 40, 56)
    assert torch.equal(guide(picture), copy(picture))
    assert (guide.labels, guide.palette) == (copy.labels, copy.palette)


def test_a_guide_that_has_read_can_be_pickled_and_copied(config):
    guide = Guide(config).eval().requires_grad_(False)
    picture = torch.rand(1, 3, 40, 56)
    logits, features = guide(picture), guide.features(picture)
    for copied in (pickle.loads(pickle.dumps(guide)), copy.deepcopy(guide)):
        assert torch.equal(copied(picture), logits)
        assert all(map(torch.equal, copied.features(picture), features))
        assert not copied.training and not any(parameter.requires_grad for parameter in copied.parameters())
        next(copied.parameters()).add_(1)  # its tensors are its own
    assert torch.equal(guide(picture), logits) and len(guide.features(picture)) == len(features)


def test_saved_folder_keeps_palette_scale_and_normalisation(config, tmp_path):
    changes = {"image_mean": [0.1, 0.2, 0.3], "input_scale": 0.5}
    guide = Guide({**config, **changes}).eval()
    guide.save_pretrained(tmp_path)
    loaded = Guide.from_pretrained(tmp_path)
    picture = torch.rand(1, 3, 64, 64)
    assert torch.equal(guide(picture), loaded(picture))
    assert loaded.palette == guide.palette


def test_normalisation_and_input_scale_are_inside(config):
    guide = Guide({**config, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}).eval()
    picture = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(guide(picture), guide.network((picture - 0.5) / 0.25).logits)
    half = Guide({**guide.guide_config, "input_scale": 0.5}).eval()
    assert half(picture).shape[-1] * 2 == guide(picture).shape[-1]


@pytest.mark.parametrize(
    ("processor", "mean", "std"),
    [
        ({"image_processor_type": "SegformerImageProcessor", "do_normalize": False, "image_mean": [0.5] * 3}, 0, 1),
        ({"image_processor_type": "BeitImageProcessor"}, 0.5, 0.5),  # its own default, not ImageNet's
        ({"feature_extractor_type": "BeitFeatureExtractor", "image_std": [0.25] * 3}, 0.5, 0.25),
        ({"image_processor_type": "MobileViTImageProcessor", "do_flip_channel_order": False}, 0, 1),  # normalises never
        ({"image_processor_type": "SomebodysProcessor", "image_mean": [0.5] * 3, "image_std": [0.25] * 3}, 0.5, 0.25),
        ({"image_processor_type": "SomebodysProcessor"}, 0, 1),
    ],
)
def test_pictures_are_normalised_as_the_image_processor_does_it(tiny_guide_config, tmp_path, processor, mean, std):
    Guide(tiny_guide_config).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    guide = Guide.from_pretrained(tmp_path)
    assert guide.mean.flatten().tolist() == [mean] * 3 and guide.std.flatten().tolist() == [std] * 3


def test_a_guide_that_reads_blue_before_red_is_refused(tiny_guide_config, tmp_path):
    Guide(tiny_guide_config).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"image_processor_type": "MobileViTImageProcessor"}')
    with pytest.raises(ConfigError, match="reads blue before red"):
        Guide.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "bert"}, "bert"),
        ({"model_type": "no-such-network"}, "no-such-network"),
        ({"id2label": {"0": "a", "2": "b"}}, "count 0, 1, 2"),
        ({"palette": [[0, 0, 0]]}, "palette"),
        ({"trunk": "lite9"}, "lite9.*lite0, lite2"),
    ],
)
def test_impossible_configurations_are_refused(changes, words):
    with pytest.raises(ConfigError, match=words):
        Guide({**LITE, **changes})


def test_a_configuration_is_tried_until_its_guide_could_read(config, monkeypatch):
    read, reads = Guide.forward, []

    def count(guide: Guide, image: torch.Tensor) -> torch.Tensor:
        reads.append(guide.labels)
        if len(reads) == 1:
            raise RuntimeError("no")
        return read(guide, image)

    monkeypatch.setattr(Guide, "forward", count)
    monkeypatch.setattr("ssg_hub.networks.guide._tried", set())
    one, other = (sketch(lambda c=changed: Guide(c)) for changed in (config, {**config, "input_scale": 0.5}))
    with pytest.raises(ConfigError, match=r"cannot read a picture of 64x64 pixels \(RuntimeError: no\)"):
        check_reading(one)
    for guide in (one, one, other, one, other):
        check_reading(guide)
    assert len(reads) == 3


def test_default_palette_has_distinct_colours():
    assert len(set(default_palette(40))) == 40
