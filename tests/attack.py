"""What the attacks share: how much is tried, what counts as an answer, how inputs are spoilt, and the figures."""

import math
import os
import struct
from collections import Counter

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st

COUNT = int(os.environ.get("SSG_ATTACKS", 200))
EXTREMES = [0, 1, 2, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1]
ENOUGH = 100  # inputs of a kind among which some have to be readable: else the attack reaches nothing behind the door
figures: dict[str, Counter] = {}

attack = settings(
    max_examples=COUNT,
    deadline=10_000,  # ms
    database=None,
    phases=[Phase.generate],  # the inputs are files: made smaller they say no more, and it takes minutes
    suppress_health_check=list(HealthCheck),
)
rng_seed = seed(int(os.environ.get("SSG_SEED", 0)))
numbers = st.one_of(st.sampled_from(EXTREMES), st.integers(0, 2**32 - 1))


def attempt(name: str, refusal: type[Exception], function, *arguments, lines: int = 1, **options):
    """Call a reader or writer; a refusal of one line (or so many) is an answer too, and gives None."""
    counted = figures.setdefault(name, Counter())
    counted["tried"] += 1
    try:
        answer = function(*arguments, **options)
    except refusal as error:
        assert 20 < len(str(error)) < 1000 * lines and str(error).count("\n") < lines
        counted["refused"] += 1
        return None
    counted["read"] += 1
    return answer


def all_refused() -> list[str]:
    """Kinds of input since the figures were taken of which many were tried and none was read."""
    return [name for name, counted in figures.items() if counted["tried"] >= ENOUGH and not counted["read"]]


def take_figures() -> list[str]:
    """A line for each kind of input since the last call, for docs/reliability.md."""
    total = sum(figures.values(), Counter())
    lines = [
        f"{name}: {counted['tried']:,} tried, {counted['read']:,} read, {counted['refused']:,} refused"
        for name, counted in [*figures.items(), ("all", total)]
    ]
    figures.clear()
    return lines


def damage(draw, data: bytes) -> bytes:
    """The file with bytes changed, numbers replaced by extreme ones, parts cut out, doubled or moved."""
    data = bytearray(data)
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, max(0, len(data) - 1)))
        kind = draw(st.integers(0, 5))
        if kind == 0:
            data[place : place + 1] = draw(st.binary(min_size=1, max_size=1))
        elif kind == 1:
            data[place : place + 4] = struct.pack(draw(st.sampled_from(["<I", ">I"])), draw(numbers))
        elif kind == 2:
            data[place : place + 2] = struct.pack(draw(st.sampled_from(["<H", ">H"])), draw(numbers) % 65536)
        elif kind == 3:
            del data[place : place + draw(st.integers(1, 64))]
        elif kind == 4:
            data[place:place] = data[place : place + draw(st.integers(1, 64))] * draw(st.integers(1, 3))
        else:
            data[place:place] = draw(st.binary(max_size=16))
    return bytes(data[: draw(st.one_of(st.just(len(data)), st.integers(0, len(data))))])


strange_numbers = st.one_of(
    st.integers(-3, 9),
    st.sampled_from([-1, 2**31, 2**63, 10**9, 10**30, -(10**30), 0.5, -0.0, 1e-320, 1e308, math.nan, math.inf]),
    st.floats(),
)
strange_texts = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["", "4", "true", "../secret", "/etc/passwd", "a/b", "relu", "x" * 5000, "\ud800", "\0"]),
)
strange_values = st.recursive(
    st.one_of(st.none(), st.booleans(), strange_numbers, strange_texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(strange_texts, inner, max_size=4)),
    max_leaves=6,
)


def spoil(draw, content: dict) -> dict:
    """The JSON values with some replaced, removed or added, at any depth; `content` is changed."""
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(content))
        holder, key = draw(st.sampled_from(places)) if places else (content, "scale")
        kind = draw(st.integers(0, 9))
        if kind < 6:
            holder[key] = draw(strange_values)
        elif kind == 6:
            holder[key] = _like(draw, holder.get(key) if isinstance(holder, dict) else holder[key])
        elif kind == 7:
            del holder[key]
        elif kind == 8 and isinstance(holder, dict):
            holder[draw(strange_texts)] = draw(strange_values)
        else:
            holder[key] = [holder[key]] * draw(st.sampled_from([0, 1, 2, 300]))
    return content


def _places(value):
    """(holder, key) of every value inside."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(entries):
        yield value, key
        yield from _places(inner)


def _like(draw, value):
    """Another value of the same kind: what a check by type alone lets through."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return type(value)(draw(st.sampled_from([0, -1, 1, 3, 7, 100, 1000, 99_999])))
    if isinstance(value, list):
        return [draw(st.sampled_from([0, 1, 2, 5, 64, 1000])) for _ in value]
    return draw(strange_texts) if isinstance(value, str) else draw(strange_values)
