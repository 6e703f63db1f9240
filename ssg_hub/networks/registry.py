"""The generators: what each says about itself, and all of them by name.

A new generator is one module in this package with a subclass of `Generator`. Nothing else names it: the configuration,
the reading of published weights, and the tiling find it here.
"""

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from ..errors import ConfigError, refuse_unknown
from .building import ONE_AT_A_TIME

APART = {"lite_transformers"}  # a module of this package that has no generator, and imports transformers


class NcnnLayer(NamedTuple):
    """A layer with weights in an ncnn graph.

    Attributes:
        kind: "Convolution" or "PReLU".
        outputs: channels that it puts out.
        weights: numbers in its kernel; 0 for a PReLU.
    """

    kind: str
    outputs: int
    weights: int


class Generator(nn.Module):
    """LR (B, 3, H, W), RGB in [0, 1], of any height and width, to SR (B, 3, scale*H, scale*W).

    The output is not clamped: training needs its gradient outside the range too. Parameter names are those of the
    published networks. A subclass states `title` and `OPTIONS`, and gives its options to this constructor before it
    builds a layer: `class MyNet(Generator, name="mynet")` registers it as `generator_type: mynet`. What it reads in
    `forward` beside its layers, it keeps as attributes of plain values, by which engines distinguish networks.

    Class attributes:
        title: what people call the network.
        OPTIONS: each option with the values that it may have, a `range` or a tuple; one is `scale`.

    Attributes:
        scale: enlargement.
        options: what it was built with.

    Raises:
        ConfigError: an option has another value than `OPTIONS` allows.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    OPTIONS: ClassVar[Mapping[str, Sequence]]
    scale: int

    def __init_subclass__(cls, name: str | None = None, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if name is not None:
            cls.name = name
            _REGISTERED[name] = cls

    def __init__(self, **options: Any):
        super().__init__()
        _check_values(type(self), options)
        self.options, self.scale = options, options["scale"]

    def extra_repr(self) -> str:
        """The options, to print a network or to compare two."""
        return ", ".join(f"{name}={value}" for name, value in self.options.items())

    @property
    def last_layer(self) -> nn.Parameter:
        """The weight at which loss gradients are compared when the guide loss is balanced."""
        raise NotImplementedError

    @property
    def context(self) -> int:
        """How many LR pixels around a pixel its SR depends on, to each side."""
        raise NotImplementedError

    @classmethod
    def read_published(cls, state: dict[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        """Recognise published weights by their names and shapes.

        Args:
            state: weights by the names under which they were published; any tensors at all.

        Returns:
            The options of their network and the weights under our names; None when they are not of this network.
            Names and shapes are compared with the network's afterwards, by `ssg_hub.networks.published`.

        Raises:
            CheckpointError: of this network, but in a form that cannot be used.
        """
        return None

    @classmethod
    def read_layers(cls, layers: list[NcnnLayer]) -> dict[str, Any] | None:
        """Recognise a network by the layers of its ncnn graph, in the order of our state dict; its options, or None."""
        return None


_REGISTERED: dict[str, type[Generator]] = {}


def generators() -> Mapping[str, type[Generator]]:
    """All generators by name."""
    _import_all()
    return dict(sorted(_REGISTERED.items()))


def check_options(generator_type: str, options: Mapping[str, Any]) -> type[Generator]:
    """Find a generator and check its options, without building it.

    Args:
        generator_type: a name of `generators()`.
        options: keyword arguments of that class; those left out have their defaults.

    Returns:
        The class.

    Raises:
        ConfigError: an unknown type or option, or a value out of bounds.
    """
    known = generators()
    if not isinstance(generator_type, str) or generator_type not in known:
        raise ConfigError(f"unknown generator type {generator_type!r:.60}; known are {', '.join(known)}.")
    cls = known[generator_type]
    refuse_unknown(f"generator {generator_type!r}", options, cls.OPTIONS)
    _check_values(cls, options)
    return cls


def build_generator(generator_type: str, generator_config: Mapping[str, Any]) -> Generator:
    """Build a generator with fresh weights.

    Args:
        generator_type: a name of `generators()`.
        generator_config: keyword arguments of that class.

    Raises:
        ConfigError: an unknown type or option, or a value out of bounds; before anything is built.

    >>> generator = build_generator("compact", {"features": 16, "convs": 4})
    >>> generator.scale, generator.context
    (4, 6)
    """
    cls = check_options(generator_type, generator_config)
    with ONE_AT_A_TIME:
        return cls(**generator_config)


@cache
def _import_all() -> None:
    """Import every module of this package that may have a generator."""
    package = importlib.import_module(__package__)
    for module in pkgutil.iter_modules(package.__path__):
        if module.name not in APART:
            importlib.import_module(f"{__package__}.{module.name}")


def _check_values(cls: type[Generator], options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        allowed = cls.OPTIONS[name]
        if type(value) is type(allowed[0]) and value in allowed:  # True is no number of blocks, and 4.0 is no scale
            continue
        if isinstance(allowed, range):
            need = f"it needs a whole number from {allowed[0]} to {allowed[-1]}."
        else:
            first, last = ", ".join(map(str, allowed[:-1])), allowed[-1]
            need = f"it is defined for {first} and {last}. Choose one of these."
        raise ConfigError(f"{cls.title} got {name} {_shorten(value)}; {need}")


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
