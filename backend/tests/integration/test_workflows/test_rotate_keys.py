import asyncio
import base64
import os
import secrets
import signal
import subprocess
import sys
import time
import uuid

import psycopg
import pytest
from sqlalchemy import LargeBinary, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.types import NullType

from app.models.tables import CalendarConnection, Table
from app.rotate_keys import main
from app.services.encryption import Cipher, Place
from app.services.rotation import SUBJECTS, rotate
from app.settings import ROOT

NEW, OLD, LOST = (secrets.token_bytes(32) for _ in range(3))
VALUES = {
    ("calendar_connections", "refresh_token"): "1//refresh",
    ("calendar_connections", "access_token"): "ya29.access",
    ("oauth_states", "code_verifier"): "verifier",
}


def text(*keys):
    return ",".join(base64.b64encode(key).decode() for key in keys)


def fill(database_url, *, key, tenants):
    """Keep values of so many tenants under one key."""
    cipher = Cipher([key])
    with psycopg.connect(database_url) as connection:
        for _ in range(tenants):
            tenant_id = uuid.uuid4()
            places = {place: cipher.encrypt(plain, Place(tenant_id, *place)) for place, plain in VALUES.items()}
            connection.execute("INSERT INTO tenants (id, name) VALUES (%s, 'x')", (tenant_id,))
            (user_id,) = connection.execute(
                "INSERT INTO users (tenant_id, email, name, password_hash)"
                " VALUES (%s, %s, 'x', '$argon2id$none') RETURNING id",
                (tenant_id, f"{tenant_id}@maya.test"),
            ).fetchone()
            connection.execute(
                "INSERT INTO calendar_connections"
                " (tenant_id, account, scopes, refresh_token, access_token, access_token_expires_at)"
                " VALUES (%s, 'owner@calendar.test', 'openid', %s, %s, now())",
                (tenant_id, *(places["calendar_connections", name] for name in ("refresh_token", "access_token"))),
            )
            connection.execute(
                "INSERT INTO oauth_states VALUES (%s, %s, %s, %s, now())",
                (secrets.token_bytes(32), tenant_id, user_id, places["oauth_states", "code_verifier"]),
            )


def read(database_url, *keys):
    """Return what is kept, decrypted with `keys` alone; fail where that is not possible."""
    cipher = Cipher(keys)
    plain = []
    with psycopg.connect(database_url) as connection:
        for table, column in VALUES:
            for tenant_id, value in connection.execute(f"SELECT tenant_id, {column} FROM {table}"):
                plain.append(cipher.decrypt(value, Place(tenant_id, table, column)))
    return sorted(plain)


@pytest.fixture
def rotate_keys(migrated_database_url, monkeypatch, capsys, restored_logging):
    def run(*arguments, current=NEW, previous=(OLD,), url=migrated_database_url):
        monkeypatch.setenv("DATABASE_URL", url)
        monkeypatch.setenv("ENCRYPTION_KEY", text(current))
        monkeypatch.setenv("ENCRYPTION_PREVIOUS_KEYS", text(*previous))
        code = main(arguments)
        return code, *capsys.readouterr()

    return run


@pytest.mark.parametrize("batch", ["1", "2", "200"])
def test_everything_is_under_the_current_key_afterwards(migrated_database_url, rotate_keys, batch):
    fill(migrated_database_url, key=OLD, tenants=3)
    fill(migrated_database_url, key=NEW, tenants=2)

    first = rotate_keys("--batch-size", batch)
    again = rotate_keys("--batch-size", batch)

    assert first == (0, "9 values were encrypted again; 6 were under the current key already.\n", "")
    assert again == (0, "0 values were encrypted again; 15 were under the current key already.\n", "")
    assert read(migrated_database_url, NEW) == sorted([*VALUES.values()] * 5)


def test_a_database_without_tables_is_told_in_one_line(fresh_database_url, rotate_keys):
    code, out, err = rotate_keys(url=fresh_database_url)

    assert (code, out) == (1, "")
    assert "do not fit this release" in err
    assert "python -m fairlead migrate" in err
    assert len(err.splitlines()) == 1


def test_nothing_kept_is_nothing_to_do(rotate_keys):
    assert rotate_keys() == (0, "0 values were encrypted again; 0 were under the current key already.\n", "")


