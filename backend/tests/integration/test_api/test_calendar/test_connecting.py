from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from sqlalchemy import delete, func, select, update

from app.models.tables import CalendarConnection, OAuthState, Tenant, User
from backend.tests.vendors.google_server import CLIENT_ID
from backend.tests.vendors.vendor_server import Answer, Cut, Drip, Garbage, Hang, answer_json

pytestmark = pytest.mark.anyio

START, CALLBACK, STATE = "/oauth/google/start", "/oauth/google/callback", "/api/calendar"
NOT_CONNECTED = {"available": True, "connected": False, "account": None}


def state_of(google):
    return {"available": True, "connected": True, "account": google.account}


def states_of(account):
    return select(OAuthState.state_hash, OAuthState.code_verifier).where(OAuthState.tenant_id == account.tenant_id)


async def assert_refused(client, headers, params, *, status=400, error):
    response = await client.get(CALLBACK, params=params)
    assert (response.status_code, response.json()["error"]) == (status, error), response.text
    assert response.headers["cache-control"] == "no-store"
    assert (await client.get(STATE, headers=headers)).json() == NOT_CONNECTED
    return response


async def test_a_business_connects_its_calendar_in_a_browser(client, account, authorized, google, read):
    params = {"business_id": str(account.tenant_id)}
    sent = await client.get(START, params=params, headers=authorized | {"Accept": "text/html"})
    assert (sent.status_code, sent.headers["cache-control"]) == (302, "no-store")
    async with httpx.AsyncClient() as browser:
        agreed = await browser.get(sent.headers["location"])

    back = await client.get(agreed.headers["location"])

    assert (back.status_code, back.json()) == (200, {"connected": True, "account": google.account})
    assert (await client.get(STATE, headers=authorized)).json() == state_of(google)
    assert (await client.get("/api/business/me", headers=authorized)).json()["calendar"] == state_of(google)
    assert await read(states_of(account)) == []
    ((refresh_token, access_token),) = await read(
        select(CalendarConnection.refresh_token, CalendarConnection.access_token).where(
            CalendarConnection.tenant_id == account.tenant_id
        )
    )
    assert not any(token.encode() in refresh_token + access_token for token in google.tokens)


async def test_google_is_asked_for_the_least_and_with_proof(client, account, authorized, start, read):
    asked = await start(account, authorized)
    again = await start(account, authorized)

    assert {name: value for name, value in asked.items() if name not in {"state", "code_challenge"}} == {
        "client_id": CLIENT_ID,
        "redirect_uri": "http://maya.test/oauth/google/callback",
        "response_type": "code",
        "scope": "openid email https://www.googleapis.com/auth/calendar.freebusy",
        "access_type": "offline",
        "prompt": "consent",
        "code_challenge_method": "S256",
    }
    for once in ("state", "code_challenge"):
        assert len(asked[once]) == 43
        assert asked[once] != again[once]
    kept = await read(states_of(account))
    assert len(kept) == 2
    assert not any(asked["state"].encode() in b"".join(row) for row in kept)


@pytest.mark.parametrize(
    ("accept", "status"),
    [("application/json", 200), ("application/json, text/plain, */*", 200), ("text/html", 302), ("*/*", 302)],
)
async def test_a_program_is_told_where_to_go_and_a_browser_is_sent(client, account, authorized, accept, status):
    params = {"business_id": str(account.tenant_id)}

    response = await client.get(START, params=params, headers=authorized | {"Accept": accept})

    assert response.status_code == status
    cookie = response.headers["set-cookie"].lower()
    assert all(part in cookie for part in ("httponly", "samesite=lax", "max-age=600", "path=/"))


async def test_over_tls_the_cookie_is_the_hosts_alone(make_app, browse, account, authorized):
    secure = browse(make_app(public_url="https://maya.test"))

    response = await secure.get(START, params={"business_id": str(account.tenant_id)}, headers=authorized)

    name, _, rest = response.headers["set-cookie"].partition("=")
    assert name == "__Host-maya-oauth"
    assert "Secure" in rest
    assert "Domain" not in rest
    assert parse_qsl(urlsplit(response.headers["location"]).query)[1] == (
        "redirect_uri",
        "https://maya.test/oauth/google/callback",
    )


