"""What belongs to one business does not exist for another.

The operations come from the OpenAPI document: one with an id that has no row in `OWNED` fails here.
"""

import functools
import json
import uuid
from datetime import date

import pytest
from sqlalchemy import func

from app.models.tables import AssistantUsage, CalendarConnection
from backend.tests.integration.quick import make_quick_app, open_account, read_stored
from backend.tests.integration.surface import list_operations
from backend.tests.vendors.stripe_server import event, session_of, sign

pytestmark = pytest.mark.anyio

#: Which of the other business's things each id in an address names.
OWNED = {"booking_id": "booking", "payment_id": "payment"}


@pytest.fixture
async def app(database_url, make_settings, stripe_settings):
    settings = stripe_settings | {
        "google_client_id": "canary.apps.googleusercontent.com",
        "google_client_secret": "canary-client-secret",
    }
    app = make_quick_app(make_settings(database_url=database_url, **settings))
    yield app
    await app.state.parts.links.close()
    await app.state.parts.database.close()


@pytest.fixture
async def victim(app, client):
    """A business with one of everything, each with a mark that nobody else may see."""
    tenant_id, headers = await open_account(app, "Canary business")
    request = {
        "customer_name": "Canary customer",
        "customer_phone": "+4930123456",
        "starts_at": "2030-01-31T09:00:00Z",
        "duration_minutes": 30,
        "notes": "Canary notes",
        "amount": "100.00",
    }
    booking = (await client.post("/api/bookings", headers=headers, json=request)).json()
    payment = (await client.post(f"/api/bookings/{booking['id']}/payment-link", headers=headers)).json()
    async with app.state.parts.database.session() as session:
        session.add(
            CalendarConnection(
                tenant_id=tenant_id,
                account="Canary@calendar.test",
                scopes="openid",
                refresh_token=b"Canary refresh token",
                access_token=b"Canary access token",
                access_token_expires_at=func.now(),
            )
        )
        session.add(AssistantUsage(tenant_id=tenant_id, day=date(2030, 1, 31), answers=7))
        await session.commit()
    return {"tenant_id": tenant_id, "headers": headers, "booking": booking, "payment": payment}


@pytest.fixture
async def stranger(app):
    return await open_account(app, "Another business")


@pytest.fixture
def stored(app, victim):
    """Everything that is kept of the victim."""

    return functools.partial(read_stored, app, victim["tenant_id"])


def reveals(response, victim) -> list[str]:
    marks = ["Canary", victim["booking"]["reference"], victim["payment"]["payment_link_url"], "+4930123456"]
    return [mark for mark in marks if mark in response.text]


async def test_an_id_of_another_business_is_as_unknown_as_any(app, client, victim, stranger, stored):
    before = await stored()
    with_id = [operation for operation in list_operations(app) if operation.path_names]
    assert len(with_id) >= 4

    for operation in with_id:
        (name,) = operation.path_names
        theirs = operation.at(victim[OWNED[name]]["id"])
        unknown = operation.at(str(uuid.uuid4()))
        refused = await client.request(operation.method, theirs, headers=stranger[1])
        missing = await client.request(operation.method, unknown, headers=stranger[1])
        assert refused.status_code == missing.status_code == 404, (operation, refused.text)
        same = ("error", "message", "action", "detail", "title", "type")
        assert [refused.json()[part] for part in same] == [missing.json()[part] for part in same]
        assert reveals(refused, victim) == []

    assert await stored() == before


async def test_an_id_in_a_question_or_a_body_opens_nothing_either(app, client, victim, stranger, stored):
    before = await stored()
    parameters = {"business_id": str(victim["tenant_id"]), "tenant_id": str(victim["tenant_id"])}

    for operation in list_operations(app):
        if operation.needs_token and not operation.path_names and operation.method == "GET":
            times = (
                {"from": "2030-01-01T00:00:00Z", "to": "2030-01-31T23:00:00Z"}
                if "from" in operation.query_names
                else {}
            )
            response = await client.get(operation.path, headers=stranger[1], params=parameters | times)
            assert response.status_code in {200, 404}, (operation, response.text)
            assert reveals(response, victim) == [], operation
            if "business_id" in operation.query_names:
                assert response.status_code == 404, operation
    body = {"customer_name": "Mine", "starts_at": "2030-02-01T09:00:00Z", "duration_minutes": 30}
    response = await client.post(
        "/api/bookings", headers=stranger[1], json=body | {"tenant_id": parameters["tenant_id"]}
    )
    assert response.status_code == 422

    assert await stored() == before


async def test_lists_hold_ones_own_alone(client, victim, stranger):
    mine = {"customer_name": "Mine", "starts_at": "2030-01-31T09:00:00Z", "duration_minutes": 30}
    made = (await client.post("/api/bookings", headers=stranger[1], json=mine)).json()

    seen = (await client.get("/api/bookings", headers=stranger[1])).json()["items"]
    theirs = (await client.get("/api/bookings", headers=victim["headers"])).json()["items"]

    assert [item["id"] for item in seen] == [made["id"]]
    assert [item["id"] for item in theirs] == [victim["booking"]["id"]]


async def test_a_cursor_of_another_business_leads_nowhere_else(client, victim, stranger):
    later = {"customer_name": "Later", "starts_at": "2030-02-01T09:00:00Z", "duration_minutes": 30}
    await client.post("/api/bookings", headers=victim["headers"], json=later)
    page = (await client.get("/api/bookings", headers=victim["headers"], params={"limit": 1})).json()

    response = await client.get("/api/bookings", headers=stranger[1], params={"cursor": page["next_cursor"]})

    assert (response.status_code, response.json()["items"]) == (200, [])


async def test_a_payment_is_paid_in_the_name_of_its_own_business_alone(client, victim, stranger, stored):
    before = await stored()
    body = event("checkout.session.completed", session_of(victim["payment"], stranger[0], amount=10000))

    response = await client.post("/api/webhooks/stripe", content=body, headers=sign(body))

    assert response.status_code == 200
    assert await stored() == before


async def test_disconnecting_a_calendar_ends_ones_own_alone(client, stranger, stored):
    before = await stored()

    assert (await client.delete("/api/calendar", headers=stranger[1])).status_code == 204
    assert await stored() == before


async def test_the_victim_has_all_of_it(client, victim, stored):
    """What the tests above do not find is there."""
    tables = await stored()
    kept = json.dumps(tables)

    # An attempt to connect a calendar is gone within minutes, and a reminder within the payment.
    assert {table for table, rows in tables.items() if not rows} <= {"oauth_states", "payment_reminders"}
    for mark in ("Canary customer", "Canary notes", victim["booking"]["reference"], "+4930123456"):
        assert mark in kept
    booking = await client.get(f"/api/bookings/{victim['booking']['id']}", headers=victim["headers"])
    assert booking.json()["customer_name"] == "Canary customer"
