"""A service's two keys."""

from __future__ import annotations

import hashlib

import pytest

from outhaul.errors import Refused
from outhaul.service.keys import changed_pair, ensure_keys, read_keys
from outhaul.service.record import Keys
from tests.fakes import FakeSecrets


def test_the_first_deployment_makes_two_keys_and_tells_their_hashes_only() -> None:
    secrets = FakeSecrets()
    hashes = ensure_keys(secrets, "digits", Keys())
    pair = read_keys(secrets, "digits")
    assert pair is not None
    assert pair.primary_key != pair.secondary_key
    assert hashes == [hashlib.sha256(key.encode()).hexdigest() for key in (pair.primary_key, pair.secondary_key)]


def test_a_later_deployment_keeps_them() -> None:
    secrets = FakeSecrets()
    assert ensure_keys(secrets, "digits", Keys()) == ensure_keys(secrets, "digits", Keys())


def test_a_chosen_key_replaces_its_own_only() -> None:
    secrets = FakeSecrets()
    ensure_keys(secrets, "digits", Keys())
    before = read_keys(secrets, "digits")
    ensure_keys(secrets, "digits", Keys(secondary_key="chosen"))
    after = read_keys(secrets, "digits")
    assert before is not None
    assert after is not None
    assert (after.primary_key, after.secondary_key) == (before.primary_key, "chosen")


def test_services_have_keys_of_their_own() -> None:
    secrets = FakeSecrets()
    assert ensure_keys(secrets, "digits", Keys()) != ensure_keys(secrets, "letters", Keys())


@pytest.mark.parametrize(("which", "field"), [("primary", 0), ("Secondary", 1)])
def test_one_key_is_regenerated_and_the_other_stays(which: str, field: int) -> None:
    secrets = FakeSecrets()
    ensure_keys(secrets, "digits", Keys())
    before = read_keys(secrets, "digits")
    assert before is not None
    after = changed_pair(before, which, None)
    changed = [a != b for a, b in zip(after.hashes, before.hashes, strict=True)]
    assert changed == [field == 0, field == 1]
    assert "chosen" in (
        changed_pair(before, which, "chosen").primary_key,
        changed_pair(before, which, "chosen").secondary_key,
    )


def test_a_third_key_is_refused() -> None:
    secrets = FakeSecrets()
    ensure_keys(secrets, "digits", Keys())
    pair = read_keys(secrets, "digits")
    assert pair is not None
    with pytest.raises(Refused) as refused:
        changed_pair(pair, "third", None)
    assert "third" in refused.value.found