async def test_without_google_the_start_says_why(make_app, browse, account, authorized):
    plain = make_app(google_client_id="", google_client_secret="")
    browser = browse(plain)

    started = await browser.get(START, params={"business_id": str(account.tenant_id)}, headers=authorized)
    answered = await browser.get(CALLBACK, params={"state": "s", "code": "c"})

    assert started.status_code == 200
    body = started.json()
    assert body.pop("detail")
    assert body == {"available": False, "error": "calendar_not_configured"}
    assert (answered.status_code, answered.json()["error"]) == (400, "invalid_state")
    assert (await browser.get(STATE, headers=authorized)).json() == {
        "available": False,
        "connected": False,
        "account": None,
    }


async def test_only_an_owner_of_the_business_starts(client, account, authorized, make_account, log_in, change, read):
    other = await make_account()
    member = await make_account()
    member_headers = await log_in(member)
    await change(update(User).where(User.email == member.email).values(role="member"))

    for business_id, headers, status, error in (
        (account.tenant_id, {}, 401, "not_authenticated"),
        (other.tenant_id, authorized, 404, "not_found"),
        ("00000000-0000-0000-0000-000000000000", authorized, 404, "not_found"),
        ("1", authorized, 422, "validation_failed"),
        ("a\x00b", authorized, 422, "validation_failed"),
        (member.tenant_id, member_headers, 403, "forbidden"),
    ):
        response = await client.get(START, params={"business_id": str(business_id)}, headers=headers)
        assert (response.status_code, response.json()["error"]) == (status, error)
    assert [await read(states_of(one)) for one in (account, other, member)] == [[], [], []]


async def test_a_business_that_does_not_agree_is_not_connected(client, account, authorized, start, google, read):
    asked = await start(account, authorized)

    await assert_refused(
        client, authorized, {"state": asked["state"], "error": "access_denied"}, error="authorization_refused"
    )

    # The attempt is used up by the refusal.
    params = {"state": asked["state"], "code": google.agree(asked)}
    await assert_refused(client, authorized, params, error="invalid_state")
    assert google.requests == ()


ANSWERS = [
    ({"error": "server_error"}, 502, "calendar_unavailable"),
    ({"error": "temporarily_unavailable"}, 502, "calendar_unavailable"),
    ({"error": "invalid_scope"}, 400, "authorization_refused"),
    ({"error": "access_denied", "code": "4/both"}, 400, "authorization_refused"),
    ({"error": "'; DROP TABLE users; --\x00"}, 400, "authorization_refused"),
    ({}, 400, "authorization_refused"),
    ({"code": ""}, 400, "authorization_refused"),
    ({"code": "4/unknown"}, 400, "authorization_refused"),
    ({"code": "4/\x00\ud7ff' OR 1=1 --"}, 400, "authorization_refused"),
]


async def test_an_answer_without_a_usable_code_is_explained(client, account, authorized, start):
    for answered, status, error in ANSWERS:
        asked = await start(account, authorized)

        await assert_refused(client, authorized, {"state": asked["state"], **answered}, status=status, error=error)


@pytest.mark.parametrize(
    "params",
    [{}, {"code": "4/c"}, {"state": "unknown", "code": "4/c"}, {"state": "unknown", "error": "access_denied"}],
)
async def test_an_answer_that_nobody_waits_for_is_refused(client, authorized, google, params):
    await assert_refused(client, authorized, params, error="invalid_state")

    assert google.requests == ()


async def test_values_of_impossible_length_are_refused(client, authorized):
    params = {"state": "s" * 513, "code": "c" * 4097}

    await assert_refused(client, authorized, params, status=422, error="validation_failed")


async def test_an_attempt_is_used_once(client, account, authorized, start, google):
    asked = await start(account, authorized)
    params = {"state": asked["state"], "code": google.agree(asked)}
    assert (await client.get(CALLBACK, params=params)).status_code == 200

    again = await client.get(CALLBACK, params=params)

    assert (again.status_code, again.json()["error"]) == (400, "invalid_state")
    assert len(google.requests) == 1
    assert (await client.get(STATE, headers=authorized)).json() == state_of(google)


