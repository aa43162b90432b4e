"""What the backend's hot route is measured against: a bare FastAPI route that reads the same row.

The very same SQL with the same parameters, by SQLAlchemy on psycopg as FastAPI's users write it, and nothing else: no
token, no middleware, no model. Its pool holds as many connections as the backend may open, and keeps them all.
"""

import json
import os
import uuid
from typing import Any

from fastapi import FastAPI
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

_STATEMENT = json.loads(os.environ["BARE_STATEMENT"])
_SQL: str = _STATEMENT["sql"]
#: JSON has no UUIDs; the backend binds them as such, and so does this route.
_VALUES = {name: uuid.UUID(text) if kind == "UUID" else text for name, (kind, text) in _STATEMENT["parameters"]}
_PARAMETERS = _VALUES if _STATEMENT["named"] else tuple(_VALUES.values())

_engine = create_async_engine(
    make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+psycopg"),
    pool_size=int(os.environ["BARE_CONNECTIONS"]),
    max_overflow=0,
)
app = FastAPI()


@app.get("/row")
async def read_row() -> dict[str, Any]:
    async with _engine.connect() as connection:
        result = await connection.exec_driver_sql(_SQL, _PARAMETERS)
        return dict(result.mappings().one())
