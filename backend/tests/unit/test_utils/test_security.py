import uuid
from datetime import UTC, datetime, timedelta

import jwt
import pytest

from app import security
from app.security import AUDIENCE, ISSUER, Identity, InvalidTokenError, Passwords, Tokens, key_id

KEY = "k" * 20 + "0123456789abcdefghij"
OTHER_KEY = KEY[::-1]
IDENTITY = Identity(uuid.uuid4(), uuid.uuid4())


def claims(**changes):
    now = datetime.now(UTC)
    complete = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(IDENTITY.user_id),
        "tenant_id": str(IDENTITY.tenant_id),
        "iat": now,
        "exp": now + timedelta(minutes=5),
    }
    return {name: value for name, value in (complete | changes).items() if value is not None}


def signed(key=KEY, algorithm="HS256", **changes):
    return jwt.encode(claims(**changes), key, algorithm=algorithm)


def test_an_issued_token_is_read_back():
    tokens = Tokens([KEY], lifetime=60)

    assert tokens.read(tokens.issue(IDENTITY)) == IDENTITY


def test_a_token_expires_after_its_lifetime():
    issued = Tokens([KEY], lifetime=60, now=lambda: datetime.now(UTC) - timedelta(seconds=61)).issue(IDENTITY)

    with pytest.raises(InvalidTokenError):
        Tokens([KEY], lifetime=60).read(issued)


def test_a_token_that_was_read_before_is_verified_again_once_its_time_is_over():
    moment = [datetime.now(UTC).timestamp()]
    tokens = Tokens([KEY], lifetime=60, clock=lambda: moment[0])
    token = tokens.issue(IDENTITY)
    verified = []
    verify = tokens._verify
    tokens._verify = lambda given: verified.append(given) or verify(given)

    assert [tokens.read(token) for _ in range(3)] == [IDENTITY] * 3
    assert verified == [token]
    moment[0] += 60
    tokens.read(token)
    assert verified == [token, token]


def test_tokens_of_previous_keys_are_read_until_the_keys_are_gone():
    before = Tokens([OTHER_KEY], lifetime=60).issue(IDENTITY)
    rotated = Tokens([KEY, OTHER_KEY], lifetime=60)

    assert rotated.read(before) == IDENTITY
    assert jwt.get_unverified_header(rotated.issue(IDENTITY))["kid"] == key_id(KEY)
    with pytest.raises(InvalidTokenError):
        Tokens([KEY], lifetime=60).read(before)


@pytest.mark.parametrize("key", [KEY, OTHER_KEY])
def test_a_token_without_the_name_of_its_key_is_read_with_each(key):
    assert Tokens([KEY, OTHER_KEY], lifetime=60).read(signed(key=key)) == IDENTITY


def test_the_name_of_a_key_tells_nothing_of_it():
    assert key_id(KEY) != key_id(OTHER_KEY)
    assert key_id(KEY) not in KEY
    assert len(key_id(KEY)) == 12


def test_what_is_remembered_of_tokens_is_bounded(monkeypatch):
    monkeypatch.setattr(security, "_MOST_REMEMBERED", 3)
    tokens = Tokens([KEY], lifetime=60)

    for _ in range(5):
        tokens.read(tokens.issue(IDENTITY))

    assert len(tokens._read) == 3


def test_two_tokens_of_one_user_differ():
    tokens = Tokens([KEY], lifetime=60)

    assert tokens.issue(IDENTITY) != tokens.issue(IDENTITY)


PAST = datetime.now(UTC) - timedelta(hours=1)
FUTURE = datetime.now(UTC) + timedelta(hours=1)


REFUSED = {
    "empty": "",
    "a word": "x",
    "three parts": "a.b.c",
    "not ascii": "…",
    "cut short": signed()[:-3],
    "signature altered": signed() + "x",
    "another key": signed(key=OTHER_KEY),
    "another key under this key's name": jwt.encode(claims(), OTHER_KEY, headers={"kid": key_id(KEY)}),
    "an unknown key's name": jwt.encode(claims(), KEY, headers={"kid": "unknown"}),
    "no algorithm": jwt.encode(claims(), None, algorithm="none"),
    "another algorithm": jwt.encode(claims(), KEY * 2, algorithm="HS512"),
    "expired": signed(exp=PAST),
    "issued in the future": signed(iat=FUTURE),
    "not valid yet": signed(nbf=FUTURE),
    "another audience": signed(aud="another-api"),
    "another issuer": signed(iss="another-issuer"),
    "without exp": signed(exp=None),
    "without iat": signed(iat=None),
    "without aud": signed(aud=None),
    "without iss": signed(iss=None),
    "without sub": signed(sub=None),
    "without tenant": signed(tenant_id=None),
    "malformed sub": signed(sub="not-a-uuid"),
    "malformed tenant": signed(tenant_id="not-a-uuid"),
    "tenant is a number": signed(tenant_id=7),
    "tenant is a list": signed(tenant_id=["x"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_every_other_token_is_refused(name):
    with pytest.raises(InvalidTokenError):
        Tokens([KEY], lifetime=60).read(REFUSED[name])


@pytest.mark.anyio
async def test_a_password_is_verified_against_its_hash():
    passwords = Passwords()
    kept = await passwords.hash("correct horse")

    assert kept.startswith("$argon2id$")
    assert await passwords.verify("correct horse", kept)
    assert not await passwords.verify("wrong horse", kept)


@pytest.mark.anyio
async def test_an_unknown_user_costs_a_real_verification(monkeypatch):
    passwords = Passwords()
    checked = []
    matches = passwords._matches
    monkeypatch.setattr(passwords, "_matches", lambda password, kept: checked.append(kept) or matches(password, kept))

    assert not await passwords.verify("correct horse", None)
    assert len(checked) == 1
    assert checked[0].startswith("$argon2id$")


@pytest.mark.anyio
async def test_a_hash_of_an_unknown_kind_matches_nothing():
    assert not await Passwords().verify("x", "$2b$12$abcdefghijklmnopqrstuv")
