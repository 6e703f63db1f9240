"""Upscaling as a function of examples, for `datasets.Dataset.map`: collections that are in no file system."""

import sys
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

from .errors import ConfigError, SSGError, check_type
from .loading import load_networks
from .upscaling.options import Options

if TYPE_CHECKING:
    from .upscaler import Upscaler

ERROR = "upscale_error"


class UpscaleExamples:
    """A function from an example to what is added to it, for `map` of a data set, streamed ones included.

    Give the model by its name where several processes map: each then loads its own once, and the fingerprint by which
    `datasets` finds finished work depends on the name and the options alone. With `batched=True` the results of a batch
    are in memory together; choose a `batch_size` of a few pictures.

    Args:
        model: a model, or a name for `ssg_hub.load_model`.
        image: the column with the picture, decoded or not (`datasets.Image(decode=False)` keeps 16 bits and profiles),
            or as the formats "numpy" and "torch" have it.
        into: the column for the result; may be `image`.
        mask: the column for the mask of class ids, or None for no mask.
        keep_going: a picture that cannot be upscaled gives None, and the reason in the column "upscale_error"; else it
            ends the run.
        options: of `model.upscale`, except `segment`: `mask` decides that.

    Raises:
        ConfigError: columns of the same name, an option that is unknown or impossible, or an argument of another type.

    >>> from PIL import Image
    >>> from ssg_hub import UpscaleExamples
    >>> upscale = UpscaleExamples("embedded", outscale=2)
    >>> upscale({"image": Image.new("RGB", (8, 6))})["upscaled"].size
    (16, 12)
    """

    def __init__(
        self,
        model: "Upscaler | str | Path",
        image: str = "image",
        into: str = "upscaled",
        mask: str | None = None,
        keep_going: bool = False,
        **options: Any,
    ):
        if not isinstance(model, (str, Path)) and not hasattr(model, "upscale"):
            raise ConfigError(f"the model is of type {type(model).__name__}; an SSGModel or its name is needed.")
        for name, column in (("image", image), ("into", into)):
            check_type(name, column, str, "the name of a column")
        check_type("mask", mask, (str, NoneType), "the name of a column")
        check_type("keep_going", keep_going, bool, "True or False")
        also = ("model", "image", "into", "mask", "keep_going", "watch", "max_pixels")
        Options.gather("UpscaleExamples", options, also, segment=mask is not None)  # refuses what is wrong at once
        if mask in (image, into) or ERROR in (image, into, mask):
            raise ConfigError(f"the columns {image}, {into} and {mask} must differ, and none be {ERROR}. Rename one.")
        self.image, self.into, self.mask, self.keep_going, self.options = image, into, mask, keep_going, options
        self._added = [into, *filter(None, [mask]), *[ERROR] * keep_going]
        self._given = str(model) if isinstance(model, Path) else model
        self._model = None if isinstance(model, (str, Path)) else model

    def __call__(self, example: Mapping[str, Any]) -> dict[str, Any]:
        """The new columns of an example, or, of a batch (`map(…, batched=True)`), a list for each.

        Raises:
            ConfigError: no example, no such column, or a mask is wanted of a model without a guide.
            SSGError: as `model.upscale`, unless `keep_going`.
        """
        if not isinstance(example, Mapping):
            raise ConfigError(
                f"got a {type(example).__name__}; an example is a dict of columns. Leave out `input_columns` of map."
            )
        if self.image not in example:
            raise ConfigError(f"there is no column {self.image!r}; this example has {', '.join(example)}.")
        if self.mask and not self._load().labels:
            raise ConfigError("this model has no guide, so there is no mask. Leave out `mask`.")
        pictures = example[self.image]
        if not _is_batch(pictures):
            return self._upscale(pictures)
        done = [self._upscale(picture) for picture in pictures]
        return {name: [added[name] for added in done] for name in self._added}

    def _upscale(self, picture: Any) -> dict[str, Any]:
        """The new columns for one picture."""
        try:
            result = self._load().upscale(_find_source(picture), segment=self.mask is not None, **self.options)
        except ConfigError:
            raise
        except SSGError as error:
            if not self.keep_going:
                raise
            return dict.fromkeys(self._added) | {ERROR: str(error)}
        added = {self.into: result.image, self.mask: result.mask, ERROR: None}
        return {name: added[name] for name in self._added}

    def _load(self) -> "Upscaler":
        if self._model is None:
            self._model = load_networks(str(self._given))
        return self._model

    def __getstate__(self) -> dict:
        """Without a model that can be loaded by its name."""
        return {**vars(self), "_model": None} if isinstance(self._given, str) else vars(self)


def _is_batch(pictures: Any) -> bool:
    """Whether these are the pictures of a batch: a list, or an array of all of them, of one size or of several."""
    return isinstance(pictures, list) or getattr(pictures, "ndim", 3) in (1, 4)


def _find_source(picture: Any) -> Any:
    """A cell of a column as `upscale` takes it; the format "torch" puts 8 bits into a tensor, channels first."""
    if isinstance(picture, Mapping):
        return picture["bytes"] or picture["path"]
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(picture, torch.Tensor) and picture.dtype == torch.uint8 and picture.ndim == 3:
        return picture.permute(1, 2, 0).cpu().numpy()
    return picture
