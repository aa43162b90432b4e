"""Whatever is sent, an answer is a 4xx with the structured body, nothing is stored, and nothing fails.

The operations come from the OpenAPI document. One that takes a body needs a row in `BODIES`: a body that is right.
"""

import base64
import functools
import json
import logging
import uuid
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from sqlalchemy import delete, text

from app.models.tables import User
from app.security import AUDIENCE, ISSUER, Identity
from backend.tests.integration.quick import make_quick_app, open_account, read_stored
from backend.tests.integration.surface import is_problem, list_operations

pytestmark = pytest.mark.anyio

_KEY = "for-the-bad-input-81c2f60ad9e47b35-and-long-enough-for-every-hash-4d1a"

#: What each operation with a body takes. Missing: the webhook, whose body means nothing without Stripe's signature.
BODIES = {
    ("POST", "/api/auth/login"): {"email": "nobody@maya.test", "password": "wrong"},
    ("PUT", "/api/business/me"): {
        "name": "Renamed",
        "timezone": "UTC",
        "phone_number": "+4930123456",
        "receptionist_enabled": False,
        "greeting": "Hello",
    },
    ("POST", "/api/bookings"): {
        "customer_name": "Ada",
        "customer_phone": "+4930123456",
        "customer_email": "ada@example.org",
        "starts_at": "2030-01-31T09:00:00Z",
        "duration_minutes": 30,
        "notes": "",
        "amount": "100.00",
        "currency": "eur",
    },
    ("POST", "/api/assistant/reply"): {"message": "Are you open on Sunday?", "caller": "+4930123456"},
}
SIGNED = {("POST", "/api/webhooks/stripe")}

#: Bodies that no operation takes.
MALFORMED = [
    b"",
    b"{",
    b"not json",
    b"{'a': 1}",
    b"null",
    b"true",
    b"[]",
    b"[{}]",
    b'"text"',
    b"0",
    b"1e400",
    b"NaN",
    b'{"a":1}}',
    b'{"unknown": 1}',
    b'{"__proto__": {}}',
    b'{"\\ud800": 1}',
    b'{"\\u0000": 1}',
    b'{"a": "\xff\xfe"}',
    b"\xff\xfe{\x00",
    b"\x00",
    b'{"a": 1' + b"0" * 5000 + b"}",
    b"[" * 5000,
    b'{"a":' * 5000,
]
HUGE = b'{"notes": "' + b"x" * 70_000 + b'"}'

#: Values that no field takes.
WRONG = [
    b"{}",
    b"[]",
    b'[""]',
    b"1e400",
    b"-1e400",
    b"NaN",
    b"Infinity",
    b'"a\\u0000b"',
    b'"\\ud800"',
    b'"' + b"x" * 9000 + b'"',
]

SQL = [
    "' OR '1'='1",
    "'; DROP TABLE bookings; --",
    "\\'; SELECT pg_sleep(9) --",
    "$1",
    "%s %(tenant_id)s :tenant_id",
    "1) OR (1=1",
]

AMOUNTS = [
    *b"-1 0 -0.0 0.49 0.001 100.001 1e18 1000000000000000000 100000000 99999999.991 1e-400 1e400 true false".split(),
    *b'NaN Infinity -Infinity "-1" "0" "0.49" "1,00" "1e2" "1_000" "+1" "0x10" ".50" "1." "1.000" "NaN"'.split(),
    *b'"Infinity" "" "007" "1\\u0000" "\\u0661\\u0660\\u0660" "\\uff11\\uff10" [] {}'.split(),
    b'" 1"',
    b'"1 "',
    # Each is the limit itself once it has been a float.
    *b"0.49999999999999999999 100.0000000000000000001 99999999.9900000000001".split(),
    b"1" + b"0" * 400,
    b'"' + b"9" * 9000 + b'"',
]

