"""A service: what it asks for, the versions that answer for it, and the states it goes through.

Field names and defaults are Azure ML v1's `deploymentconfig.json` in snake case (`docs/reference/` has the table), so
that a v1 file reads the same. Pure: no clock, no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import msgspec

from outhaul.errors import Refused

SERVICE_NAME = re.compile(r"^[a-z]([-a-z0-9]*[a-z0-9])?$")
MOST_MODELS = 1000
REDACTED = "redacted"
"""Stands in a snapshot where the project's file had a key. It is nobody's key."""


class AutoScaler(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many replicas a service may have. `target_utilization` is in whole percent of busy replicas."""

    autoscale_enabled: bool | None = None
    min_replicas: int | None = None
    max_replicas: int | None = None
    refresh_period_in_seconds: int | None = None
    target_utilization: int | None = None


class Resources(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one replica asks for and may use. CPU in cores, memory in GB (10^9 bytes)."""

    cpu: float = 0.1
    cpu_limit: float | None = None
    memory_in_gb: float = 0.5
    memory_in_gb_limit: float | None = None


class Probe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a replica counts as dead. `initial_delay_seconds` is how long `init()` may take."""

    period_seconds: int = 10
    initial_delay_seconds: int = 310
    timeout_seconds: int = 2
    success_threshold: int = 1
    failure_threshold: int = 3


class DataCollection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether inputs and predictions are kept."""

    storage_enabled: bool = False


class Keys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keys that the user chose. They are moved to the SecretStore at the edge and never reach a record."""

    primary_key: str | None = None
    secondary_key: str | None = None


class ServiceSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the user asks of a service: v1's deployment configuration."""

    compute_type: str = "aks"
    auto_scaler: AutoScaler = AutoScaler()
    num_replicas: int | None = None
    auth_enabled: bool = True
    token_auth_enabled: bool = False
    container_resource_requirements: Resources = Resources()
    gpu_cores: int = 0
    data_collection: DataCollection = DataCollection()
    app_insights_enabled: bool = False
    scoring_timeout_ms: int = 60_000
    max_concurrent_requests_per_container: int = 1
    max_queue_wait_ms: int = 500
    liveness_probe_requirements: Probe = Probe()
    keys: Keys = Keys()
    namespace: str | None = None
    compute_target_name: str | None = None
    tags: dict[str, str] = {}
    properties: dict[str, str] = {}
    description: str = ""
    port: int | None = None

    @property
    def autoscaled(self) -> bool:
        """Autoscaling is on unless a number of replicas was given, as in v1."""
        enabled = self.auto_scaler.autoscale_enabled
        return self.num_replicas is None if enabled is None else enabled

    @property
    def least(self) -> int:
        """The fewest replicas that may serve."""
        return (self.auto_scaler.min_replicas or 1) if self.autoscaled else (self.num_replicas or 1)

    @property
    def most(self) -> int:
        """The most replicas that may serve. v1's default of 10, or `least` where that is more."""
        return max(self.least, self.auto_scaler.max_replicas or 10) if self.autoscaled else (self.num_replicas or 1)

    @property
    def target_utilization(self) -> int:
        """Whole percent of busy replicas that the autoscaler aims at; 70 by default."""
        return self.auto_scaler.target_utilization or 70

    @property
    def refresh_seconds(self) -> int:
        """Seconds between two decisions of the autoscaler; 1 by default."""
        return self.auto_scaler.refresh_period_in_seconds or 1


class ServiceState(StrEnum):
    """v1's states. Healthy and Failed are final; the others may change by themselves."""

    TRANSITIONING = "Transitioning"
    HEALTHY = "Healthy"
    UNHEALTHY = "Unhealthy"
    UNSCHEDULABLE = "Unschedulable"
    FAILED = "Failed"


class ModelRef(msgspec.Struct, frozen=True, order=True):
    """A registered model by name and version (versions count from 1)."""

    name: str
    version: int

    def __str__(self) -> str:
        return f"{self.name}:{self.version}"


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """The score script and the folder that holds it, both relative to the snapshot's root, with `/`."""

    script: str
    source_directory: str = "."


class Version(msgspec.Struct, kw_only=True):
    """One rollout of a service: everything that its replicas are made of. Only `weight` ever changes."""

    number: int
    weight: int = 0
    """Percent of the service's requests that this version answers."""
    created_at: str
    run: str = ""
    """Id of the run that rolled it out."""
    snapshot: str
    """Digest of the snapshot that holds the score files."""
    environment: str
    """Environment hash."""
    score: Score
    models: list[ModelRef] = []
    env_vars: dict[str, str] = {}
    spec: ServiceSpec = ServiceSpec()


class Service(msgspec.Struct, kw_only=True):
    """The record `services/<name>.json`."""

    schema: int = 1
    name: str
    state: ServiceState = ServiceState.TRANSITIONING
    created_at: str
    updated_at: str
    fence: int = 0
    """Number of the deployer lock that wrote last; a writer with a lower one is refused."""
    versions: list[Version] = []
    last_version: int = 0
    """The highest number that was ever given to a version: a number means one thing for ever, also after a failure."""
    key_hashes: list[str] = []
    """sha256 (hex) of the primary and the secondary key. Plain keys stand in the SecretStore only."""
    error: dict[str, Any] | None = None
    deleted: bool = False
    """A tombstone: some stores ignore conditions on deletes, so a service is deleted by a write."""

    @property
    def live(self) -> list[Version]:
        """The versions that answer requests, heaviest first."""
        return sorted((v for v in self.versions if v.weight > 0), key=lambda v: -v.weight)


def replica_deployment(service: str, version: int) -> str:
    """The name of what runs one version's replicas: `digits-3`."""
    return f"{service}-{version}"


def check_service_name(name: str) -> None:
    """Refuse a name outside v1's rule."""
    if not (3 <= len(name) <= 32 and SERVICE_NAME.fullmatch(name)):
        raise Refused(
            "service-name",
            f"`{name}` cannot name a service",
            found=f"{name!r} ({len(name)} characters)",
            expected="3 to 32 lower-case letters, digits and dashes, a letter first, no dash last",
            remedy="choose another name with --service, or `service: {name: …}` in outhaul.yaml",
        )


def check_spec(spec: ServiceSpec) -> None:
    """Refuse a specification that contradicts itself, naming all problems at once."""
    problems = list(_problems(spec))
    if problems:
        raise Refused(
            "service-spec",
            f"the service's settings contradict themselves in {len(problems)} place{'s' if len(problems) > 1 else ''}",
            found="\n".join(problems),
            expected="settings as in docs/reference/service-settings.md",
            remedy="change the settings named above in outhaul.yaml, deploymentconfig.json or the flags",
        )


def _problems(spec: ServiceSpec) -> Iterator[str]:
    scaler, resources = spec.auto_scaler, spec.container_resource_requirements
    yield from _not_positive(spec)
    if resources.cpu_limit is not None and resources.cpu_limit < resources.cpu:
        yield f"cpu_limit {resources.cpu_limit} is below the request cpu {resources.cpu}"
    if resources.memory_in_gb_limit is not None and resources.memory_in_gb_limit < resources.memory_in_gb:
        limit, request = resources.memory_in_gb_limit, resources.memory_in_gb
        yield f"memory_in_gb_limit {limit} is below the request memory_in_gb {request}"
    if scaler.autoscale_enabled and spec.num_replicas is not None:
        yield f"autoscale_enabled is true and num_replicas is {spec.num_replicas}: give one of them"
    if scaler.autoscale_enabled is False and spec.num_replicas is None:
        yield "autoscale_enabled is false and num_replicas is missing"
    if None not in (scaler.min_replicas, scaler.max_replicas) and scaler.min_replicas > scaler.max_replicas:  # type: ignore[operator]
        yield f"min_replicas {scaler.min_replicas} is above max_replicas {scaler.max_replicas}"
    settings = {f: getattr(scaler, f) for f in scaler.__struct_fields__ if f != "autoscale_enabled"}
    given = [name for name, value in settings.items() if value is not None]
    if given and not spec.autoscaled:
        yield f"{', '.join(given)} given, but autoscaling is off"
    if spec.auth_enabled and spec.token_auth_enabled:
        yield "auth_enabled and token_auth_enabled cannot both be true"
    if spec.scoring_timeout_ms > 300_000:
        yield f"scoring_timeout_ms {spec.scoring_timeout_ms} is above the limit of 300000"
    if spec.target_utilization > 100:
        yield f"target_utilization {spec.target_utilization} is above 100 percent"


def _not_positive(spec: ServiceSpec) -> Iterator[str]:
    groups: list[tuple[str, msgspec.Struct]] = [
        ("", spec),
        ("auto_scaler.", spec.auto_scaler),
        ("container_resource_requirements.", spec.container_resource_requirements),
        ("liveness_probe_requirements.", spec.liveness_probe_requirements),
    ]
    for prefix, group in groups:
        for field in group.__struct_fields__:
            value = getattr(group, field)
            least = 0 if field in ("gpu_cores", "initial_delay_seconds", "max_queue_wait_ms") else None
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            if value < 0 or (least is None and value == 0):
                yield f"{prefix}{field} is {value} and must be {'0 or more' if least == 0 else 'above 0'}"
