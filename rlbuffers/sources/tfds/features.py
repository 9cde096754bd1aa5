"""``features.json`` of TensorFlow Datasets: what every Example holds, and how values are packed.

The tree of features is flattened to its leaves. Each knows the key of its values in an Example
(the path, joined by ``/``), and turns them into rows. Two ways of writing the tree are in use: the
JSON of a Protocol Buffers message (``featuresDict``, ``sequence``, ``tensor``, ``image``, ...), and the
``type`` and ``content`` that releases before 4.6 wrote.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rlbuffers.decoding.example_values import FeatureValues
from rlbuffers.decoding.gray_png import PngError, decode_gray_pngs
from rlbuffers.decoding.images import decode_images
from rlbuffers.errors import BufferNotFoundError, CorruptDataError, FormatError
from rlbuffers.local_inputs import require_inside
from rlbuffers.sources.files import json_object_in
from rlbuffers.sources.json_text import described, field, parse_json_object, whole_number

__all__ = ["FEATURES_FILE", "Leaf", "read_features", "read_json"]

Array = np.ndarray[Any, Any]
Kind = Literal["tensor", "image", "text", "other"]
FEATURES_FILE = "features.json"
# A row of more elements than this is no feature of a data set that we know, but a damaged shape.
_MAX_ROW_ELEMENTS = 1 << 26
_MAX_DEPTH = 32
_MAX_AXES = 32
_IMAGE_AXES = 3
_MAX_CLASSES = (1 << 63) - 1
_STEPS = "steps"
_STORABLE = "biuf"
_CLASS_KEYS = {
    "FeaturesDict": "featuresDict",
    "Sequence": "sequence",
    "Dataset": "sequence",
    "Tensor": "tensor",
    "Scalar": "tensor",
    "Image": "image",
    "Text": "text",
    "ClassLabel": "classLabel",
}


@dataclass(frozen=True)
class Leaf:
    """One feature that is no dict.

    Parameters
    ----------
    path : tuple of str
        Keys from the root: ``("steps", "observation", "position")``.
    kind : {"tensor", "image", "text", "other"}
        ``other`` cannot be read here; `dtype` then says what it is.
    dtype : str
        As features.json has it, such as ``float32`` or ``string``.
    shape : tuple of int or None
        Of one row; None where it may vary.
    encoding : str
        Of a tensor ``none``, ``bytes`` or ``zlib``.
    num_classes : int, optional
        Of a class label.
    """

    path: tuple[str, ...]
    kind: Kind
    dtype: str = ""
    shape: tuple[int | None, ...] = ()
    encoding: str = "none"
    num_classes: int | None = None

    @property
    def key(self) -> str:
        """Name of the values in an Example."""
        return "/".join(self.path)

    @property
    def unreadable(self) -> str | None:
        """Why this cannot become an array of numbers, or None if it can."""
        if self.kind == "text" or self.dtype == "string":
            return "text"
        if self.kind == "other":
            return self.dtype
        if self._number_type is None or (self.kind == "image" and self.dtype != "uint8"):
            return f"{self.kind} of {self.dtype}"
        if None in self.shape:
            return f"{self.kind} whose shape {self.shape} may vary"
        return None if all(self.shape) else f"{self.kind} of shape {self.shape}, which is empty"

    @property
    def _number_type(self) -> np.dtype[Any] | None:
        try:
            found = np.dtype(self.dtype)
        except (TypeError, ValueError, SyntaxError):
            return None
        return found if found.kind in _STORABLE and found.itemsize <= 8 else None

    @property
    def array_dtype(self) -> np.dtype[Any]:
        """Type of the array of a readable leaf.

        That of features.json, but float32 for float64 that is not packed as bytes: an Example has
        lists of float32 only, and the digits beyond are gone.
        """
        dtype = np.dtype(self.dtype)
        return np.dtype(np.float32) if dtype == np.float64 and self.encoding == "none" else dtype

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of a row of a readable leaf."""
        return tuple(size for size in self.shape if size is not None)

    def with_shape(self, shape: tuple[int, ...]) -> Leaf:
        """Return the leaf with the shape that its rows were found to have."""
        return replace(self, shape=shape)

    def rows(self, values: FeatureValues | None, count: int, where: str) -> Array:
        """Return the values of an Example as an array, shape (count, *row_shape).

        Parameters
        ----------
        values : array or list of bytes, or None
            As ``parse_example`` gave them; None if the Example lacks the feature.
        count : int
            Number of rows, known from another feature.
        where : str
            Names the record in error messages.

        Raises
        ------
        FormatError
            If they are missing, of another kind or number, or out of the dtype's range.
        CorruptDataError
            If packed values or an image are damaged.
        """
        if values is None:
            raise FormatError(f"{where}: expected the feature {self.key!r}, which is missing")
        if self.kind == "image" or self.encoding != "none":
            if isinstance(values, np.ndarray) or len(values) != count:
                raise FormatError(f"{where}: {self.key!r}: expected {count} byte strings, found {_found(values)}")
            return self._images(values, where) if self.kind == "image" else self._unpacked(values, where)
        expected = count * math.prod(self.row_shape)
        wanted_kind = "f" if self.array_dtype.kind == "f" else "i"
        if not isinstance(values, np.ndarray) or values.dtype.kind != wanted_kind or len(values) != expected:
            kind = "floats" if wanted_kind == "f" else "integers"
            raise FormatError(f"{where}: {self.key!r}: expected {expected:,} {kind}, found {_found(values)}")
        return self._typed(values, where).reshape(count, *self.row_shape)

    def _typed(self, values: Array, where: str) -> Array:
        dtype = self.array_dtype
        if dtype.kind == "b":
            return np.not_equal(values, 0)
        if dtype == np.uint64:
            return values.view(np.uint64)
        if dtype.kind in "iu" and dtype.itemsize < 8 and len(values):
            limits = np.iinfo(dtype)
            if values.min() < limits.min or values.max() > limits.max:
                raise FormatError(
                    f"{where}: {self.key!r}: expected {dtype}, found {values.min():,} to {values.max():,}"
                )
        return values.astype(dtype, copy=False)

    def _unpacked(self, values: Sequence[bytes], where: str) -> Array:
        stored = np.dtype(self.dtype).newbyteorder("<")
        size = stored.itemsize * math.prod(self.row_shape)
        rows = []
        for number, packed in enumerate(values):
            row = _inflated(packed, size, f"{where}: {self.key!r}, row {number}") if self.encoding == "zlib" else packed
            if len(row) != size:
                raise CorruptDataError(
                    f"{where}: {self.key!r}, row {number}: expected {size:,} bytes, found {len(row):,}"
                )
            rows.append(row)
        flat = np.frombuffer(b"".join(rows), np.uint8 if stored.kind == "b" else stored)
        typed = flat != 0 if stored.kind == "b" else flat.astype(self.array_dtype)
        return typed.reshape(len(rows), *self.row_shape)

    def _images(self, files: Sequence[bytes], where: str) -> Array:
        height, width, channels = self.row_shape
        where = f"{where}: {self.key!r}"
        if channels == 1 and all(file.startswith(b"\x89PNG") for file in files):
            sizes = np.array([len(file) for file in files], np.int64)
            offsets = np.cumsum(sizes) - sizes
            try:
                return decode_gray_pngs(b"".join(files), offsets, sizes, (height, width))[..., None]
            except PngError as error:
                if error.kind is CorruptDataError:
                    raise CorruptDataError(f"{where}: image {error.index} is {error}") from error
        return decode_images(files, self.row_shape, where, extra="tfds")


