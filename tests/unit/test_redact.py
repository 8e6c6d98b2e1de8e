"""Service keys in project files: every value goes, everything else stays."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from outhaul.errors import Refused
from outhaul.snapshot.redact import REDACTED, redact


def test_keys_in_deploymentconfig_are_replaced() -> None:
    content = {"computeType": "aks", "keys": {"primaryKey": "s3cret", "secondaryKey": None}}

    redacted = redact("conf/deploymentconfig.json", json.dumps(content).encode())

    assert json.loads(redacted) == {"computeType": "aks", "keys": {"primaryKey": REDACTED, "secondaryKey": None}}


def test_in_outhaul_yaml_only_the_values_change() -> None:
    content = """\
name: digits  # stays
service:
  keys: {primary_key: "s3c ret", secondary_key: 's3cret'}
  num_replicas: 2
"""

    assert redact("outhaul.yaml", content.encode()).decode() == (
        "name: digits  # stays\nservice:\n  keys: {primary_key: redacted, secondary_key: redacted}\n  num_replicas: 2\n"
    )


@pytest.mark.parametrize(
    "content",
    [
        "service: {keys: {primary_key: s3cret}}",
        "x: &k s3cret\nservice: {keys: {primary_key: *k}}",
        "x: &k {primary_key: s3cret}\nservice: {keys: *k}",
        "x: &k {primary_key: s3cret}\nservice: {keys: {<<: *k}}",
        "x: &s {keys: {primary_key: s3cret}}\nservice: {<<: *s, name: a}",
        "service:\n  keys:\n    primary_key: |\n      s3cret\n    secondary_key: >-\n      s3cret\n",
        "service: {keys: [s3cret, {deeper: s3cret}]}",
        "service: {keys: {primary_key: !!str s3cret, secondary_key: !!str &k s3cret}, x: *k}",
        '{"service": {"keys": {"primary_key": "s3cret"}}}',
    ],
)
def test_however_the_keys_are_written_they_go(content: str) -> None:
    redacted = redact("outhaul.yaml", content.encode())

    assert b"s3cret" not in redacted
    assert REDACTED in str(yaml.safe_load(redacted)["service"])


@settings(max_examples=50, deadline=None)
@given(st.text(min_size=1), st.text(min_size=1))
@example("null", "~")
@example("two\nlines\n", "# no comment")
def test_no_key_survives_and_the_file_reads_the_same_otherwise(primary: str, secondary: str) -> None:
    document = {"name": "a", "service": {"keys": {"primary_key": primary, "secondary_key": secondary}, "cpu": 1}}

    redacted = yaml.safe_load(redact("outhaul.yaml", yaml.safe_dump(document).encode()))

    assert redacted == {
        "name": "a",
        "service": {"keys": {"primary_key": REDACTED, "secondary_key": REDACTED}, "cpu": 1},
    }


@pytest.mark.parametrize(
    "content", ["name: a", "service: {name: a}  # no keys", "keys: [a]", "service: {keys: {}}", ""]
)
def test_a_file_without_keys_comes_back_as_it_is(content: str) -> None:
    assert redact("outhaul.yaml", content.encode()) == content.encode()


@pytest.mark.parametrize("path", ["outhaul.yaml", "deploymentconfig.json"])
@pytest.mark.parametrize("content", [b"{service: [keys: s3cret", b"\xff keys"])
def test_keys_in_a_broken_file_are_refused_without_showing_them(path: str, content: bytes) -> None:
    with pytest.raises(Refused) as refused:
        redact(path, content)
    assert refused.value.code == "snapshot-keys-unreadable"
    assert "s3cret" not in str(refused.value)
