"""v1's deploymentconfig.json (JSON or YAML) → the `service` section of a project layer. Pure."""

from __future__ import annotations

from dataclasses import replace

from outhaul.azureml.naming import camel
from outhaul.errors import Refused
from outhaul.project.document import Document, Item
from outhaul.project.layers import Layer, prune
from outhaul.project.typed_document import read_typed
from outhaul.service.record import ServiceSpec

COMPUTE_TYPES = ("aks", "local")


def deployment_layer(document: Document) -> Layer:
    """Refused for unknown keys, wrong types, and a `computeType` that is missing or neither aks nor local."""
    given = read_typed(_without_empty(document), ServiceSpec, camel)
    kind = str(given.get("compute_type") or "").lower()
    if kind not in COMPUTE_TYPES:
        raise Refused(
            "compute-type",
            f"{document.name}: `computeType` is {f'`{kind}`' if kind else 'missing'}",
            found=f"computeType: {given.get('compute_type')}" if kind else document.at(document.root.line),
            expected=" or ".join(f"`{name}`" for name in COMPUTE_TYPES),
            remedy=f'write `"computeType": "aks"` in {document.name}',
        )
    return {"service": prune(given | {"compute_type": kind})}


def _without_empty(document: Document) -> Document:
    """v1 writes `null` for every setting that is not given."""
    return replace(document, root=drop_empty(document.root))


def drop_empty(item: Item) -> Item:
    """The item without keys whose value is empty, at every level."""
    if not isinstance(item.value, dict):
        return item
    kept = {key: drop_empty(child) for key, child in item.value.items() if child.value is not None}
    return Item(kept, item.line, item.text)
