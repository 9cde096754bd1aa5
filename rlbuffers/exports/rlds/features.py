"""Columns as features of TensorFlow Datasets: how each is packed in an Example, and ``features.json``."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from rlbuffers.decoding.example_values import FeatureValues
from rlbuffers.decoding.png_writer import PNG_CHANNELS, encode_pngs
from rlbuffers.errors import UnsupportedError
from rlbuffers.schema import ColumnSpec
from rlbuffers.sources.tfds.features import Leaf

__all__ = ["column_leaf", "features_json", "packed_rows"]

Array = np.ndarray[Any, Any]
_MODULE = "tensorflow_datasets.core.features"
_CLASSES = {
    "featuresDict": f"{_MODULE}.features_dict.FeaturesDict",
    "sequence": f"{_MODULE}.dataset_feature.Dataset",
    "tensor": f"{_MODULE}.tensor_feature.Tensor",
    "image": f"{_MODULE}.image_feature.Image",
}
# An Example stores each small integer of a list in a byte or two, uncompressed; long rows are packed instead.
_MIN_ZLIB_ELEMENTS = 256
_ZLIB_TYPES = ("bool", "int8", "uint8", "int16", "uint16")
_ZLIB_LEVEL = 6


def column_leaf(path: tuple[str, ...], column: ColumnSpec, *, images: bool) -> Leaf:
    """Choose how a column is stored so that nothing is lost.

    Parameters
    ----------
    path : tuple of str
        Keys from the root of the features.
    column : ColumnSpec
        What is stored.
    images : bool
        Whether uint8 rows of the shape of an image become PNG files.
    """
    dtype, shape = column.dtype.name, column.shape
    if images and dtype == "uint8" and len(shape) == 3 and shape[-1] in PNG_CHANNELS:
        return Leaf(path, "image", dtype, shape)
    if dtype == "float64":  # lists of an Example hold float32 only
        return Leaf(path, "tensor", dtype, shape, "bytes")
    packed = dtype in _ZLIB_TYPES and math.prod(shape) >= _MIN_ZLIB_ELEMENTS
    return Leaf(path, "tensor", dtype, shape, "zlib" if packed else "none")


def packed_rows(leaf: Leaf, rows: Array) -> FeatureValues:
    """Return rows as the values of a feature; the counterpart of `Leaf.rows`."""
    if leaf.kind == "image":
        return encode_pngs(rows)
    if leaf.encoding == "none":
        return rows
    little = rows.astype(rows.dtype.newbyteorder("<"), copy=False)
    if leaf.encoding == "zlib":
        return [zlib.compress(row.tobytes(), _ZLIB_LEVEL) for row in little]
    return [row.tobytes() for row in little]


def features_json(leaves: Iterable[Leaf]) -> dict[str, Any]:
    """Return the content of features.json.

    Raises
    ------
    UnsupportedError
        If one feature would stand inside another.
    """
    tree: dict[str, Any] = {}
    for leaf in leaves:
        node = tree
        for key in leaf.path[:-1]:
            node = node.setdefault(key, {})
            if not isinstance(node, dict):
                raise UnsupportedError(f"RLDS has no place for {leaf.key!r}: another column is called {key!r}")
        if leaf.path[-1] in node:
            raise UnsupportedError(f"RLDS has no place for {leaf.key!r}: another column takes that name")
        node[leaf.path[-1]] = leaf
    steps = _node(tree.pop("steps"))
    described = _node(tree)
    described["featuresDict"]["features"]["steps"] = {
        "pythonClassName": _CLASSES["sequence"],
        "sequence": {"feature": steps, "length": "-1"},
    }
    return described


def _node(tree: dict[str, Any] | Leaf) -> dict[str, Any]:
    if isinstance(tree, Leaf):
        shape = {"dimensions": [str(size) for size in tree.row_shape]} if tree.shape else {}
        content: dict[str, Any] = {"dtype": tree.dtype, "shape": shape}
        content |= {"encodingFormat": "png"} if tree.kind == "image" else {"encoding": tree.encoding}
        return {"pythonClassName": _CLASSES[tree.kind], tree.kind: content}
    features = {name: _node(child) for name, child in sorted(tree.items())}
    return {"pythonClassName": _CLASSES["featuresDict"], "featuresDict": {"features": features}}
