import uuid

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.services.encryption import Cipher, DecryptionError, Place, UnknownKeyError

KEY, OTHER_KEY, THIRD_KEY = (AESGCM.generate_key(256) for _ in range(3))
TENANT = uuid.uuid4()
PLACE = Place(TENANT, "calendar_connections", "refresh_token")


@pytest.mark.parametrize("plain", ["", "1//token", "Grüß Gott 你好", "x" * 10_000])
def test_what_was_encrypted_is_decrypted(plain):
    cipher = Cipher([KEY])

    assert cipher.decrypt(cipher.encrypt(plain, PLACE), PLACE) == plain


def test_no_two_results_are_alike_and_none_shows_its_content():
    results = [Cipher([KEY]).encrypt("1//token", PLACE) for _ in range(200)]

    assert len(set(results)) == len(results)
    assert not any(b"token" in result for result in results)


def test_a_change_of_any_byte_is_noticed():
    cipher = Cipher([KEY])
    value = cipher.encrypt("1//token", PLACE)

    for position in range(len(value)):
        changed = bytearray(value)
        changed[position] ^= 1
        with pytest.raises(DecryptionError):
            cipher.decrypt(bytes(changed), PLACE)


@pytest.mark.parametrize("length", [0, 1, 9, 21, 36])
def test_what_is_cut_short_is_not_decrypted(length):
    cipher = Cipher([KEY])

    with pytest.raises(DecryptionError):
        cipher.decrypt(cipher.encrypt("1//token", PLACE)[:length], PLACE)


@pytest.mark.parametrize(
    "elsewhere",
    [
        Place(uuid.uuid4(), PLACE.table, PLACE.column),
        Place(TENANT, "oauth_states", PLACE.column),
        Place(TENANT, PLACE.table, "access_token"),
        Place(TENANT, PLACE.table + "refresh", "_token"),
    ],
)
def test_what_is_copied_elsewhere_is_not_decrypted(elsewhere):
    cipher = Cipher([KEY])

    with pytest.raises(DecryptionError):
        cipher.decrypt(cipher.encrypt("1//token", PLACE), elsewhere)


def test_a_previous_key_decrypts_and_the_first_encrypts():
    kept = Cipher([OTHER_KEY]).encrypt("1//token", PLACE)
    rotated = Cipher([KEY, THIRD_KEY, OTHER_KEY])

    assert rotated.decrypt(kept, PLACE) == "1//token"
    assert not rotated.is_current(kept)
    renewed = rotated.encrypt("1//token", PLACE)
    assert rotated.is_current(renewed)
    assert Cipher([KEY]).decrypt(renewed, PLACE) == "1//token"


def test_a_key_that_is_gone_is_told_apart():
    kept = Cipher([OTHER_KEY]).encrypt("1//token", PLACE)

    with pytest.raises(UnknownKeyError):
        Cipher([KEY]).decrypt(kept, PLACE)


def test_the_keys_id_does_not_hold_the_key_and_errors_do_not_hold_the_content():
    value = Cipher([KEY]).encrypt("1//token", PLACE)

    assert not any(KEY[start : start + 4] in value[:21] for start in range(len(KEY) - 4))
    with pytest.raises(DecryptionError) as caught:
        Cipher([KEY]).decrypt(value[:-1], PLACE)
    assert "token" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("keys", [[], [b"short"], [KEY, b""]])
def test_a_cipher_without_usable_keys_is_not_made(keys):
    with pytest.raises(ValueError, match="32 bytes"):
        Cipher(keys)