async def test_an_attempt_ends_after_ten_minutes_and_is_cleaned_up(
    client, account, authorized, start, google, change, read
):
    asked = await start(account, authorized)
    ((in_time,),) = await read(
        select(OAuthState.expires_at - func.now()).where(OAuthState.tenant_id == account.tenant_id)
    )
    assert timedelta(minutes=9) < in_time <= timedelta(minutes=10)
    expire = update(OAuthState).where(OAuthState.tenant_id == account.tenant_id).values(expires_at=func.now())
    await change(expire)

    params = {"state": asked["state"], "code": google.agree(asked)}
    await assert_refused(client, authorized, params, error="invalid_state")

    await start(account, authorized)
    await change(expire.values(expires_at=func.now() - timedelta(seconds=1)))
    await start(account, authorized)
    assert len(await read(states_of(account))) == 1


async def test_an_attempt_belongs_to_the_browser_that_began_it(
    app, browse, client, account, authorized, make_account, log_in, start, google
):
    victim = await make_account("Victim")
    victims_browser = browse(app)
    await start(victim, await log_in(victim), victims_browser)
    asked = await start(account, authorized)
    params = {"state": asked["state"], "code": google.agree(asked)}

    for elsewhere in (browse(app), victims_browser):
        await assert_refused(elsewhere, authorized, params, error="invalid_state")
    assert google.requests == ()

    # That it was tried elsewhere does not use it up.
    assert (await client.get(CALLBACK, params=params)).status_code == 200


async def test_two_attempts_of_one_browser_end_in_any_order(client, account, authorized, start, google):
    first, second = await start(account, authorized), await start(account, authorized)

    for asked in (second, first):
        response = await client.get(CALLBACK, params={"state": asked["state"], "code": google.agree(asked)})
        assert response.status_code == 200


async def test_a_cookie_that_nobody_here_made_is_replaced(client, account, authorized, start):
    client.cookies.set("maya-oauth", "x; y=1", domain="maya.test")

    await start(account, authorized)

    (made,) = {cookie.value for cookie in client.cookies.jar if len(cookie.value or "") == 43}
    await start(account, authorized)
    assert made in {cookie.value for cookie in client.cookies.jar}


async def test_a_state_connects_the_business_that_began_with_it_alone(
    client, account, authorized, make_account, log_in, start, google
):
    other = await make_account()
    other_headers = await log_in(other)
    asked = await start(account, authorized)
    await start(other, other_headers)

    response = await client.get(
        CALLBACK, params={"state": asked["state"], "code": google.agree(asked)}, headers=other_headers
    )

    assert response.status_code == 200
    assert (await client.get(STATE, headers=authorized)).json() == state_of(google)
    assert (await client.get(STATE, headers=other_headers)).json() == NOT_CONNECTED


async def test_google_checks_that_the_code_and_the_attempt_belong_together(client, account, authorized, start, google):
    asked = await start(account, authorized)
    stolen = await start(account, authorized)

    params = {"state": asked["state"], "code": google.agree(stolen)}

    await assert_refused(client, authorized, params, error="authorization_refused")
    ((request,), (used,)) = (google.requests, {request.form["grant_type"] for request in google.requests})
    assert used == "authorization_code"
    assert request.form["redirect_uri"] == "http://maya.test/oauth/google/callback"


async def test_a_verifier_of_another_business_cannot_be_used(
    client, account, authorized, make_account, log_in, start, google, change, read
):
    other = await make_account()
    await start(other, await log_in(other))
    asked = await start(account, authorized)
    ((_, foreign),) = await read(states_of(other))
    await change(update(OAuthState).where(OAuthState.tenant_id == account.tenant_id).values(code_verifier=foreign))

    params = {"state": asked["state"], "code": google.agree(asked)}

    await assert_refused(client, authorized, params, error="invalid_state")
    assert google.requests == ()


@pytest.mark.parametrize("change_to", [{"is_active": False}, {"role": "member"}])
async def test_who_may_not_connect_any_more_does_not(client, account, authorized, start, google, change, change_to):
    asked = await start(account, authorized)
    await change(update(User).where(User.email == account.email).values(**change_to))

    response = await client.get(CALLBACK, params={"state": asked["state"], "code": google.agree(asked)})

    assert (response.status_code, response.json()["error"]) == (400, "invalid_state")
    assert google.requests == ()


