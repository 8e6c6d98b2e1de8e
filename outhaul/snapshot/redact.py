"""Takes service keys out of the project files that may hold them, before they reach a snapshot. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

from outhaul.errors import Refused
from outhaul.service.record import REDACTED

_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)*")
_ANCHOR = re.compile(r"&\S+\s+")
_NULL = "tag:yaml.org,2002:null"
Node = Any  # of yaml, which is imported only where there is something to redact
MAY_HOLD_KEYS = frozenset({"deploymentconfig.json", "outhaul.yaml"})


def redact(path: str, content: bytes) -> bytes:
    """The content with every value under `keys` (deploymentconfig.json) or `service.keys` (outhaul.yaml) replaced.

    What holds no keys comes back as it is. Refused when the file mentions keys and cannot be read.
    """
    if b"keys" not in content:
        return content
    name = path.rpartition("/")[2]
    try:
        return _redact_json(content) if name.endswith(".json") else _redact_yaml(content)
    except ValueError as error:
        reason = str(error)
    # Not chained: the parser's error quotes the line, and with it perhaps a key.
    raise Refused(
        "snapshot-keys-unreadable",
        f"`{path}` mentions keys and cannot be read, so they cannot be kept out of the snapshot",
        found=reason,
        expected="a well-formed file, or one without keys",
        remedy=f"correct {path}, or list it in .amlignore",
    )


def _redact_json(content: bytes) -> bytes:
    document: Any = json.loads(content)
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, dict) or all(value in (None, REDACTED) for value in keys.values()):
        return content
    document["keys"] = {name: value and REDACTED for name, value in keys.items()}
    return json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"


def _redact_yaml(content: bytes) -> bytes:
    """Only the values change, so that comments and line numbers stay as they are."""
    import yaml  # costs 15 ms, and most snapshots do not need it

    text = content.decode()
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ValueError(f"line {line}: {error.problem}") from None
    except yaml.YAMLError:
        raise ValueError("a character that YAML does not allow") from None
    keys = [keys for service in _under(root, "service") for keys in _under(service, "keys")]
    values = [value for node in keys for value in _scalars(node)]
    places = {(node.start_mark.index, node.end_mark.index) for node in values if node.value and node.tag != _NULL}
    for start, end in sorted(places, reverse=True):
        text = text[:start] + _replaced(text[start:end]) + text[end:]
    return text.encode()


def _replaced(scalar: str) -> str:
    """Keeps the anchor, which aliases elsewhere need, and the line ends behind a block scalar; a tag goes."""
    properties = _PROPERTIES.match(scalar)
    anchors = _ANCHOR.findall(properties[0]) if properties else []
    return "".join(anchors) + REDACTED + scalar[len(scalar.rstrip()) :]


def _under(node: Node, key: str) -> list[Node]:
    """The values of `key` in a mapping and in those that it merges in by `<<`."""
    found: list[Node] = []
    for name, value in _pairs(node):
        if name.value == key:
            found.append(value)
        elif name.value == "<<":
            merged = value.value if value.id == "sequence" else [value]
            found += [inner for mapping in merged for inner in _under(mapping, key)]
    return found


def _scalars(node: Node) -> list[Node]:
    """Every scalar value below a node, merged mappings included."""
    if node.id == "scalar":
        return [node]
    inner = node.value if node.id == "sequence" else [value for _, value in _pairs(node)]
    return [scalar for child in inner for scalar in _scalars(child)]


def _pairs(node: Node) -> list[tuple[Node, Node]]:
    return node.value if node is not None and node.id == "mapping" else []