def test_what_no_key_decrypts_is_left_and_told(migrated_database_url, rotate_keys):
    fill(migrated_database_url, key=LOST, tenants=1)
    fill(migrated_database_url, key=OLD, tenants=1)

    code, out, err = rotate_keys()

    assert (code, out) == (1, "")
    assert "3 values were encrypted again" in err
    assert "3 cannot be decrypted" in err
    assert read(migrated_database_url, NEW, LOST) == sorted([*VALUES.values()] * 2)
    assert not any(base64.b64encode(key).decode() in err for key in (NEW, OLD, LOST))
    assert rotate_keys(previous=(LOST,))[0] == 0


@pytest.mark.parametrize(
    ("arguments", "variables", "expected"),
    [
        ((), {"ENCRYPTION_KEY": "short"}, "ENCRYPTION_KEY"),
        ((), {"DATABASE_URL": "postgresql://u@127.0.0.1:1/d"}, "u@127"),
    ],
)
def test_what_cannot_be_used_is_explained(monkeypatch, capsys, restored_logging, arguments, variables, expected):
    monkeypatch.setenv("DATABASE_URL", "postgresql://u@127.0.0.1:1/d")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert main(arguments) == 1
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize("size", ["0", "-1", "many"])
def test_a_batch_has_a_size(size):
    with pytest.raises(SystemExit):
        main(["--batch-size", size])


@pytest.mark.anyio
async def test_what_was_committed_stays_when_it_is_interrupted(migrated_database_url):
    fill(migrated_database_url, key=OLD, tenants=4)
    engine = create_async_engine(migrated_database_url.replace("postgresql://", "postgresql+psycopg://"))
    cipher = Cipher([NEW, OLD])

    async with AsyncSession(engine) as session:
        steps = rotate(session, cipher, batch_size=1)
        await anext(steps)
        await anext(steps)
        await steps.aclose()
    async with AsyncSession(engine) as session:
        kept = (await session.scalars(select(CalendarConnection.refresh_token))).all()
        rest = [step async for step in rotate(session, cipher, batch_size=200)]
    await engine.dispose()

    assert sum(cipher.is_current(value) for value in kept) == 2
    assert sum(step.encrypted for step in rest) == 2 * 2 + 4
    assert read(migrated_database_url, NEW) == sorted([*VALUES.values()] * 4)


@pytest.mark.anyio
async def test_two_at_once_do_not_disturb_each_other(migrated_database_url):
    fill(migrated_database_url, key=OLD, tenants=20)
    engine = create_async_engine(migrated_database_url.replace("postgresql://", "postgresql+psycopg://"))

    async def run() -> int:
        async with AsyncSession(engine) as session:
            return sum([step.encrypted async for step in rotate(session, Cipher([NEW, OLD]), batch_size=3)])

    encrypted = await asyncio.gather(run(), run())
    await engine.dispose()

    assert sum(encrypted) == 60
    assert read(migrated_database_url, NEW) == sorted([*VALUES.values()] * 20)


def test_every_encrypted_column_is_known():
    named = {(subject.table.__tablename__, column) for subject in SUBJECTS for column in subject.columns}
    binary = {
        (table.name, column.name)
        for table in Table.metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, LargeBinary)
    }

    assert not any(
        isinstance(column.type, NullType) for table in Table.metadata.sorted_tables for column in table.columns
    )
    assert named == set(VALUES) == binary - {("oauth_states", "state_hash")}


def test_it_can_be_interrupted_while_it_waits(migrated_database_url):
    fill(migrated_database_url, key=OLD, tenants=1)
    variables = {
        "DATABASE_URL": migrated_database_url,
        "ENCRYPTION_KEY": text(NEW),
        "ENCRYPTION_PREVIOUS_KEYS": text(OLD),
    }
    with (
        psycopg.connect(migrated_database_url) as holder,
        psycopg.connect(migrated_database_url, autocommit=True) as watcher,
    ):
        holder.execute("SELECT FROM calendar_connections FOR UPDATE")
        with subprocess.Popen(
            [sys.executable, "-m", "app.rotate_keys"],
            cwd=ROOT,
            env=os.environ | variables,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            while process.poll() is None and watcher.execute(waiting).fetchone() is None:
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)

    assert (process.returncode, "run this again" in said, "Traceback" in said) == (130, True, False), said
    assert read(migrated_database_url, OLD) == sorted(VALUES.values())


def test_it_is_a_program(run_backend, migrated_database_url):
    done = run_backend([sys.executable, "-m", "app.rotate_keys"], DATABASE_URL=migrated_database_url)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "0 values were encrypted again; 0 were under the current key already.\n"