DATES = [
    *["2025-02-30T09:00:00Z", "2025-02-29T09:00:00Z", "2025-13-01T09:00:00Z", "2025-00-10T09:00:00Z"],
    *["2025-01-00T09:00:00Z", "2025-01-31T24:00:00Z", "2025-01-31T23:60:00Z", "2025-01-31T23:59:60Z"],
    *["2025-01-31T09:00:00+24:00", "2025-01-31T09:00:00+01:60", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00+01:00"],
    *["9999-12-31T23:59:59-01:00", "10000-01-01T00:00:00Z", "-2025-01-01T00:00:00Z", "1999-12-31T23:59:59Z"],
    *["2200-01-01T00:00:00Z", "2025-01-31", "2025-01-31T09:00:00", "2025-01-31T09:00Z", "20250131T090000Z"],
    *["2025-W05-5T09:00:00Z", "tomorrow", "now()", "infinity", "1738314000", "2025-01-31T09:00:00.1234567Z"],
    *["2025-01-31T09:00:00[Europe/Berlin]", "٢٠٢٥-01-31T09:00:00Z"],
    "",
    "31.01.2025 09:00",
    "2025-01-31T09:00:00 Z",
    "2025-01-31T09:00:00Z\n",
    "2025-01-31T09:00:00Z\x00",
]

FIELDS = {
    "amount": AMOUNTS,
    "starts_at": [*(json.dumps(date).encode() for date in DATES), *b"0 1738314000 true null".split()],
    "duration_minutes": [*b'0 -5 4 1441 30.5 "30" true null 1e18'.split(), b"9" * 400],
    "currency": b'"EUR" "eu" "euro" "xxx" "ugx" "" 1 "eur\\n" "\\u0435ur"'.split(),
    "customer_name": [*b'"" null 1'.split(), b'"   "', b'"' + b"x" * 201 + b'"'],
    "customer_phone": [
        *b'"" "+0123456" "+49301234567890123" "+4930123456\\n" "+\\u0664\\u0669\\u0663\\u0660" 4930123456'.split(),
        b'"030 123"',
    ],
    "customer_email": [
        *b'"" "ada" "@example.org" "ada@" 1'.split(),
        b'"a b@example.org"',
        b'"ada@example.org\\nBcc: x@example.org"',
    ],
    "notes": [*b"null 1".split(), b'"' + b"x" * 2001 + b'"'],
}

IDS = [
    *[
        "1",
        "-1",
        "null",
        "None",
        "%00",
        "%FF%FE",
        "%27%20OR%20%271%27=%271",
        "%3Bdrop%20table",
        "%ED%A0%80",
        "..%2F..%2Fetc",
    ],
    "x" * 3000,
    f"{uuid.UUID(int=0)}%00",
]


@pytest.fixture
async def app(database_url, make_settings, stripe_settings):
    settings = stripe_settings | {
        "jwt_secret_key": _KEY,
        "rate_limit_login": "off",
        "login_failure_limit": 1000,
    }
    app = make_quick_app(make_settings(database_url=database_url, **settings))
    yield app
    await app.state.parts.links.close()
    await app.state.parts.database.close()


@pytest.fixture
async def tenant(app):
    return await open_account(app)


@pytest.fixture
def operations(app):
    return list_operations(app)


@pytest.fixture
def stored(app, tenant):
    """What is kept of the tenant, in every table that names it."""
    return functools.partial(read_stored, app, tenant[0])


@pytest.fixture(autouse=True)
def nothing_fails(caplog):
    """No request ends in an error that somebody would have to look at."""
    caplog.set_level(logging.INFO)
    yield
    loud = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [(record.message, record.exc_text) for record in loud] == []


@pytest.fixture
def refuses(client, tenant, stored):
    """Sends every case, and expects a 4xx of the statuses given, as a problem, and nothing stored."""

    async def refuses(cases, *, statuses=frozenset({400, 404, 413, 422})):
        assert cases
        before = await stored()
        wrong = []
        for method, path, request in cases:
            headers = tenant[1] | {"Content-Type": "application/json"} | request.pop("headers", {})
            response = await client.request(method, path, headers=headers, **request)
            if response.status_code not in statuses or not is_problem(response):
                wrong.append((method, path[:200], str(request)[:200], response.status_code, response.text[:300]))
        assert wrong == []
        assert await stored() == before

    return refuses


def with_field(body: dict, field: str, raw: bytes) -> bytes:
    """Render a body with one field's value as these bytes."""
    rest = json.dumps({name: value for name, value in body.items() if name != field}).encode()
    joint = b", " if len(rest) > 2 else b""
    return rest[:-1] + joint + json.dumps(field).encode() + b": " + raw + b"}"


def repeat_last(body: dict) -> bytes:
    """Render a body whose last member stands twice."""
    name, value = list(body.items())[-1]
    return json.dumps(body).encode()[:-1] + f", {json.dumps(name)}: {json.dumps(value)}}}".encode()


async def test_every_operation_with_a_body_has_a_row_here(operations):
    taking = {operation.name for operation in operations if operation.takes_body}

    assert taking - SIGNED <= BODIES.keys()


async def test_malformed_bodies_are_refused(operations, refuses):
    await refuses(
        [
            (operation.method, operation.path, {"content": body})
            for operation in operations
            if operation.takes_body
            for body in MALFORMED
        ]
    )


@pytest.mark.parametrize("encode", [lambda body: json.dumps(body).encode("utf-16"), repeat_last])
async def test_a_body_that_two_readers_may_read_in_two_ways_is_refused(operations, refuses, encode):
    cases = [
        (operation.method, operation.path, {"content": encode(BODIES[operation.name])})
        for operation in operations
        if operation.name in BODIES
    ]

    await refuses(cases, statuses={400})


async def test_huge_bodies_are_refused(operations, refuses):
    taking = [operation for operation in operations if operation.takes_body]
    whole = [(operation.method, operation.path, {"content": HUGE}) for operation in taking]

    async def pieces():
        for start in range(0, len(HUGE), 10_000):
            yield HUGE[start : start + 10_000]

    unannounced = [(operation.method, operation.path, {"content": pieces()}) for operation in taking]
    await refuses(whole + unannounced, statuses={413})


async def test_a_value_of_another_type_is_refused_in_every_field(operations, refuses):
    await refuses(
        [
            (operation.method, operation.path, {"content": with_field(BODIES[operation.name], field, raw)})
            for operation in operations
            if operation.name in BODIES
            for field in BODIES[operation.name]
            for raw in WRONG
        ],
        statuses={422},
    )


@pytest.mark.parametrize("field", FIELDS)
async def test_a_booking_is_refused_for_each_value_that_breaks_a_rule(refuses, field):
    body = BODIES["POST", "/api/bookings"]
    cases = [("POST", "/api/bookings", {"content": with_field(body, field, raw)}) for raw in FIELDS[field]]

    await refuses(cases, statuses={422})


async def test_sql_is_text_like_any_other(app, client, tenant, operations, stored):
    """Where text is free it is kept as it is; elsewhere it is refused. Nothing else comes of it."""
    before = await stored()
    for operation in operations:
        for field in BODIES.get(operation.name, {}):
            # A password costs a hash each time.
            for words in SQL[:1] if field == "password" else SQL:
                body = BODIES[operation.name] | {field: words}
                response = await client.request(operation.method, operation.path, headers=tenant[1], json=body)
                assert response.status_code in {200, 201, 401, 409, 422, 503}, response.text
                if response.status_code in {200, 201} and field in response.json():
                    assert response.json()[field] == words
                if response.status_code == 201 and operation.path == "/api/bookings":
                    cancelled = await client.post(f"/api/bookings/{response.json()['id']}/cancel", headers=tenant[1])
                    assert cancelled.status_code == 200

    assert (await stored()).keys() == before.keys()
    assert await open_account(app)


async def test_sql_in_addresses_and_questions_is_refused(operations, client, tenant, stored):
    before = await stored()
    for operation in operations:
        for words in [*SQL, "\x00", "\ud7ff", "ü" * 500, "-1", "1e999", "true", "[]"]:
            parameters = dict.fromkeys(operation.query_names, words)
            if parameters:
                response = await client.request(
                    operation.method, operation.at(str(uuid.uuid4())), headers=tenant[1], params=parameters
                )
                assert response.status_code in {400, 404, 414, 422}, (operation, words, response.text)
                assert is_problem(response)
    assert await stored() == before


async def test_malformed_and_unknown_ids_are_refused(operations, refuses):
    with_id = [operation for operation in operations if operation.path_names]
    await refuses(
        [(operation.method, operation.at(value), {}) for operation in with_id for value in IDS], statuses={404, 422}
    )
    await refuses([(operation.method, operation.at(str(uuid.uuid4())), {}) for operation in with_id], statuses={404})


def encode(part: dict) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def make_tokens(user_id: uuid.UUID, tenant_id: uuid.UUID) -> dict[str, str]:
    """Tokens that a careless backend takes."""
    now = datetime.now(UTC)
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(user_id),
        "tenant_id": str(tenant_id),
        "iat": now,
        "exp": now + timedelta(hours=1),
    }
    plain = claims | {"iat": int(now.timestamp()), "exp": int(now.timestamp()) + 3600}
    good = jwt.encode(claims, _KEY, algorithm="HS256")
    header, body, signature = good.split(".")
    others = {
        "expired": claims | {"exp": now - timedelta(seconds=30), "iat": now - timedelta(hours=1)},
        "for another audience": claims | {"aud": "elsewhere"},
        "of another issuer": claims | {"iss": "elsewhere"},
        "without expiry": {name: value for name, value in claims.items() if name != "exp"},
        "without tenant": {name: value for name, value in claims.items() if name != "tenant_id"},
        "for another tenant": claims | {"tenant_id": str(uuid.uuid4())},
        "for an unknown user": claims | {"sub": str(uuid.uuid4())},
        "with sql": claims | {"sub": "' OR 1=1 --"},
    }
    return {name: jwt.encode(changed, _KEY, algorithm="HS256") for name, changed in others.items()} | {
        "empty": "",
        "garbage": "garbage",
        "null bytes": "\x00.\x00.\x00",
        "huge": "x" * 20_000,
        "of another key": jwt.encode(claims, "k" * 48, algorithm="HS256"),
        "of a longer hash": jwt.encode(claims, _KEY, algorithm="HS512"),
        "alg none": f"{encode({'alg': 'none', 'typ': 'JWT'})}.{encode(plain)}.",
        "alg None": f"{encode({'alg': 'None', 'typ': 'JWT'})}.{encode(plain)}.",
        "alg none, signed": f"{encode({'alg': 'none', 'typ': 'JWT'})}.{encode(plain)}.{signature}",
        "no signature": f"{header}.{body}.",
        "another body": f"{header}.{encode(plain | {'sub': str(uuid.uuid4())})}.{signature}",
        "a key from outside": f"{encode({'alg': 'HS256', 'kid': '../../dev/null', 'jku': 'http://127.0.0.1:1'})}.{body}.{signature}",
    }