async def test_a_business_that_is_deleted_meanwhile_is_not_connected(
    app, client, account, authorized, start, google, change
):
    asked = await start(account, authorized)
    parts = app.state.parts
    exchange = parts.calendars.authorization._google.exchange

    async def exchange_and_delete(*arguments, **options):
        grant = await exchange(*arguments, **options)
        await change(delete(Tenant).where(Tenant.id == account.tenant_id))
        return grant

    parts.calendars.authorization._google.exchange = exchange_and_delete
    response = await client.get(CALLBACK, params={"state": asked["state"], "code": google.agree(asked)})

    assert (response.status_code, response.json()["error"]) == (400, "invalid_state")


TOKENS = {"access_token": "ya29.x", "expires_in": 3599, "refresh_token": "1//x", "scope": "openid email"}
FAILURES = {
    "too many": (answer_json({"error": "rate_limit"}, status=429), 502, "calendar_unavailable"),
    "broken": (Answer(500, b"<html>"), 502, "calendar_unavailable"),
    "busy": (Answer(503), 502, "calendar_unavailable"),
    "hanging": (Hang(), 502, "calendar_unavailable"),
    "dripping": (Drip(answer_json(TOKENS), pause=0.05), 502, "calendar_unavailable"),
    "not HTTP": (Garbage(), 502, "calendar_unavailable"),
    "not JSON": (Answer(200, b"<html>welcome</html>"), 502, "calendar_unavailable"),
    "not UTF-8": (Answer(200, b'{"access_token": "\xff"}'), 502, "calendar_unavailable"),
    "deep": (Answer(200, b"[" * 100_000), 502, "calendar_unavailable"),
    "huge": (answer_json(TOKENS | {"padding": "x" * 2_000_000}), 502, "calendar_unavailable"),
    "cut": (Cut(answer_json(TOKENS), after=10), 502, "calendar_unavailable"),
    "redirecting": (Answer(302, b"", {"Location": "http://127.0.0.1:1/"}), 502, "calendar_unavailable"),
    "empty": (answer_json({}), 502, "calendar_unavailable"),
    "wrong client": (answer_json({"error": "invalid_client"}, status=401), 502, "calendar_unavailable"),
    "spent code": (answer_json({"error": "invalid_grant"}, status=400), 400, "authorization_refused"),
    "missing scope": (answer_json(TOKENS), 400, "authorization_refused"),
}


async def test_what_google_does_wrong_is_told_and_nothing_is_kept(
    make_app, browse, client, account, authorized, start, google, read
):
    patient, impatient = client, browse(make_app(google_timeout=0.4))
    for reply, status, error in FAILURES.values():
        # Only an answer that does not come is worth giving up on: a busy machine makes the others late.
        client = impatient if isinstance(reply, Hang | Drip) else patient
        asked = await start(account, authorized, client)
        google.script(reply)
        params = {"state": asked["state"], "code": google.agree(asked)}

        response = await assert_refused(client, authorized, params, status=status, error=error)

        assert "canary" not in response.text
        assert await read(states_of(account)) == []


async def test_google_that_cannot_be_reached_is_told(make_app, browse, account, authorized, start, google):
    client = browse(make_app(google_token_url="http://127.0.0.1:1/token"))
    asked = await start(account, authorized, client)

    params = {"state": asked["state"], "code": google.agree(asked)}

    await assert_refused(client, authorized, params, status=502, error="calendar_unavailable")


async def test_access_that_does_not_last_is_refused(client, account, authorized, start, google):
    google.gives_refresh_token = False
    asked = await start(account, authorized)

    params = {"state": asked["state"], "code": google.agree(asked)}

    response = await assert_refused(client, authorized, params, error="authorization_refused")
    assert "no lasting access" in response.json()["detail"]


async def test_a_connection_replaces_the_one_before(client, account, authorized, connect, google):
    await connect(account, authorized)
    google.account = "another@calendar.test"

    await connect(account, authorized)

    assert (await client.get(STATE, headers=authorized)).json()["account"] == "another@calendar.test"
