from __future__ import annotations

import json
import zlib

import numpy as np
import pytest
import rlds
import wire
from truth import DATA

from rlbuffers.errors import BufferNotFoundError, CorruptDataError, FormatError
from rlbuffers.sources.tfds.features import Leaf, read_features


def leaves_of(tmp_path, tree):
    (tmp_path / "features.json").write_text(json.dumps(tree))
    return {leaf.key: leaf for leaf in read_features(tmp_path)}


def test_leaves_of_a_fixture():
    found = {leaf.key: leaf for leaf in read_features(DATA / "tfds" / "mini_rlds" / "pixels" / "1.0.0")}
    camera = found["steps/observation/egocentric_camera"]
    assert (camera.kind, camera.row_shape) == ("image", (64, 64, 3))
    velocity = found["steps/observation/velocity"]
    assert (velocity.array_dtype, velocity.row_shape, velocity.encoding) == (np.float32, (6,), "zlib")
    assert (found["episode_id"].array_dtype, found["episode_id"].row_shape) == (np.int64, ())
    assert found["agent"].unreadable == "text"
    assert len(found) == 11


def test_what_cannot_be_read_says_why(tmp_path):
    video = {"pythonClassName": "tensorflow_datasets.core.features.video_feature.Video", "sequence": {"feature": {}}}
    other = {"pythonClassName": "my.lab.Mesh", "jsonFeature": {"json": "{}"}}
    depth = {"pythonClassName": "x.Image", "image": {"dtype": "float32", "shape": {"dimensions": ["2", "2", "1"]}}}
    nodes = {
        "text": rlds.text(),
        "string": rlds.tensor("string"),
        "video": video,
        "mesh": other,
        "depth": depth,
        "objects": rlds.sequence(rlds.tensor("float32"), "sequence_feature.Sequence"),
        "varies": rlds.tensor("float32", -1, 3),
        "empty": rlds.tensor("float32", 0),
        "brain": rlds.tensor("bfloat16"),
        "complex": rlds.tensor("complex64"),
        "packed": rlds.tensor("float32", encoding="brotli"),
        "flat": rlds.image(4, 4),
        "fine": rlds.tensor("float32", 2, 3),
    }
    found = leaves_of(tmp_path, rlds.fields({"steps": rlds.sequence(rlds.fields(nodes))}))
    assert {key.removeprefix("steps/"): leaf.unreadable for key, leaf in found.items()} == {
        "text": "text",
        "string": "text",
        "video": "Video",
        "mesh": "Mesh",
        "depth": "image of float32",
        "objects": "Sequence",
        "varies": "tensor whose shape (None, 3) may vary",
        "empty": "tensor of shape (0,), which is empty",
        "brain": "tensor of bfloat16",
        "complex": "tensor of complex64",
        "packed": "tensor packed as brotli",
        "flat": "image of shape (4, 4)",
        "fine": None,
    }


def test_the_form_of_older_releases(tmp_path):
    def node(kind, content, proto=""):
        return {"type": f"tensorflow_datasets.core.features.x.{kind}", "content": content, "proto_cls": proto}

    step = node(
        "FeaturesDict",
        {
            "observation": node("Image", {"shape": [4, 5, 3], "dtype": "uint8", "encoding_format": "png"}),
            "action": node("Tensor", {"shape": [2], "dtype": "float32", "encoding": "zlib"}),
            "reward": node("Tensor", {"shape": [], "dtype": "float64"}),
            "label": node("ClassLabel", {"num_classes": 4}),
            "new": node(
                "Tensor", {"shape": {"dimensions": ["3"]}, "dtype": "int8"}, "tensorflow_datasets.TensorFeature"
            ),
            "text": node("Tensor", json.dumps({"shape": {}, "dtype": "int8"}), "tensorflow_datasets.TensorFeature"),
        },
    )
    found = leaves_of(tmp_path, node("FeaturesDict", {"steps": node("Dataset", {"feature": step, "length": None})}))
    assert found["steps/observation"].row_shape == (4, 5, 3)
    assert (found["steps/action"].encoding, found["steps/action"].row_shape) == ("zlib", (2,))
    assert found["steps/reward"].array_dtype == np.float32
    assert found["steps/label"].num_classes == 4
    assert (found["steps/new"].row_shape, found["steps/text"].row_shape) == ((3,), ())