async def test_no_operation_takes_a_token_that_is_not_good(app, client, operations, tenant):
    async with app.state.parts.database.session() as session:
        user_id = await session.scalar(text("SELECT id FROM users WHERE tenant_id = :id"), {"id": tenant[0]})
    headers = {
        name: {"Authorization": f"Bearer {token}".encode()} for name, token in make_tokens(user_id, tenant[0]).items()
    } | {
        "none": {},
        "of another kind": {"Authorization": "Basic bm9ib2R5Om5vYm9keQ=="},
        "not ascii": {"Authorization": "Bearer ü".encode()},
    }
    guarded = [operation for operation in operations if operation.needs_token]
    assert {operation.path for operation in guarded} >= {
        "/api/business/me",
        "/api/bookings",
        "/api/payments/{payment_id}",
    }

    taken = []
    for operation in guarded:
        for name, value in headers.items():
            response = await client.request(
                operation.method,
                operation.at(str(uuid.uuid4())),
                headers=value,
                params=dict.fromkeys(operation.query_names, str(tenant[0]))
                if "business_id" in operation.query_names
                else {},
                json=BODIES.get(operation.name),
            )
            refused = response.status_code == 401 and is_problem(response) and "www-authenticate" in response.headers
            if not refused and not (name == "huge" and response.status_code == 431):
                taken.append((operation.name, name, response.status_code, response.text[:200]))
    assert taken == []


async def test_the_token_of_a_user_who_is_gone_opens_nothing(app, client, operations, tenant):
    async with app.state.parts.database.session() as session:
        await session.execute(delete(User).where(User.tenant_id == tenant[0]))
        await session.commit()

    for operation in operations:
        if operation.needs_token:
            response = await client.request(
                operation.method,
                operation.at(str(uuid.uuid4())),
                headers=tenant[1],
                params={"business_id": str(tenant[0])} if "business_id" in operation.query_names else {},
                json=BODIES.get(operation.name),
            )
            assert response.status_code == 401, (operation, response.text)


async def test_a_good_token_is_taken(app, client, tenant):
    """What the tests above refuse is refused for its token, and not for something else."""
    async with app.state.parts.database.session() as session:
        user_id = await session.scalar(text("SELECT id FROM users WHERE tenant_id = :id"), {"id": tenant[0]})
    token = app.state.parts.authenticator.tokens.issue(Identity(user_id, tenant[0]))

    response = await client.get("/api/bookings", headers={"Authorization": f"Bearer {token}"})

    assert response.status_code == 200