def read_features(directory: Path) -> list[Leaf]:
    """Return the leaves of ``features.json``, in the file's order.

    Raises
    ------
    BufferNotFoundError, FormatError
        If there is no such file, or it is not such a tree.
    """
    path = require_inside(directory, directory / FEATURES_FILE)
    tree = read_json(path)
    return list(_leaves(tree, (), str(path)))


def read_json(path: Path) -> Mapping[str, Any]:
    """Return the object in a JSON file.

    Raises
    ------
    BufferNotFoundError, FormatError
        If there is no such file, or no JSON object in it.
    """
    try:
        return json_object_in(path)
    except FileNotFoundError as error:
        raise BufferNotFoundError(f"{path}: there is no such file; a prepared TFDS dataset has one") from error


def _leaves(node: Any, path: tuple[str, ...], file: str) -> Iterator[Leaf]:
    where = f"{file}: feature {'/'.join(path)!r}" if path else file
    if len(path) > _MAX_DEPTH:
        raise FormatError(f"{where}: features are nested too deeply")
    if not isinstance(node, dict):
        raise FormatError(f"{where}: expected an object, found {described(node)}")
    key, content = _content(node, where)
    if key == "featuresDict":
        for name, child in field(content, "features", "an object", where).items():
            yield from _leaves(child, (*path, name), file)
    elif not path:
        raise FormatError(f"{where}: expected the features of a TFDS dataset; the root is no dict of features")
    elif key == "sequence" and path == (_STEPS,):
        inner = field(content, "feature", "an object", where)
        if _content(inner, where)[0] == "sequence":
            raise FormatError(f"{where}: expected features, found a sequence of sequences")
        yield from _leaves(inner, path, file)
    elif key == "tensor":
        encoding = _text(content, "encoding", where, "none").lower().rpartition(".")[2]
        shape = _shape(content.get("shape"), where)
        known = encoding in ("none", "bytes", "zlib")
        yield (
            Leaf(path, "tensor", field(content, "dtype", "a text", where), shape, encoding)
            if known
            else Leaf(path, "other", f"tensor packed as {encoding}")
        )
    elif key == "image":
        shape = _shape(content.get("shape"), where)
        dtype = _text(content, "dtype", where, "uint8")
        kind: Kind = "image" if len(shape) == _IMAGE_AXES else "other"
        yield Leaf(path, kind, dtype if kind == "image" else f"image of shape {shape}", shape)
    elif key == "classLabel":
        name = "numClasses" if "numClasses" in content else "num_classes"
        classes = whole_number(content.get(name) or 0, name, where)
        if not 0 <= classes <= _MAX_CLASSES:
            raise FormatError(f"{where}: expected a number of classes, found {classes:,}")
        yield Leaf(path, "tensor", "int64", num_classes=classes or None)
    elif key == "text":
        yield Leaf(path, "text", "string")
    else:
        yield Leaf(path, "other", _class_name(node))


