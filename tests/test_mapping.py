"""Upscaling as a function of examples: in memory, streamed, and from one data set on a Hub to another."""

import pickle

import numpy as np
import pytest
from datasets import Dataset, Image
from datasets.fingerprint import Hasher
from PIL import Image as PILImage
from standins import ColorGuide, make_model

from ssg_hub import UpscaleExamples
from ssg_hub.errors import ConfigError, ImageError
from ssg_hub.images.picture import Picture
from ssg_hub.images.writing import write_picture
from ssg_hub.upscaling.upscale import upscale

PHOTOS = [PILImage.fromarray(np.random.default_rng(i).integers(0, 256, (9, 7 + i, 3), np.uint8)) for i in range(3)]
TOKEN = "hf_ann"


class Model:
    """An upscaler without weights."""

    labels = ColorGuide.labels

    def upscale(self, picture, **options):
        return upscale(make_model(guide=ColorGuide()), picture, **options)


def photos() -> Dataset:
    return Dataset.from_dict({"image": PHOTOS, "name": ["a", "b", "c"]}).cast_column("image", Image())


@pytest.mark.parametrize("streamed", [False, True])
def test_a_data_set_gets_the_columns(streamed):
    data = photos().to_iterable_dataset() if streamed else photos()
    mapped = list(data.map(UpscaleExamples(Model(), mask="mask", outscale=2)))
    for photo, example in zip(PHOTOS, mapped, strict=True):
        expected = Model().upscale(photo, outscale=2)
        assert np.array_equal(example["upscaled"], expected.image)
        assert np.array_equal(example["mask"], expected.mask)
    assert [example["name"] for example in mapped] == ["a", "b", "c"]


def test_a_batch_gets_what_its_examples_get(tmp_path):
    function = UpscaleExamples(Model(), into="image", mask="mask", outscale=2)
    one_by_one, batched = photos().map(function), photos().map(function, batched=True, batch_size=2)
    for single, example in zip(one_by_one, batched, strict=True):
        assert np.array_equal(example["image"], single["image"]) and np.array_equal(example["mask"], single["mask"])
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nno picture")
    added = UpscaleExamples(Model(), keep_going=True)({"image": [PHOTOS[0], str(tmp_path / "bad.png")]})
    assert added["upscaled"][0].size == (28, 36) and added["upscaled"][1] is None
    assert added["upscale_error"][0] is None and "damaged" in added["upscale_error"][1]


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("format", ["numpy", "torch"])
@pytest.mark.parametrize("chosen", [[0, 1, 2], [1, 1, 1]])  # of several sizes, and of one
def test_a_data_set_with_a_format_is_upscaled_too(format, batched, chosen):
    data = photos().select(chosen)
    mapped = data.with_format(format).map(UpscaleExamples(Model(), outscale=2), batched=batched, batch_size=2)
    for number, example in zip(chosen, mapped.with_format(None), strict=True):
        assert np.array_equal(example["upscaled"], Model().upscale(PHOTOS[number], outscale=2).image)


def test_all_options_of_upscale_are_handed_on():
    options = {"tile": 32, "strength": 0.5, "denoise": 1, "engine": "torch", "device": "cpu", "max_pixels": 100}
    upscaled = UpscaleExamples(Model(), **options)({"image": PHOTOS[0]})["upscaled"]
    assert np.array_equal(upscaled, Model().upscale(PHOTOS[0], **options).image)


def test_one_column_can_be_replaced():
    mapped = photos().map(UpscaleExamples(Model(), into="image"), remove_columns="name")
    assert mapped.column_names == ["image"] and mapped[0]["image"].size == (28, 36)


def test_undecoded_files_are_read_with_all_that_they_hold(tmp_path):
    write_picture(Picture(np.full((3, 5), 300, np.uint16)), tmp_path / "deep.png")
    data = Dataset.from_dict({"image": [str(tmp_path / "deep.png")]}).cast_column("image", Image(decode=False))
    assert UpscaleExamples(Model())(data[0])["upscaled"].mode == "I;16"


def test_pictures_that_fail_end_the_run_or_are_named(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nno picture")
    PHOTOS[0].save(tmp_path / "good.png")
    paths = [str(tmp_path / name) for name in ("good.png", "bad.png")]
    data = Dataset.from_dict({"image": paths}).cast_column("image", Image(decode=False))
    with pytest.raises(ImageError, match="damaged"):
        UpscaleExamples(Model())(data[1])
    good, bad = data.map(UpscaleExamples(Model(), keep_going=True))
    assert good["upscale_error"] is None and good["upscaled"].size == (28, 36)
    assert bad["upscaled"] is None and "damaged" in bad["upscale_error"]


def test_what_is_impossible_is_refused_at_once():
    with pytest.raises(ConfigError, match="outscale is 99"):
        UpscaleExamples("embedded", outscale=99)
    with pytest.raises(ConfigError, match="UpscaleExamples got unknown option 'outscael'; known are .*mask.*outscale"):
        UpscaleExamples("embedded", outscael=2)
    with pytest.raises(ConfigError, match="unknown option 'segment'"):
        UpscaleExamples("embedded", segment=False)
    with pytest.raises(ConfigError, match="must differ"):
        UpscaleExamples("embedded", mask="image")
    with pytest.raises(ConfigError, match="no column 'photo'; this example has image"):
        UpscaleExamples(Model(), image="photo")({"image": PHOTOS[0]})
    with pytest.raises(ConfigError, match="Leave out `input_columns`"):
        photos().map(UpscaleExamples(Model()), input_columns="image")


def test_a_model_by_name_is_loaded_where_it_runs():
    """It does not travel to other processes, and what is done is found again after it was loaded."""
    function = UpscaleExamples("embedded")
    before = Hasher.hash(function)
    assert function({"image": PHOTOS[0]})["upscaled"].size == (28, 36)
    assert Hasher.hash(function) == before
    assert len(pickle.dumps(function)) < 1000


def test_a_folder_can_be_given_as_a_path(saved):
    by_path, by_name = UpscaleExamples(saved), UpscaleExamples(str(saved))
    assert by_path({"image": PHOTOS[0]})["upscaled"].size == (28, 36)
    assert Hasher.hash(by_path) == Hasher.hash(by_name)


def upload_photos(repo_id: str) -> dict:
    """In the client's process: what a user does once."""
    photos().push_to_hub(repo_id, token=TOKEN)
    return {}


def upscale_photos(source: str, target: str) -> dict:
    """In the client's process: the example of docs/performance.md."""
    from datasets import load_dataset

    photos = load_dataset(source, split="train", token=TOKEN)
    larger = photos.map(UpscaleExamples("embedded", into="image", outscale=2))
    larger.push_to_hub(target, token=TOKEN)
    back = load_dataset(target, split="train", token=TOKEN)
    return {"sizes": [list(example["image"].size) for example in back], "names": list(back["name"])}


def test_from_one_data_set_on_the_hub_to_another(hub, client):
    hub.users[TOKEN] = "ann"
    assert client.run(upload_photos, repo_id="ann/photos") == {}
    done = client.run(upscale_photos, source="ann/photos", target="ann/photos_x2")
    assert done == {"sizes": [[14, 18], [16, 18], [18, 18]], "names": ["a", "b", "c"]}
    assert any(name.endswith(".parquet") for name in hub.files("ann/photos_x2"))
