"""Applications, accounts and tokens without what costs most of them, for tests that are about something else."""

import dataclasses
import functools
import uuid

import psycopg
from fastapi import FastAPI
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import func, select, text
from starlette.routing import BaseRoute, Route

from app.application import create_app
from app.models.tables import User
from app.security import Identity, Passwords
from app.services.accounts import create_account
from app.settings import Settings

_NO_PASSWORD = "$argon2id$v=19$no password has this hash"
#: The parameters of a release take a tenth of a second of a processor for each password.
_HASHER = Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1)
_prepared: list[BaseRoute] = []


def make_quick_app(settings: Settings) -> FastAPI:
    """Put an application together as `create_app` does, with weak hashes and the routes of the first one made here.

    A router prepares its operations when the first request comes: most of what an application in a test costs. They
    keep nothing of it; what has a state is in its parts, and those are its own.
    """
    app = create_app(settings)
    use_passwords(app, Passwords(_HASHER))
    # The pages of the documentation, which are plain routes, answer for the application that made them.
    own = [route for route in app.router.routes if isinstance(route, Route)]
    if not _prepared:
        _prepared.extend(route for route in app.router.routes if route not in own)
    app.router.routes[:] = [*own, *_prepared]
    return app


def use_passwords(app: FastAPI, passwords: Passwords) -> None:
    """Have an application that nobody asked yet hash by `passwords`."""
    parts = app.state.parts
    authenticator = dataclasses.replace(parts.authenticator, passwords=passwords)
    app.state.parts = dataclasses.replace(parts, authenticator=authenticator)


async def open_account(app: FastAPI, business: str = "Test business") -> tuple[uuid.UUID, dict[str, str]]:
    """Create an account that no other test knows; return its tenant and the headers of a request of its owner."""
    parts = app.state.parts
    email = f"owner-{uuid.uuid4().hex}@maya.test"
    async with parts.database.session() as session:
        tenant_id = await create_account(
            session, business=business, email=email, user_name="Owner", password_hash=_NO_PASSWORD
        )
    return tenant_id, await authorize(app, email)


def insert_owner(url: str, name: str) -> Identity:
    """Put a business called `name` and its owner into a database where no application of this process works."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(
            "WITH tenant AS (INSERT INTO tenants (name) VALUES (%(name)s) RETURNING id),"
            " settings AS (INSERT INTO business_settings (tenant_id) SELECT id FROM tenant)"
            " INSERT INTO users (tenant_id, email, name, password_hash)"
            " SELECT id, lower(%(name)s) || '@maya.test', 'Owner', %(hash)s FROM tenant RETURNING id, tenant_id",
            {"name": name, "hash": _NO_PASSWORD},
        ).fetchone()
    assert row is not None
    return Identity(*row)


async def authorize(app: FastAPI, email: str) -> dict[str, str]:
    """Return the headers of a request of the user with this address, as if they had logged in."""
    parts = app.state.parts
    async with parts.database.session() as session:
        user = await session.scalar(select(User).where(func.lower(User.email) == email.lower()))
    token = parts.authenticator.tokens.issue(Identity(user.id, user.tenant_id))
    return {"Authorization": f"Bearer {token}"}


async def read_stored(app: FastAPI, tenant_id: uuid.UUID) -> dict[str, list[str]]:
    """Return everything that is kept of a tenant, by the table that keeps it."""
    async with app.state.parts.database.session() as session:
        tables = await session.scalars(
            text(
                "SELECT table_name FROM information_schema.columns WHERE table_schema = 'public' "
                "AND column_name = 'tenant_id' ORDER BY table_name"
            )
        )
        stored = {}
        for table in tables.all():
            query = text(f"SELECT to_jsonb(kept)::text FROM {table} AS kept WHERE tenant_id = :tenant_id ORDER BY 1")
            stored[table] = list((await session.scalars(query, {"tenant_id": tenant_id})).all())
        return stored


@functools.cache
def hash_once(password: str) -> str:
    """Return a hash of a password as `make_quick_app` makes them, the same in every test of this process."""
    return PasswordHash((_HASHER,)).hash(password)
