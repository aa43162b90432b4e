"""How bookings that were there got their references: nobody waits, and what was stopped goes on."""

import threading
from collections.abc import Iterator

import psycopg
import pytest

from app.settings import ROOT
from fairlead.migrations import Migrator, connect, load_migrations

BOOKINGS = """
INSERT INTO bookings (tenant_id, customer_name, starts_at, ends_at)
SELECT %s, 'C', start, start + interval '1 hour'
FROM generate_series(1, %s) AS n, LATERAL (SELECT timestamptz '2030-01-01Z' + n * interval '1 hour' AS start) AS slot
"""
MANY = 3500


@pytest.fixture
def filled(fresh_database_url: str) -> Iterator[tuple[str, Migrator]]:
    """A database of before 010 with bookings in it, and what migrates it."""
    with connect(fresh_database_url, application="tests") as connection:
        migrator = Migrator(connection, load_migrations(ROOT / "migrations"))
        migrator.apply(to="009")
        with psycopg.connect(fresh_database_url, autocommit=True) as other:
            tenant = other.execute("INSERT INTO tenants (name) VALUES ('T') RETURNING id").fetchone()[0]
            other.execute(BOOKINGS, [tenant, MANY])
        yield fresh_database_url, migrator


def test_a_filled_table_gets_references_while_others_write(filled):
    url, migrator = filled
    stop, writes, errors = threading.Event(), [], []

    def write() -> None:
        with psycopg.connect(url, autocommit=True, options="-c lock_timeout=2s") as connection:
            ids = [row[0] for row in connection.execute("SELECT id FROM bookings LIMIT 500")]
            while not stop.is_set():
                try:
                    connection.execute(
                        "UPDATE bookings SET notes = 'x' || notes WHERE id = %s", [ids[len(writes) % 500]]
                    )
                except psycopg.Error as error:
                    errors.append(error)
                    return
                writes.append(1)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        migrator.apply()
    finally:
        stop.set()
        writer.join()

    with psycopg.connect(url) as connection:
        counted = connection.execute("SELECT count(*), count(DISTINCT reference) FROM bookings").fetchone()
        nullable = connection.execute(
            "SELECT attnotnull FROM pg_attribute WHERE attrelid = 'bookings'::regclass AND attname = 'reference'"
        ).fetchone()
    assert errors == []
    assert writes
    assert counted == (MANY, MANY)
    assert nullable == (True,)


def test_batches_that_were_done_stay_done_when_the_filling_is_stopped(filled):
    url, migrator = filled
    migrator.apply(to="010")
    statement = (ROOT / "migrations" / "011_fill_booking_references.sql").read_text(encoding="utf-8")
    with psycopg.connect(url, autocommit=True) as other, psycopg.connect(url) as blocker:
        row = blocker.execute("SELECT id FROM bookings ORDER BY id OFFSET 2500 LIMIT 1").fetchone()
        blocker.execute("SELECT FROM bookings WHERE id = %s FOR UPDATE", row)
        other.execute("SET lock_timeout = '200ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            other.execute(statement)
        done = other.execute("SELECT count(*) FROM bookings WHERE reference IS NOT NULL").fetchone()[0]
        blocker.rollback()
        assert done == 2000
        before = other.execute("SELECT id, reference FROM bookings WHERE reference IS NOT NULL").fetchall()

        migrator.apply()

        after = dict(other.execute("SELECT id, reference FROM bookings").fetchall())
    assert len(after) == MANY
    assert {key: after[key] for key, _ in before} == dict(before)
