"""Owns how secrets are kept in the database: encrypted by AES-256-GCM, bound to their place, under keys that change.

An encrypted value is one byte for the version, 8 for the key's id, 12 for the nonce, then the ciphertext with its tag
of 16. The associated data are version and key id, and where the value belongs: its tenant, table and column. Copied
anywhere else it does not decrypt.

Source: NIST SP 800-38D. Random nonces of 96 bits are safe for 2^32 values under one key (8.3), far beyond what is kept.
"""

import hashlib
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION: Final = b"\x01"
_KEY_ID_LENGTH: Final = 8
_NONCE_LENGTH: Final = 12
_TAG_LENGTH: Final = 16
_HEADER_LENGTH: Final = len(_VERSION) + _KEY_ID_LENGTH
_SHORTEST: Final = _HEADER_LENGTH + _NONCE_LENGTH + _TAG_LENGTH
_KEY_ID_PURPOSE: Final = b"maya encryption key id\x00"


class DecryptionError(Exception):
    """A value cannot be decrypted. The message says why, and nothing of the value."""


class UnknownKeyError(DecryptionError):
    """The key that encrypted a value is neither the current one nor a previous one."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an encrypted value belongs."""

    tenant_id: uuid.UUID
    table: str
    column: str

    @property
    def label(self) -> bytes:
        """The place as associated data; no two places read alike."""
        return b"\x00".join((self.tenant_id.bytes.hex().encode(), self.table.encode(), self.column.encode()))


class Cipher:
    """Encrypts with the first of its keys and decrypts with any of them."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        """Take keys of 32 bytes each, the current one first."""
        if not keys or any(len(key) != 32 for key in keys):
            raise ValueError("a cipher needs at least one key, of 32 bytes each")
        self._by_id = {_identify(key): AESGCM(key) for key in reversed(keys)}
        self._current = _identify(keys[0])

    def encrypt(self, plain: str, place: Place) -> bytes:
        """Return `plain` encrypted for `place` with the current key; no two results are alike."""
        header = _VERSION + self._current
        nonce = secrets.token_bytes(_NONCE_LENGTH)
        return header + nonce + self._by_id[self._current].encrypt(nonce, plain.encode(), header + place.label)

    def decrypt(self, value: bytes, place: Place) -> str:
        """Return what was encrypted for `place`; raise `DecryptionError` when it cannot be told."""
        if len(value) < _SHORTEST or value[:1] != _VERSION:
            raise DecryptionError("the value is not one that this version encrypts")
        header, rest = value[:_HEADER_LENGTH], value[_HEADER_LENGTH:]
        cipher = self._by_id.get(header[len(_VERSION) :])
        if cipher is None:
            raise UnknownKeyError("the value was encrypted with a key that is not among the configured ones")
        try:
            plain = cipher.decrypt(rest[:_NONCE_LENGTH], rest[_NONCE_LENGTH:], header + place.label)
        except InvalidTag:
            raise DecryptionError("the value was changed, or belongs somewhere else") from None
        return plain.decode()

    def is_current(self, value: bytes) -> bool:
        """Say whether `value` claims to be encrypted with the current key."""
        return value[:_HEADER_LENGTH] == _VERSION + self._current


def _identify(key: bytes) -> bytes:
    # A hash with a prefix of its own: the id stands in the clear and must tell nothing that the key is used for.
    return hashlib.sha256(_KEY_ID_PURPOSE + key).digest()[:_KEY_ID_LENGTH]