def _content(node: Mapping[str, Any], where: str) -> tuple[str, Mapping[str, Any]]:
    """Return a node's kind, under the name that the message has for it, and its content in the message's form.

    Classes that are not in the table (Video, Audio, users' own) pack their values in ways of their own.
    """
    key = _CLASS_KEYS.get(_class_name(node), "")
    if "type" not in node:
        return key, field(node, key, "an object", where, {}) if key else {}
    content = node.get("content") or {}
    if isinstance(content, str):
        content = parse_json_object(content, where)
    if not isinstance(content, dict):
        raise FormatError(f"{where}: expected an object as 'content', found {described(content)}")
    if key == "featuresDict" and not node.get("proto_cls"):
        content = {"features": content}
    return key, content


def _text(content: Mapping[str, Any], name: str, where: str, default: str) -> str:
    return field(content, name, "a text", where, default) or default


def _class_name(node: Mapping[str, Any]) -> str:
    return str(node.get("pythonClassName") or node.get("type") or "unknown").rpartition(".")[2]


def _shape(shape: Any, where: str) -> tuple[int | None, ...]:
    sizes = field(shape, "dimensions", "a list", where, []) if isinstance(shape, dict) else shape or []
    if not isinstance(sizes, list) or len(sizes) > _MAX_AXES:
        raise FormatError(f"{where}: expected the sizes of axes as 'shape', found {described(sizes)}")
    numbers = [-1 if size is None else whole_number(size, "shape", where) for size in sizes]
    found = tuple(None if number < 0 else number for number in numbers)
    if math.prod(size or 1 for size in found) > _MAX_ROW_ELEMENTS:
        raise FormatError(f"{where}: a row of shape {found!s:.80} is not plausible")
    return found


def _found(values: FeatureValues) -> str:
    if isinstance(values, np.ndarray):
        return f"{len(values):,} {'floats' if values.dtype.kind == 'f' else 'integers'}"
    return f"{len(values):,} byte strings" if values else "nothing"


def _inflated(packed: bytes, size: int, where: str) -> bytes:
    inflater = zlib.decompressobj()
    try:
        # One byte more than there should be tells too much from enough, and never fills the memory.
        row = inflater.decompress(packed, size + 1)
    except zlib.error as error:
        raise CorruptDataError(f"{where}: damaged: {error}") from error
    if not inflater.eof:
        raise CorruptDataError(f"{where}: its zlib stream does not end after {size:,} bytes")
    return row
