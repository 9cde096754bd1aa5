"""The YAML at the top of a card, which the Hugging Face Hub reads.

Every scalar that is not a plain word is quoted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from rlbuffers.cards.licenses import find_license

__all__ = ["front_matter", "size_category"]

# The Hub's categories: the first number that is too large for each.
_SIZES = {
    10**3: "n<1K",
    10**4: "1K<n<10K",
    10**5: "10K<n<100K",
    10**6: "100K<n<1M",
    10**7: "1M<n<10M",
    10**8: "10M<n<100M",
    10**9: "100M<n<1B",
    10**10: "1B<n<10B",
    10**11: "10B<n<100B",
    10**12: "100B<n<1T",
}
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_YAML_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}


def size_category(count: int) -> str:
    """Return the Hub's category of a number of rows."""
    return next((label for limit, label in _SIZES.items() if count < limit), "n>1T")


def front_matter(metadata: Mapping[str, Any], name: str, file: str | None) -> str:
    """Return the front matter of a buffer's card, its two lines of dashes included.

    Parameters
    ----------
    metadata : mapping
        ``Buffer.metadata``.
    name : str
        Title of the card.
    file : str, optional
        Name of the buffer's file or directory beside the card.
    """
    license_ = find_license(metadata.get("license"))
    lines = ["---", f"pretty_name: {_quoted(name)}", f"license: {license_.hub_id}"]
    if license_.hub_id == "other":
        lines.append(f"license_name: {_scalar(license_.text)}")
    lines += ["task_categories:", "- reinforcement-learning", "tags:", *(f"- {_scalar(tag)}" for tag in tags(metadata))]
    lines += ["size_categories:", f"- {_scalar(size_category(metadata['counts']['transitions']))}"]
    if file is not None:
        lines += ["configs:", "- config_name: default", f"  data_files: {_scalar(file)}"]
    return "\n".join([*lines, "viewer: false", "---"])


def tags(metadata: Mapping[str, Any]) -> list[str]:
    """Return the words by which a buffer should be found."""
    environment = metadata.get("environment", {})
    source = metadata.get("source", {}).get("format")
    words = ["offline-rl", "rlbuffers", environment.get("suite"), environment.get("id"), source]
    named = [re.sub(r"[^\w.-]+", "-", str(word)).strip("-") for word in words if word]
    return list(dict.fromkeys(word for word in named if word))


def _scalar(text: str) -> str:
    plain = _PLAIN.fullmatch(text) and text.lower() not in _YAML_WORDS
    return text if plain else _quoted(text)


def _quoted(text: str) -> str:
    """Return a double-quoted scalar; what YAML calls special characters is escaped, as JSON alone would not."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(letter if letter.isprintable() else f"\\U{ord(letter):08x}" for letter in quoted)
