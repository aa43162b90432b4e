"""What the database refuses, whatever the application believes. (`nox -s migrations` sees that each file reverses.)"""

import uuid
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

TENANT = "INSERT INTO tenants (name) VALUES ('T') RETURNING id"
USER = "INSERT INTO users (tenant_id, email, name, password_hash, role) VALUES (%s, %s, 'U', %s, %s)"
HASH = "$argon2id$v=19$x"
BOOKING = """
INSERT INTO bookings (tenant_id, customer_name, starts_at, ends_at) VALUES (%s, 'C', %s, %s) RETURNING id
"""
PRICED = """
INSERT INTO bookings (tenant_id, customer_name, starts_at, ends_at, amount, currency)
VALUES (%s, 'C', '2030-01-01 10:00Z', '2030-01-01 11:00Z', %s, %s)
"""
PAYMENT = "INSERT INTO payments (tenant_id, booking_id, amount, currency) VALUES (%s, %s, 10, 'eur') RETURNING id"
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def connection(database_url):
    with psycopg.connect(database_url) as connection:
        yield connection
        connection.rollback()


@pytest.fixture
def tenant(connection):
    return connection.execute(TENANT).fetchone()[0]


@pytest.mark.parametrize(
    ("statement", "arguments", "constraint"),
    [
        ("INSERT INTO tenants (name) VALUES (%s)", [" "], "tenants_name_check"),
        (USER, [None, "a@b", HASH, "owner"], "tenant_id"),
        (USER, [uuid.uuid4(), "a@b", HASH, "owner"], "users_tenant_id_fkey"),
        (USER, ["tenant", "nobody", HASH, "owner"], "users_email_check"),
        (USER, ["tenant", "a@b", "plain", "owner"], "users_password_hash_check"),
        (USER, ["tenant", "a@b", HASH, "root"], "users_role_check"),
        (
            "INSERT INTO business_settings (tenant_id, receptionist_enabled) VALUES (%s, true)",
            ["tenant"],
            "business_settings_receptionist_check",
        ),
        (
            "INSERT INTO business_settings (tenant_id, phone_number) VALUES (%s, '030 123')",
            ["tenant"],
            "business_settings_phone_number_check",
        ),
        (BOOKING, ["tenant", NOON, NOON], "bookings_times_check"),
        (BOOKING, ["tenant", NOON, NOON + timedelta(hours=25)], "bookings_times_check"),
        (PRICED, ["tenant", "0.49", "eur"], "bookings_amount_check"),
        (PRICED, ["tenant", "NaN", "eur"], "bookings_amount_check"),
        (PRICED, ["tenant", "10", None], "bookings_currency_check"),
        (PRICED, ["tenant", None, "eur"], "bookings_currency_check"),
        (PRICED, ["tenant", "10", "EUR"], "bookings_currency_check"),
        (
            "INSERT INTO assistant_usage (tenant_id, day, cost) VALUES (%s, '2030-01-01', -1)",
            ["tenant"],
            "assistant_usage_cost_check",
        ),
    ],
)
def test_the_database_refuses_what_the_application_would(connection, tenant, statement, arguments, constraint):
    values = [tenant if value == "tenant" else value for value in arguments]

    with pytest.raises(psycopg.errors.IntegrityError, match=constraint):
        connection.execute(statement, values)


def test_the_database_refuses_an_email_that_differs_in_case_only(connection, tenant):
    email = f"{uuid.uuid4().hex}@maya.test"
    connection.execute(USER, [tenant, email, HASH, "owner"])

    with pytest.raises(psycopg.errors.UniqueViolation, match="users_email_lower_key"):
        connection.execute(USER, [tenant, email.upper(), HASH, "member"])


@pytest.mark.parametrize("offset", [timedelta(minutes=-59), timedelta(0), timedelta(minutes=30), timedelta(minutes=59)])
def test_confirmed_bookings_of_a_tenant_never_overlap(connection, tenant, offset):
    connection.execute(BOOKING, [tenant, NOON, NOON + timedelta(hours=1)])

    with pytest.raises(psycopg.errors.ExclusionViolation, match="bookings_no_overlap"):
        connection.execute(BOOKING, [tenant, NOON + offset, NOON + offset + timedelta(hours=1)])


def test_bookings_may_touch_be_another_tenants_or_follow_a_cancelled_one(connection, tenant):
    hour = timedelta(hours=1)
    first = connection.execute(BOOKING, [tenant, NOON, NOON + hour]).fetchone()[0]
    connection.execute(BOOKING, [tenant, NOON + hour, NOON + 2 * hour])
    connection.execute(BOOKING, [tenant, NOON - hour, NOON])
    connection.execute(BOOKING, [connection.execute(TENANT).fetchone()[0], NOON, NOON + hour])
    connection.execute("UPDATE bookings SET status = 'cancelled', cancelled_at = now() WHERE id = %s", [first])
    connection.execute(BOOKING, [tenant, NOON, NOON + hour])

    assert connection.execute("SELECT count(*) FROM bookings WHERE tenant_id = %s", [tenant]).fetchone() == (4,)


def test_a_payment_belongs_to_a_booking_of_its_own_tenant_and_a_booking_has_one(connection, tenant):
    other = connection.execute(TENANT).fetchone()[0]
    booking = connection.execute(BOOKING, [tenant, NOON, NOON + timedelta(hours=1)]).fetchone()[0]
    with (
        pytest.raises(psycopg.errors.ForeignKeyViolation, match="payments_booking_fkey"),
        connection.transaction(),
    ):
        connection.execute(PAYMENT, [other, booking])

    connection.execute(PAYMENT, [tenant, booking])
    with pytest.raises(psycopg.errors.UniqueViolation, match="payments_booking_id_key"):
        connection.execute(PAYMENT, [tenant, booking])


def test_a_booking_gets_a_reference_that_can_be_read_out(connection, tenant):
    made = [
        connection.execute(BOOKING + ", reference", [tenant, NOON + timedelta(hours=n), NOON + timedelta(hours=n + 1)])
        for n in range(20)
    ]

    references = {row.fetchone()[1] for row in made}
    assert len(references) == 20
    assert all(len(one) == 8 and not set(one) & set("01IO") for one in references)
