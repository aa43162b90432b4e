import uuid

import pytest
from sqlalchemy import delete, update

from app.models.tables import BusinessSettings, Tenant, User
from app.security import Identity

pytestmark = pytest.mark.anyio

PATH = "/api/business/me"


async def test_a_new_business_has_quiet_settings(client, account, authorized):
    response = await client.get(PATH, headers=authorized)

    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    body = response.json()
    assert body.pop("updated_at")
    assert body == {
        "id": str(account.tenant_id),
        "name": "Test business",
        "timezone": "UTC",
        "phone_number": None,
        "receptionist_enabled": False,
        "greeting": "",
        "calendar": {"available": False, "connected": False, "account": None},
    }


async def test_what_is_put_is_what_is_got(client, authorized, phone_number):
    before = (await client.get(PATH, headers=authorized)).json()
    settings = {
        "name": "Zoë's Bäckerei",
        "timezone": "Europe/Berlin",
        "phone_number": phone_number,
        "receptionist_enabled": True,
        "greeting": "Grüß Gott — 你好 \U0001f44b",
    }

    put = await client.put(PATH, headers=authorized, json=settings)
    got = await client.get(PATH, headers=authorized)

    assert put.status_code == 200
    assert put.json() == got.json()
    assert {name: got.json()[name] for name in settings} == settings
    assert got.json()["updated_at"] > before["updated_at"]


@pytest.mark.parametrize("change", [{"name": "Renamed"}, {"greeting": "Hello"}, {"timezone": "Asia/Tokyo"}])
async def test_what_is_left_out_keeps_its_value_and_the_change_is_dated(client, authorized, change):
    before = (await client.get(PATH, headers=authorized)).json()

    after = (await client.put(PATH, headers=authorized, json=change)).json()

    assert after.pop("updated_at") > before.pop("updated_at")
    assert after == before | change


async def test_changing_nothing_is_no_change(client, authorized):
    before = (await client.get(PATH, headers=authorized)).json()

    response = await client.put(PATH, headers=authorized, json={})

    assert (response.status_code, response.json()) == (200, before)


async def test_the_receptionist_needs_a_phone_number(client, authorized, phone_number):
    refused = await client.put(PATH, headers=authorized, json={"receptionist_enabled": True})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["location"] == "body.receptionist_enabled"

    enabled = {"receptionist_enabled": True, "phone_number": phone_number}
    assert (await client.put(PATH, headers=authorized, json=enabled)).status_code == 200

    without = await client.put(PATH, headers=authorized, json={"phone_number": None, "name": "Not this either"})
    assert without.status_code == 422
    kept = (await client.get(PATH, headers=authorized)).json()
    assert (kept["phone_number"], kept["name"]) == (phone_number, "Test business")

    off = {"receptionist_enabled": False, "phone_number": None}
    assert (await client.put(PATH, headers=authorized, json=off)).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b'{"unknown":1}',
        b'{"id":"00000000-0000-0000-0000-000000000000"}',
        b'{"name":null}',
        b'{"name":""}',
        b'{"name":"   "}',
        b'{"name":"a\\u0000b"}',
        b'{"name":"\\ud800"}',
        b'{"name":7}',
        b'{"timezone":"Mars/Olympus"}',
        b'{"timezone":"../../etc/passwd"}',
        b'{"timezone":""}',
        b'{"timezone":"UTC\\u0000"}',
        b'{"phone_number":"030 1234567"}',
        b'{"phone_number":"+0123456789"}',
        b'{"phone_number":"+1234567890123456"}',
        b'{"phone_number":"+14155550100\\n"}',
        '{"phone_number":"+١٤١٥٥٥٥٠١٠٠"}'.encode(),
        b'{"phone_number":14155550100}',
        b'{"receptionist_enabled":"yes"}',
        b'{"receptionist_enabled":1}',
        b'{"receptionist_enabled":1e400}',
        b'{"greeting":"a\\u0000b"}',
        b'{"greeting":NaN}',
        b'{"greeting":99999999999999999999999999999999}',
        b'{"greeting":"' + b"x" * 1001 + b'"}',
        b"[]",
        b"null",
        b"",
    ],
)
async def test_bad_settings_are_refused_and_change_nothing(client, authorized, body):
    before = (await client.get(PATH, headers=authorized)).json()

    response = await client.put(PATH, headers=authorized | {"Content-Type": "application/json"}, content=body)

    assert response.status_code == 422, response.text
    assert response.json()["error"] == "validation_failed"
    assert (await client.get(PATH, headers=authorized)).json() == before


