"""The contract of SecretStore, over every adapter."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from outhaul.adapters.file_secrets import FileSecrets
from outhaul.errors import Denied, Refused
from outhaul.ports import SecretStore
from tests.contract.test_object_store import as_ordinary_user
from tests.fakes import FakeSecrets


@pytest.fixture(params=["fake", "files"])
def secrets(request: pytest.FixtureRequest, tmp_path: Path) -> SecretStore:
    return FakeSecrets() if request.param == "fake" else FileSecrets(tmp_path / "secrets")


def test_a_secret_is_read_back_replaced_and_gone_after_delete(secrets: SecretStore) -> None:
    secrets.put("service-digits-keys", b"\x00one")
    assert secrets.get("service-digits-keys") == b"\x00one"
    secrets.put("service-digits-keys", b"two")
    assert secrets.get("service-digits-keys") == b"two"
    secrets.delete("service-digits-keys")
    assert secrets.get("service-digits-keys") is None


def test_an_absent_secret_is_none_and_its_delete_is_fine(secrets: SecretStore) -> None:
    secrets.delete("never")
    assert secrets.get("never") is None


def test_nobody_else_can_read_whatever_the_umask_and_the_folder_were(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir(mode=0o755)
    before = os.umask(0)
    try:
        FileSecrets(tmp_path / "secrets").put("key", b"1")
    finally:
        os.umask(before)
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert [(p.name, p.stat().st_mode & 0o777) for p in (tmp_path / "secrets").iterdir()] == [("key", 0o600)]


def test_another_users_secret_is_denied_and_not_taken_for_absent(tmp_path: Path) -> None:
    store = FileSecrets(tmp_path / "secrets")
    store.put("key", b"1")
    if os.getuid() != 0:
        (tmp_path / "secrets/key").chmod(0)
    with as_ordinary_user(), pytest.raises(Denied):
        store.get("key")


@pytest.mark.parametrize("name", ["../a", "a/b", "", ".", "..", ".part-1", "a\0", "a\n"])
def test_a_name_that_would_leave_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Refused):
        FileSecrets(tmp_path / "secrets").put(name, b"1")
