import jwt
import pytest
from sqlalchemy import update

from app.models.tables import User

pytestmark = pytest.mark.anyio


async def post(client, email, password):
    return await client.post("/api/auth/login", json={"email": email, "password": password})


async def test_the_right_password_gets_a_token_for_the_tenant(client, account):
    response = await post(client, account.email, account.password)

    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    body = response.json()
    assert (body["token_type"], body["expires_in"]) == ("bearer", 3600)
    claims = jwt.decode(body["access_token"], options={"verify_signature": False})
    assert claims["tenant_id"] == str(account.tenant_id)
    assert claims["exp"] - claims["iat"] == 3600
    assert {"iss", "aud", "sub", "jti"} <= claims.keys()


async def test_the_email_is_found_however_it_is_capitalised(client, account):
    response = await post(client, account.email.swapcase(), account.password)

    assert response.status_code == 200


async def test_an_unknown_email_and_a_wrong_password_get_the_same_answer(client, account):
    wrong = await post(client, account.email, "wrong-password")
    unknown = await post(client, "x" + account.email, account.password)

    assert wrong.status_code == unknown.status_code == 401
    different = {"request_id"}
    assert {k: v for k, v in wrong.json().items() if k not in different} == {
        k: v for k, v in unknown.json().items() if k not in different
    }
    assert wrong.headers["www-authenticate"] == unknown.headers["www-authenticate"]


async def test_a_disabled_user_gets_the_answer_of_a_wrong_password(client, app, account):
    async with app.state.parts.database.session() as session:
        await session.execute(update(User).where(User.email == account.email).values(is_active=False))
        await session.commit()

    response = await post(client, account.email, account.password)

    assert (response.status_code, response.json()["error"]) == (401, "invalid_credentials")


async def test_too_many_failures_are_stopped_for_that_account_only(client, account, make_account):
    other = await make_account()
    for _ in range(3):
        assert (await post(client, account.email, "wrong-password")).status_code == 401

    stopped = await post(client, account.email, account.password)

    assert (stopped.status_code, stopped.json()["error"]) == (429, "too_many_attempts")
    assert 0 < int(stopped.headers["retry-after"]) <= 300
    assert (await post(client, other.email, other.password)).status_code == 200


async def test_a_success_forgets_the_failures_before_it(client, account):
    for password in ["wrong", "wrong", account.password, "wrong", "wrong"]:
        last = await post(client, account.email, password)

    assert last.status_code == 401
