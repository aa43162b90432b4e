from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from backend.tests.vendors.google_server import CLIENT_SECRET
from backend.tests.vendors.vendor_server import Answer, Garbage, answer_json

ENCRYPTION_KEYS = ("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=")
#: What conftest.py gives every application.
SIGNING_KEY = "k1" * 32
LEAKING = {"error": "invalid_grant", "error_description": "canary-from-google", "echo": CLIENT_SECRET}


async def connect(client, google, business_id, seen):
    """Go the whole way, and collect every secret on it."""
    started = await client.get("/oauth/google/start", params={"business_id": business_id})
    asked = dict(parse_qsl(urlsplit(started.headers["location"]).query))
    code = google.agree(asked)
    seen |= {code, asked["state"], *client.cookies.values()}
    return await client.get("/oauth/google/callback", params={"state": asked["state"], "code": code})


@pytest.mark.anyio
async def test_no_token_code_or_key_is_ever_logged_or_answered(serve, account, authorized, database_url, google):
    variables = {name.upper(): str(value) for name, value in google.settings.items()}
    server = serve(
        DATABASE_URL=database_url,
        LOG_LEVEL="DEBUG",
        GOOGLE_TIMEOUT="20",
        JWT_SECRET_KEY=SIGNING_KEY,
        ENCRYPTION_KEY=ENCRYPTION_KEYS[0],
        ENCRYPTION_PREVIOUS_KEYS=ENCRYPTION_KEYS[1],
        **variables,
    )
    secrets: set[str] = set()
    answers = []
    month = {"from": "2030-01-01T00:00:00Z", "to": "2030-01-31T00:00:00Z"}
    business_id = str(account.tenant_id)
    async with httpx.AsyncClient(base_url=server.url, headers=authorized, timeout=60) as client:
        for reply in (answer_json(LEAKING, status=400), Answer(500, CLIENT_SECRET.encode()), Garbage()):
            google.script(reply)
            answers.append(await connect(client, google, business_id, secrets))
        answers.append(await connect(client, google, business_id, secrets))
        secrets |= google.tokens
        for reply in (None, answer_json(LEAKING, status=403), Garbage()):
            google.script(*([reply] if reply else []))
            answers.append(await client.get("/api/calendar/availability", params=month))
        google.expire_access_tokens()
        google.script(Answer(401), answer_json(LEAKING, status=503))
        answers.append(await client.get("/api/calendar/availability", params=month))
        answers.append(await client.get("/api/calendar/availability", params=month))
        secrets |= google.tokens
        answers += [await client.get("/api/calendar"), await client.delete("/api/calendar")]
    server.stop()

    assert [answer.status_code for answer in answers] == [400, 502, 502, 200, 200, 200, 200, 200, 200, 200, 204]
    said = "\n".join(answer.text + repr(sorted(answer.headers.items())) for answer in answers)
    logged = server.log.read_text(encoding="utf-8")
    assert '"path": "/oauth/google/callback"' in logged
    assert len(secrets) >= 8
    for secret in {*secrets, "canary", CLIENT_SECRET, *ENCRYPTION_KEYS, SIGNING_KEY, authorized["Authorization"]}:
        assert secret not in logged
        assert secret not in said