async def test_tenants_see_and_change_their_own_settings_only(client, log_in, account, authorized, make_account):
    other = await log_in(await make_account("Another business"))

    await client.put(PATH, headers=authorized, json={"greeting": "mine"})

    assert (await client.get(PATH, headers=other)).json()["greeting"] == ""
    assert (await client.get(PATH, headers=other)).json()["name"] == "Another business"


async def test_a_phone_number_belongs_to_one_business(client, log_in, authorized, make_account, phone_number):
    other = await log_in(await make_account())
    assert (await client.put(PATH, headers=authorized, json={"phone_number": phone_number})).status_code == 200

    response = await client.put(PATH, headers=other, json={"phone_number": phone_number, "name": "Not this either"})

    assert (response.status_code, response.json()["error"]) == (409, "phone_number_taken")
    assert phone_number not in response.text
    assert (await client.get(PATH, headers=other)).json()["name"] == "Test business"


async def test_a_member_may_read_but_not_change(client, app, account, authorized):
    async with app.state.parts.database.session() as session:
        await session.execute(update(User).where(User.email == account.email).values(role="member"))
        await session.commit()

    assert (await client.get(PATH, headers=authorized)).status_code == 200
    response = await client.put(PATH, headers=authorized, json={"name": "Mine"})
    assert (response.status_code, response.json()["error"]) == (403, "forbidden")


@pytest.mark.parametrize("statement", [delete(User), update(User).values(is_active=False)])
async def test_the_token_of_a_user_who_is_gone_is_refused(client, app, account, authorized, statement):
    async with app.state.parts.database.session() as session:
        await session.execute(statement.where(User.email == account.email))
        await session.commit()

    for response in (
        await client.get(PATH, headers=authorized),
        await client.put(PATH, headers=authorized, json={"name": "Mine"}),
    ):
        assert (response.status_code, response.json()["error"]) == (401, "not_authenticated")


async def test_a_token_for_another_tenant_is_refused(client, app, account, make_account):
    other = await make_account()
    async with app.state.parts.database.session() as session:
        user_id = (await session.execute(User.__table__.select().where(User.email == account.email))).one().id
    forged = app.state.parts.authenticator.tokens.issue(Identity(user_id, other.tenant_id))

    response = await client.get(PATH, headers={"Authorization": f"Bearer {forged}"})

    assert response.status_code == 401


async def test_a_tenant_without_settings_is_not_found(client, app, account, authorized):
    async with app.state.parts.database.session() as session:
        await session.execute(delete(BusinessSettings).where(BusinessSettings.tenant_id == account.tenant_id))
        await session.commit()

    response = await client.get(PATH, headers=authorized)

    assert (response.status_code, response.json()["error"]) == (404, "not_found")


async def test_a_tenant_takes_its_users_and_settings_along(app, account):
    async with app.state.parts.database.session() as session:
        await session.execute(delete(Tenant).where(Tenant.id == account.tenant_id))
        await session.commit()

        assert await session.get(BusinessSettings, account.tenant_id) is None
        assert (await session.execute(User.__table__.select().where(User.email == account.email))).all() == []


async def test_an_unknown_user_is_refused(client, app):
    token = app.state.parts.authenticator.tokens.issue(Identity(uuid.uuid4(), uuid.uuid4()))

    assert (await client.get(PATH, headers={"Authorization": f"Bearer {token}"})).status_code == 401
