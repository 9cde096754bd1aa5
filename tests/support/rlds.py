"""Small prepared TFDS datasets, written by hand: two JSON files and TFRecord shards."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from wire import example, feature, tfrecord

_MODULE = "tensorflow_datasets.core.features"
FLAGS = ("is_first", "is_last", "is_terminal")


def tensor(dtype: str, *shape: int, encoding: str = "none") -> dict[str, Any]:
    dimensions = {"dimensions": [str(size) for size in shape]} if shape else {}
    content = {"dtype": dtype, "shape": dimensions, "encoding": encoding}
    return {"pythonClassName": f"{_MODULE}.tensor_feature.Tensor", "tensor": content}


def image(*shape: int, kind: str = "png") -> dict[str, Any]:
    content = {"dtype": "uint8", "encodingFormat": kind, "shape": {"dimensions": [str(size) for size in shape]}}
    return {"pythonClassName": f"{_MODULE}.image_feature.Image", "image": content}


def text() -> dict[str, Any]:
    return {"pythonClassName": f"{_MODULE}.text_feature.Text", "text": {}}


def label(classes: int) -> dict[str, Any]:
    content = {"numClasses": str(classes)}
    return {"pythonClassName": f"{_MODULE}.class_label_feature.ClassLabel", "classLabel": content}


def sequence(node: Mapping[str, Any], kind: str = "dataset_feature.Dataset") -> dict[str, Any]:
    return {"pythonClassName": f"{_MODULE}.{kind}", "sequence": {"feature": node, "length": "-1"}}


def fields(nodes: Mapping[str, Any]) -> dict[str, Any]:
    return {"pythonClassName": f"{_MODULE}.features_dict.FeaturesDict", "featuresDict": {"features": dict(nodes)}}


PLAIN_STEP = {
    "observation": tensor("float32", 2),
    "action": tensor("int64"),
    "reward": tensor("float32"),
    "discount": tensor("float32"),
    **{flag: tensor("bool") for flag in FLAGS},
}


def plain_episode(rows: int, *, terminal: bool = False, start: float = 0.0) -> dict[str, np.ndarray]:
    """Return an episode as RLDS has it, values telling where they stand; the last row has an observation only."""
    valid = np.arange(rows) < rows - 1
    discount = valid.astype(np.float32)
    if terminal and rows > 1:
        discount[-2] = 0.0
    return {
        "steps/observation": (start + np.arange(2 * rows) + 1).reshape(rows, 2).astype(np.float32),
        "steps/action": (np.arange(rows) + 1) * valid,
        "steps/reward": ((np.arange(rows) + 0.5) * valid).astype(np.float32),
        "steps/discount": discount,
        "steps/is_first": np.arange(rows) == 0,
        "steps/is_last": ~valid,
        "steps/is_terminal": ~valid & terminal,
    }


def encoded(episode: Mapping[str, Any]) -> bytes:
    """Encode arrays, or lists of bytes, as an Example."""
    found = {}
    for name, values in episode.items():
        if isinstance(values, np.ndarray):
            kind = "float" if values.dtype.kind == "f" else "int64"
            found[name] = feature(kind, values.ravel().tolist())
        else:
            found[name] = feature("bytes", values)
    return example(found)


def write_dataset(
    folder: Path,
    episodes: Sequence[Mapping[str, Any]],
    *,
    step: Mapping[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
    name: str = "some_rlds",
    splits: Mapping[str, Sequence[int]] | None = None,
    **info: Any,
) -> Path:
    """Write a dataset; `splits` gives the lengths of the shards of each, by default one shard of all."""
    folder.mkdir(parents=True, exist_ok=True)
    splits = {"train": [len(episodes)]} if splits is None else splits
    template = info.pop("template", "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}")
    described = []
    left = list(episodes)
    for split, lengths in splits.items():
        for number, length in enumerate(lengths):
            of = f"-of-{len(lengths):05}" if template.endswith("{SHARD_X_OF_Y}") else ""
            records, left = left[:length], left[length:]
            content = b"".join(tfrecord(encoded(episode)) for episode in records)
            (folder / f"{name}-{split}.tfrecord-{number:05}{of}").write_bytes(content)
        described.append(
            {"name": split, "shardLengths": [str(length) for length in lengths], "filepathTemplate": template}
        )
    tree = fields({"steps": sequence(fields(PLAIN_STEP if step is None else step)), **(facts or {})})
    (folder / "features.json").write_text(json.dumps(tree))
    stated = {"name": name, "version": "1.0.0", "fileFormat": "tfrecord", "splits": described, **info}
    (folder / "dataset_info.json").write_text(json.dumps(stated))
    return folder
