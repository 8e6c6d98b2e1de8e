"""A service's specification: v1's defaults, and every contradiction named at once."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outhaul.errors import Refused
from outhaul.service.record import Score, Service, ServiceSpec, Version, check_service_name, check_spec


def spec(**fields: Any) -> ServiceSpec:
    return msgspec.convert(fields, ServiceSpec)


def problems(**fields: Any) -> list[str]:
    with pytest.raises(Refused) as refused:
        check_spec(spec(**fields))
    assert refused.value.code == "service-spec"
    return refused.value.found.splitlines()


def test_the_defaults_are_v1s_and_pass() -> None:
    default = ServiceSpec()
    check_spec(default)
    assert (default.autoscaled, default.least, default.most, default.target_utilization) == (True, 1, 10, 70)
    assert (default.scoring_timeout_ms, default.max_queue_wait_ms) == (60_000, 500)
    assert default.max_concurrent_requests_per_container == 1


@pytest.mark.parametrize(
    ("fields", "autoscaled", "least", "most"),
    [
        ({"num_replicas": 3}, False, 3, 3),
        ({"auto_scaler": {"min_replicas": 2, "max_replicas": 4}}, True, 2, 4),
        ({"auto_scaler": {"min_replicas": 12}}, True, 12, 12),
        ({"auto_scaler": {"autoscale_enabled": False}, "num_replicas": 2}, False, 2, 2),
    ],
)
def test_how_many_replicas_are_meant(fields: dict[str, Any], autoscaled: bool, least: int, most: int) -> None:
    found = spec(**fields)
    check_spec(found)
    assert (found.autoscaled, found.least, found.most) == (autoscaled, least, most)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"container_resource_requirements": {"cpu": 1.0, "cpu_limit": 0.5}}, "cpu_limit 0.5"),
        ({"container_resource_requirements": {"memory_in_gb": 2.0, "memory_in_gb_limit": 1.0}}, "memory_in_gb_limit"),
        ({"auto_scaler": {"autoscale_enabled": True}, "num_replicas": 3}, "num_replicas is 3"),
        ({"auto_scaler": {"autoscale_enabled": False}}, "num_replicas is missing"),
        ({"auto_scaler": {"min_replicas": 4, "max_replicas": 2}}, "min_replicas 4 is above max_replicas 2"),
        ({"auto_scaler": {"max_replicas": 4}, "num_replicas": 2}, "autoscaling is off"),
        ({"auto_scaler": {"target_utilization": 101}}, "above 100 percent"),
        ({"token_auth_enabled": True}, "token_auth_enabled"),
        ({"scoring_timeout_ms": 300_001}, "limit of 300000"),
        ({"num_replicas": 0}, "num_replicas is 0"),
        ({"auto_scaler": {"min_replicas": 0}}, "auto_scaler.min_replicas is 0"),
        ({"max_concurrent_requests_per_container": 0}, "max_concurrent_requests_per_container"),
        ({"max_queue_wait_ms": -1}, "0 or more"),
        ({"container_resource_requirements": {"cpu": 0.0}}, "container_resource_requirements.cpu is 0.0"),
        ({"liveness_probe_requirements": {"period_seconds": 0}}, "liveness_probe_requirements.period_seconds"),
    ],
    ids=str,
)
def test_one_contradiction_is_one_line(fields: dict[str, Any], word: str) -> None:
    found = problems(**fields)
    assert len(found) == 1
    assert word in found[0]


def test_all_contradictions_are_named_at_once() -> None:
    found = problems(
        num_replicas=-1,
        token_auth_enabled=True,
        scoring_timeout_ms=0,
        auto_scaler={"autoscale_enabled": True, "min_replicas": 5, "max_replicas": 2},
    )
    assert len(found) == 5


@pytest.mark.parametrize("fields", [{"gpu_cores": 0}, {"max_queue_wait_ms": 0}, {"scoring_timeout_ms": 300_000}])
def test_the_limits_themselves_are_allowed(fields: dict[str, Any]) -> None:
    check_spec(spec(**fields))


@pytest.mark.parametrize("name", ["abc", "a-1", "digits", "a" * 32, "a--b"])
def test_a_name_within_v1s_rule(name: str) -> None:
    check_service_name(name)


@pytest.mark.parametrize(
    "name", ["", "ab", "a" * 33, "1ab", "-ab", "ab-", "Abc", "a_b", "a.b", "äbc", "abc\n", "a b", "../x"]
)
def test_a_name_outside_of_it(name: str) -> None:
    with pytest.raises(Refused) as refused:
        check_service_name(name)
    assert repr(name) in refused.value.found


@given(st.text(max_size=40))
def test_an_allowed_name_is_a_safe_key_and_host_label(name: str) -> None:
    try:
        check_service_name(name)
    except Refused:
        return
    assert name.isascii()
    assert name == name.lower()
    assert not set(name) - set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_the_heaviest_version_leads_and_one_without_weight_does_not_answer() -> None:
    def version(number: int, weight: int) -> Version:
        return Version(
            number=number, weight=weight, created_at="", snapshot="", environment="", score=Score(script="score.py")
        )

    service = Service(
        name="digits", created_at="", updated_at="", versions=[version(1, 10), version(2, 0), version(3, 90)]
    )
    assert [each.number for each in service.live] == [3, 1]