def nested(depth):
    tree = rlds.tensor("int8")
    for _ in range(depth):
        tree = rlds.fields({"x": tree})
    return tree


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("nothing", "features.json: damaged or cut short: not JSON"),
        ("[]", "expected a JSON object, found a list of 0 values"),
        ('{"pythonClassName": "x.FeaturesDict"}', "expected an object as 'features', which is missing"),
        (json.dumps(rlds.fields({"x": 3})), "feature 'x': expected an object, found 3"),
        (json.dumps(rlds.fields({"x": rlds.tensor("int8", 1 << 40)})), "is not plausible"),
        (json.dumps(rlds.tensor("int8")), "the root is no dict of features"),
        (json.dumps(nested(40)), "expected JSON of at most 64 levels"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_other_files(tmp_path, content, message):
    (tmp_path / "features.json").write_text(content)
    with pytest.raises(FormatError, match=message):
        read_features(tmp_path)


def test_no_file(tmp_path):
    with pytest.raises(BufferNotFoundError, match="there is no such file"):
        read_features(tmp_path)


FLOATS = Leaf(("x",), "tensor", "float32", (2,))


@pytest.mark.parametrize(
    ("dtype", "stored", "expected"),
    [
        ("bool", [0, 1, 2], [False, True, True]),
        ("uint8", [0, 255, 1], [0, 255, 1]),
        ("int16", [-5, 2**15 - 1, 0], [-5, 2**15 - 1, 0]),
        ("uint64", [-1, 0, 3], [2**64 - 1, 0, 3]),
        ("int64", [-(2**63), 0, 3], [-(2**63), 0, 3]),
    ],
)
def test_integers_get_their_type_back(dtype, stored, expected):
    rows = Leaf(("x",), "tensor", dtype).rows(np.array(stored, np.int64), 3, "f")
    assert (rows.dtype, rows.tolist()) == (np.dtype(dtype), expected)


def test_floats_get_their_type_back_as_far_as_it_was_stored():
    stored = np.array([0.1, 0.5], np.float32)
    assert Leaf(("x",), "tensor", "float16").rows(stored, 2, "f").dtype == np.float16
    double = Leaf(("x",), "tensor", "float64").rows(stored, 2, "f")
    assert double.dtype == np.float32
    np.testing.assert_array_equal(double, stored)


@pytest.mark.parametrize("encoding", ["bytes", "zlib"])
@pytest.mark.parametrize("dtype", ["bool", "int16", "uint64", "float16", "float64"])
def test_packed_tensors(dtype, encoding):
    expected = (np.arange(12).reshape(2, 3, 2) % 2 + 0.1).astype(dtype)
    packed = [row.tobytes() for row in expected]
    values = [zlib.compress(row) for row in packed] if encoding == "zlib" else packed
    rows = Leaf(("x",), "tensor", dtype, (3, 2), encoding).rows(values, 2, "f")
    assert rows.dtype == expected.dtype
    np.testing.assert_array_equal(rows, expected)


@pytest.mark.parametrize(
    ("leaf", "values", "message"),
    [
        (FLOATS, None, "f: expected the feature 'x', which is missing"),
        (FLOATS, [], "f: 'x': expected 6 floats, found nothing"),
        (FLOATS, [b"a"], "found 1 byte strings"),
        (FLOATS, np.zeros(6, np.int64), "found 6 integers"),
        (FLOATS, np.zeros(5, np.float32), "expected 6 floats, found 5 floats"),
        (Leaf(("x",), "tensor", "uint8"), np.array([0, 256, 1]), "expected uint8, found 0 to 256"),
        (Leaf(("x",), "tensor", "int8"), np.zeros(3, np.float32), "expected 3 integers, found 3 floats"),
        (Leaf(("x",), "tensor", "int8", (), "zlib"), [b"a"], "expected 3 byte strings, found 1"),
        (Leaf(("x",), "image", "uint8", (2, 2, 1)), np.zeros(3), "expected 3 byte strings, found 3 floats"),
    ],
)
def test_wrong_values(leaf, values, message):
    with pytest.raises(FormatError, match=message):
        leaf.rows(values, 3, "f")


@pytest.mark.parametrize(
    ("encoding", "values", "message"),
    [
        ("bytes", [b"1234", b"123"], "'x', row 1: expected 4 bytes, found 3"),
        ("zlib", [b"no zlib", b""], "'x', row 0: damaged"),
        ("zlib", [zlib.compress(b"123"), b""], "expected 4 bytes, found 3"),
        ("zlib", [zlib.compress(b"1234")[:-2], b""], "does not end after 4 bytes"),
        ("zlib", [zlib.compress(bytes(50_000_000)), b""], "does not end after 4 bytes"),
    ],
)
def test_damaged_tensors(encoding, values, message):
    with pytest.raises(CorruptDataError, match=message):
        Leaf(("x",), "tensor", "float32", (), encoding).rows(values, 2, "f")


def test_images():
    gray = np.arange(40, dtype=np.uint8).reshape(2, 4, 5)
    files = [wire.png(picture) for picture in gray]
    leaf = Leaf(("x",), "image", "uint8", (4, 5, 1))
    np.testing.assert_array_equal(leaf.rows(files, 2, "f")[..., 0], gray)
    with pytest.raises(FormatError, match="expected shape"):
        Leaf(("x",), "image", "uint8", (4, 6, 1)).rows(files, 2, "f")
    with pytest.raises(FormatError, match="expected shape"):
        Leaf(("x",), "image", "uint8", (4, 5, 3)).rows(files, 2, "f")
    damaged = files[1][:50] + b"?" + files[1][51:]
    with pytest.raises(CorruptDataError, match="'x': image 1 is damaged"):
        leaf.rows([files[0], damaged], 2, "f")
