import base64
import secrets

import pytest

from app.placeholders import is_default_password, lacks_variety, reads_like_a_placeholder


@pytest.mark.parametrize("value", ["changeme", "CHANGE_ME", "replace-with-key", "your-secret", "my password", "xxxxxx"])
def test_words_of_example_files_are_recognised(value):
    assert reads_like_a_placeholder(value)


@pytest.mark.parametrize("value", [b"", b"a", b"aaaaaaaaaaaa", b"abcabcabcabc", b"0101010101010101", bytes(32)])
def test_repetition_is_recognised(value):
    assert lacks_variety(value)


def test_random_secrets_pass():
    for _ in range(200):
        text, key = secrets.token_urlsafe(48), secrets.token_bytes(32)
        assert not lacks_variety(text.encode())
        assert not lacks_variety(secrets.token_hex(8).encode())
        assert not lacks_variety(key)
        assert not reads_like_a_placeholder(base64.b64encode(key).decode())


@pytest.mark.parametrize(("password", "expected"), [("postgres", True), ("Admin", True), ("s3cr3t-Zq81", False)])
def test_passwords_that_everybody_tries_are_recognised(password, expected):
    assert is_default_password(password) is expected
