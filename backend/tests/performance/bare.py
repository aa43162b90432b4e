"""What the backend's hot route is measured against: a bare FastAPI route that reads the same row.

The very same SQL with the same parameters, through the same driver, in the same way: psycopg's own pool, each
statement by itself (autocommit), with as many connections as the backend opened. The row becomes a dict, whose type
the route declares, so that FastAPI writes the JSON by pydantic, which is its quickest way. Nothing else happens: no
token, no middleware, no model.
"""

import contextlib
import json
import os
import uuid
from collections.abc import AsyncIterator
from typing import Any

import psycopg
from fastapi import FastAPI
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

_STATEMENT = json.loads(os.environ["BARE_STATEMENT"])
_SQL: bytes = _STATEMENT["sql"].encode()
#: JSON has no UUIDs; the backend binds them as such, and so does this route.
_VALUES = {name: uuid.UUID(text) if kind == "UUID" else text for name, (kind, text) in _STATEMENT["parameters"]}
_PARAMETERS = _VALUES if _STATEMENT["named"] else tuple(_VALUES.values())
_CONNECTIONS = int(os.environ["BARE_CONNECTIONS"])

_pool = AsyncConnectionPool(
    os.environ["DATABASE_URL"],
    connection_class=psycopg.AsyncConnection[DictRow],
    kwargs={"autocommit": True, "row_factory": dict_row},
    min_size=_CONNECTIONS,
    max_size=_CONNECTIONS,
    open=False,
)


@contextlib.asynccontextmanager
async def _lifespan(_app: FastAPI) -> AsyncIterator[None]:
    async with _pool:
        yield


app = FastAPI(lifespan=_lifespan)


@app.get("/row")
async def read_row() -> dict[str, Any] | None:
    async with _pool.connection() as connection:
        cursor = await connection.execute(_SQL, _PARAMETERS)
        return await cursor.fetchone()
