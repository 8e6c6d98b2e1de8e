"""A service's two keys. Plain keys stand in the SecretStore; records and the router know their sha256 only."""

from __future__ import annotations

import hashlib
import secrets as random

import msgspec

from outhaul.errors import Refused
from outhaul.ports import SecretStore
from outhaul.service.record import Keys


class KeyPair(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What `service get-keys` answers: both are accepted, so that one can be changed while the other is in use."""

    primary_key: str
    secondary_key: str

    @property
    def hashes(self) -> list[str]:
        return [hashlib.sha256(key.encode()).hexdigest() for key in (self.primary_key, self.secondary_key)]


def ensure_keys(secrets: SecretStore, service: str, chosen: Keys) -> list[str]:
    """The hashes of the service's keys: kept where they exist, the chosen ones where the user gave some, else new ones.

    A deployment never changes a key by itself: clients that hold one keep working.
    """
    known = read_keys(secrets, service)
    pair = KeyPair(
        primary_key=chosen.primary_key or (known.primary_key if known else new_key()),
        secondary_key=chosen.secondary_key or (known.secondary_key if known else new_key()),
    )
    if pair != known:
        write_keys(secrets, service, pair)
    return pair.hashes


def read_keys(secrets: SecretStore, service: str) -> KeyPair | None:
    data = secrets.get(f"service-{service}-keys")
    return msgspec.json.decode(data, type=KeyPair) if data else None


def write_keys(secrets: SecretStore, service: str, pair: KeyPair) -> None:
    secrets.put(f"service-{service}-keys", msgspec.json.encode(pair))


def changed_pair(pair: KeyPair, which: str, value: str | None) -> KeyPair:
    """The pair with its `primary` or `secondary` key replaced by `value`, or by a new one."""
    field = {"primary": "primary_key", "secondary": "secondary_key"}.get(which.lower())
    if field is None:
        raise Refused(
            "key-name",
            "there is no such key",
            found=repr(which),
            expected="`primary` or `secondary`",
            remedy="name one of the two with --key",
        )
    return msgspec.structs.replace(pair, **{field: value or new_key()})


def new_key() -> str:
    """32 random bytes, as 43 URL-safe characters."""
    return random.token_urlsafe(32)
