"""A network for the browser: an ONNX graph without weights, and its weights beside it in half precision.

The browser makes floats of the halves, and the weights between two sets where a denoise strength asks for them; so one
graph serves all strengths, nothing is stored twice, and the arithmetic is that of float32.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import CheckpointError

LOCATION = "weights"  # the name by which the graph asks for them; `engine.js` hands them over under it
# Their floats are part of the graph: shapes and limits, which the runtime wants to know when it plans.
OF_THE_GRAPH = {"Resize", "Upsample", "Clip", "Pad", "Slice", "Expand", "Range", "Tile"}


@dataclass(frozen=True, eq=False)
class Packed:
    """A graph, and the weights that it asks for, in one row."""

    graph: bytes
    weights: np.ndarray

    def halves(self) -> bytes:
        """The weights as they are stored: little-endian float16.

        Raises:
            CheckpointError: one is too large for it.
        """
        with np.errstate(over="ignore"):
            halves = self.weights.astype("<f2")
        if not np.isfinite(halves).all():
            raise CheckpointError(
                f"a weight of {np.abs(self.weights).max():.3g} does not fit into half precision, in which a site "
                "stores weights (65504 at most). Train with weight decay, or use another model."
            )
        return halves.tobytes()


def pack(path: Path) -> Packed:
    """Take the weights out of an ONNX file."""
    import onnx
    from onnx import TensorProto, numpy_helper

    model = onnx.load(path)
    kept = {name for node in model.graph.node if node.op_type in OF_THE_GRAPH for name in node.input}
    taken, offset = [], 0
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or not tensor.dims or tensor.name in kept:
            continue
        values = numpy_helper.to_array(tensor).ravel()
        for field in ("raw_data", "float_data"):
            tensor.ClearField(field)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", LOCATION), ("offset", offset), ("length", values.nbytes)):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, str(value)
        taken.append(values)
        offset += values.nbytes
    return Packed(model.SerializeToString(), np.concatenate(taken).astype(np.float32))


def check_packed(packed: Packed, source: Path, sizes, bound: float) -> float:
    """Compare the packed network with the ONNX file it came from, on noise, in ONNX Runtime.

    Args:
        sizes: (h, w) of the pictures that are tried.
        bound: largest difference, relative to the largest value or 1.

    Returns:
        The largest difference that was found.

    Raises:
        CheckpointError: it is beyond the bound.
    """
    import onnxruntime

    one = onnxruntime.InferenceSession(str(source), providers=["CPUExecutionProvider"])
    options = onnxruntime.SessionOptions()
    weights = np.frombuffer(packed.halves(), "<f2").astype(np.float32).tobytes()
    options.add_external_initializers_from_files_in_memory([LOCATION], [weights], [len(weights)])
    other = onnxruntime.InferenceSession(packed.graph, options, providers=["CPUExecutionProvider"])
    largest = 0.0
    for size in sizes:
        picture = {one.get_inputs()[0].name: np.random.default_rng(0).random((1, 3, *size), dtype=np.float32)}
        (expected,), (found,) = one.run(None, picture), other.run(None, picture)
        largest = max(largest, float(np.abs(expected - found).max()) / max(1.0, float(np.abs(expected).max())))
    if not largest <= bound:
        raise CheckpointError(
            f"in half precision {source.stem} differs by {largest:.2g}; {bound:g} is allowed. Use another model."
        )
    return largest
