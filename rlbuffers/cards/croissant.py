"""A buffer's card for machines: MLCommons Croissant 1.1, as JSON-LD.

The vocabulary has no words for reinforcement learning. What it cannot say is said in those of schema.org that it
builds on: counts, ranges, scores and policies are ``variableMeasured``, source files and parents are ``isBasedOn``,
the fingerprint is an ``identifier``; faults and notes are the properties of its extension for responsible AI.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rlbuffers.cards.bibtex import authors, citation_of
from rlbuffers.cards.buffer_card import summary_sentence
from rlbuffers.cards.croissant_files import describe_files
from rlbuffers.cards.croissant_records import record_sets
from rlbuffers.cards.front_matter import tags
from rlbuffers.cards.licenses import find_license
from rlbuffers.cards.origin import parents_of
from rlbuffers.reader_versions import warnings_of

if TYPE_CHECKING:
    from rlbuffers.reader import Buffer

__all__ = ["render_croissant"]

Json = dict[str, Any]
_CONFORMS_TO = "http://mlcommons.org/croissant/1.1"
# The context that the specification prints, which readers compare with.
_CONTEXT: Json = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def render_croissant(buffer: Buffer, name: str, *, url: str | None = None) -> str:
    """Return the Croissant of a buffer as indented JSON; the same buffer gives the same text.

    Reads the whole file once for its SHA-256.

    Parameters
    ----------
    buffer : Buffer
        Stored in a file or directory.
    name : str
        Name of the data set.
    url : str, optional
        Where the buffer is published: the address of the folder that holds it. Without it, addresses are those
        of files beside the JSON.

    Raises
    ------
    UnsupportedError
        If the buffer is in memory.
    """
    metadata = buffer.metadata
    source, distribution = describe_files(buffer, url)
    document: Json = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": name,
        "description": _description(metadata),
        "conformsTo": _CONFORMS_TO,
        "version": f"1.0.0+{buffer.fingerprint[:12]}",
        "identifier": {"@type": "PropertyValue", "propertyID": "rlbuffers fingerprint", "value": buffer.fingerprint},
        "url": url or metadata.get("source", {}).get("published_at") or buffer.path.name,
        "keywords": ["reinforcement learning", "offline reinforcement learning", *tags(metadata)],
        "citeAs": citation_of(metadata, name),
        **_license(metadata),
        **_people(metadata),
        **_dates(metadata),
        **_responsible(metadata),
        "variableMeasured": _measured(metadata),
        **_based_on(metadata),
        "distribution": distribution,
        "recordSet": record_sets(buffer, source),
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _description(metadata: Mapping[str, Any]) -> str:
    spec = metadata["spec"]
    stack = f" Observations are stacks of {spec['stack']} frames, oldest first." if spec["stack"] else ""
    return f"{summary_sentence(metadata)} Layout {spec['layout']}, order {spec['order']}.{stack}"


def _license(metadata: Mapping[str, Any]) -> Json:
    license_ = find_license(metadata.get("license"))
    return {"license": license_.url or license_.text or "unknown"}


def _people(metadata: Mapping[str, Any]) -> Json:
    names = authors(str(metadata.get("citation") or ""))
    return {"creator": [{"@type": "sc:Person", "name": name} for name in names]} if names else {}


def _dates(metadata: Mapping[str, Any]) -> Json:
    """Take the day on which the buffer was written for that of its publication."""
    created = str(metadata.get("written_by", {}).get("created", ""))
    try:
        day = datetime.fromisoformat(created).date().isoformat()
    except ValueError:
        return {}
    return {"dateCreated": day, "datePublished": day}


def _responsible(metadata: Mapping[str, Any]) -> Json:
    behavior = metadata.get("behavior_policy") or {}
    described = "; ".join(f"{key.replace('_', ' ')}: {value}" for key, value in sorted(behavior.items()))
    lists = {
        "rai:dataLimitations": warnings_of(metadata),
        "rai:dataPreprocessingProtocol": metadata.get("notes"),
    }
    left_out = metadata.get("left_out")
    return {
        **({"rai:dataCollection": described} if described else {}),
        **{key: list(texts) for key, texts in lists.items() if texts},
        **({"rai:dataCollectionMissingData": " ".join(left_out)} if left_out else {}),
    }


def _measured(metadata: Mapping[str, Any]) -> list[Json]:
    facts = [_value(f"number of {name.replace('_', ' ')}", count) for name, count in sorted(metadata["counts"].items())]
    for name, statistics in sorted(metadata["statistics"].items()):
        if isinstance(statistics, dict) and isinstance(statistics.get("mean"), int | float):
            facts.append(
                _value(name, statistics["mean"], "mean")
                | {"minValue": statistics["min"], "maxValue": statistics["max"]}
            )
    environment, behavior = metadata.get("environment") or {}, metadata.get("behavior_policy") or {}
    plain = {
        "layout": metadata["spec"]["layout"],
        "order": metadata["spec"]["order"],
        "frames in a stack": metadata["spec"]["stack"] or None,
        "environment": environment.get("id"),
        "behavior policy": behavior.get("name"),
        "behavior policy epsilon": behavior.get("epsilon"),
    }
    facts += [_value(name, value) for name, value in plain.items() if value not in (None, "", "unknown")]
    scores = environment.get("reference_scores")
    if scores:
        facts.append(_value("reference scores") | {"minValue": scores["min"], "maxValue": scores["max"]})
    return facts


def _value(name: str, value: Any = None, technique: str | None = None) -> Json:
    given = {} if value is None else {"value": value}
    return {
        "@type": "PropertyValue",
        "name": name,
        **given,
        **({"measurementTechnique": technique} if technique else {}),
    }


def _based_on(metadata: Mapping[str, Any]) -> Json:
    files = [
        {
            "@type": "DigitalDocument",
            "name": str(file.get("name", "")),
            **({"size": f"{file['bytes']} B"} if "bytes" in file else {}),
            **({"sha256": file["sha256"]} if "sha256" in file else {}),
        }
        for file in (metadata.get("source") or {}).get("files") or []
    ]
    parents = [
        {
            "@type": "DigitalDocument",
            "name": str(parent.get("name", "")),
            "identifier": {
                "@type": "PropertyValue",
                "propertyID": "rlbuffers fingerprint",
                "value": str(parent.get("fingerprint", "")),
            },
        }
        for _, parent in parents_of(metadata.get("derivation") or {})
    ]
    return {"isBasedOn": [*files, *parents]} if files or parents else {}
