"""The JSON Schema of `outhaul.yaml` for editors, and the meaning of each service setting. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from outhaul.project.description import Project

TITLE = "outhaul.yaml"

SERVICE_MEANINGS: Mapping[str, str] = {
    "compute_type": "`aks` or `local`, as in v1. Both are served alike.",
    "auto_scaler": "How many replicas the service may have. Cannot stand beside `num_replicas`.",
    "auto_scaler.autoscale_enabled": "Whether replicas come and go with the load; on unless `num_replicas` is given.",
    "auto_scaler.min_replicas": "The fewest replicas; 1 when not given.",
    "auto_scaler.max_replicas": "The most replicas; 10 when not given.",
    "auto_scaler.refresh_period_in_seconds": "Seconds between two decisions; 1 when not given.",
    "auto_scaler.target_utilization": "Percent of busy replicas to aim at; 70 when not given.",
    "num_replicas": "A fixed number of replicas; turns autoscaling off.",
    "auth_enabled": "Whether requests need a key.",
    "token_auth_enabled": "Whether requests need a token. Cannot be true beside `auth_enabled`.",
    "container_resource_requirements": "What one replica asks for, and may use.",
    "container_resource_requirements.cpu": "Cores that a replica is given at least.",
    "container_resource_requirements.cpu_limit": "Cores that a replica may use at most.",
    "container_resource_requirements.memory_in_gb": "GB (10^9 bytes) that a replica is given at least.",
    "container_resource_requirements.memory_in_gb_limit": "GB that a replica may use at most.",
    "gpu_cores": "GPUs of one replica.",
    "data_collection": "Keeping inputs and predictions.",
    "data_collection.storage_enabled": "Whether inputs and predictions are kept.",
    "app_insights_enabled": "Whether requests are reported to telemetry.",
    "scoring_timeout_ms": "Milliseconds that run() may take, at most 300000; 504 beyond.",
    "max_concurrent_requests_per_container": "Requests that one replica answers at once.",
    "max_queue_wait_ms": "Milliseconds that a request may wait for a replica; 503 beyond.",
    "liveness_probe_requirements": "When a replica counts as dead and is started again.",
    "liveness_probe_requirements.period_seconds": "Seconds between two probes.",
    "liveness_probe_requirements.initial_delay_seconds": "Seconds that init() may take.",
    "liveness_probe_requirements.timeout_seconds": "Seconds that an answer to a probe may take.",
    "liveness_probe_requirements.success_threshold": "Good answers that make a replica ready.",
    "liveness_probe_requirements.failure_threshold": "Failed probes that make it dead.",
    "keys": "Keys that you choose; made for you when not given. Better kept out of files: `outhaul service regen-key`.",
    "keys.primary_key": "The first key.",
    "keys.secondary_key": "The second key, accepted just as well, so that the first can be changed.",
    "namespace": "Kubernetes namespace.",
    "compute_target_name": "Name of the attached cluster.",
    "tags": "Names and values to find the service by.",
    "properties": "Names and values that are only ever added to.",
    "description": "What the service is for.",
    "port": "Port of a `local` service.",
}
"""Dotted key under `service` → what it means."""

_MAY_COME_FROM_ELSEWHERE = ("Project", "Train", "ScoreSection")
"""Their required keys may be given by a flag or by a v1 file, so an editor must not ask for them."""


def project_schema() -> dict[str, Any]:
    """The JSON Schema of `outhaul.yaml`."""
    schema = msgspec.json.schema(Project)
    structs = schema["$defs"]
    for name in _MAY_COME_FROM_ELSEWHERE:
        structs[name].pop("required", None)
    _explain(structs, structs["ServiceSection"], "")
    _accept_plain_scalars(structs)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": TITLE,
        "description": "What a project folder trains and serves.",
        **schema,
    }


def _explain(structs: dict[str, Any], struct: dict[str, Any], prefix: str) -> None:
    for key, field in struct["properties"].items():
        field["description"] = field.get("description") or SERVICE_MEANINGS[prefix + key]
        reference = field.get("$ref", "").rpartition("/")[2]
        if reference:
            _explain(structs, structs[reference], f"{prefix}{key}.")


def _accept_plain_scalars(structs: dict[str, Any]) -> None:
    """Arguments and variables are taken as written, so `5` and `true` need no quotes."""
    plain = {"type": ["string", "number", "boolean"]}
    structs["Train"]["properties"]["arguments"]["items"] = plain
    structs["EnvironmentSection"]["properties"]["variables"]["additionalProperties"] = plain


def schema_text() -> str:
    """The schema as `docs/reference/outhaul.schema.json` holds it."""
    return msgspec.json.format(msgspec.json.encode(project_schema()), indent=2).decode() + "\n"
