"""What becomes of the database's own words: customers' data stays out of them, and what passes is told as such."""

import uuid

import psycopg
import pytest
import sqlalchemy.exc
from psycopg import sql
from sqlalchemy import text
from sqlalchemy.engine import make_url

from app.db import Database
from app.logs import JsonFormatter

pytestmark = pytest.mark.anyio

CANARY = f"canary-{uuid.uuid4().hex}"
#: A row that breaks a rule is shown in the error's DETAIL, over as many lines as its texts have.
WRONG = text(
    "INSERT INTO bookings (tenant_id, customer_name, starts_at, ends_at, notes)"
    " VALUES (gen_random_uuid(), :name, now(), now(), :notes)"
)


@pytest.fixture
async def database(make_settings, migrated_database_url):
    database = Database(make_settings(database_url=migrated_database_url))
    yield database
    await database.close()


def tell_whole(error):
    """Return an error as the log and Sentry have it: with its causes."""
    return JsonFormatter().formatException((type(error), error, error.__traceback__))


async def test_an_error_names_the_rule_and_not_the_row(database):
    async with database.session() as session:
        with pytest.raises(sqlalchemy.exc.IntegrityError) as caught:
            await session.execute(WRONG, {"name": CANARY, "notes": f"one line\n{CANARY}"})

    told = tell_whole(caught.value)
    assert CANARY not in told
    assert "DETAIL" not in told
    assert "bookings_times_check" in told
    assert caught.value.orig.diag.constraint_name == "bookings_times_check"


async def test_a_database_that_takes_no_writes_is_told_of_and_left_for_the_next(database, migrated_database_url):
    """Its connections lead to a server that another has taken the place of."""
    name = sql.Identifier(make_url(migrated_database_url).database)
    write = text("INSERT INTO tenants (name) VALUES ('Ada')")
    with psycopg.connect(migrated_database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(name))
        assert (await database.probe(within=30)).read_only
        async with database.session() as session:
            with pytest.raises(sqlalchemy.exc.OperationalError, match="ReadOnlySqlTransaction"):
                await session.execute(write)
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(sql.SQL("ALTER DATABASE {} RESET default_transaction_read_only").format(name))

    async with database.session() as session:
        await session.execute(write)
        await session.commit()
    assert not (await database.probe(within=30)).read_only
