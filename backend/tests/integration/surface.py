"""The operations of the OpenAPI document, so that a route that is added is tested by itself."""

from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI

_METHODS = ("get", "put", "post", "delete", "patch")


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one address."""

    method: str
    path: str
    needs_token: bool
    takes_body: bool
    path_names: tuple[str, ...]
    query_names: tuple[str, ...]

    @property
    def name(self) -> tuple[str, str]:
        return self.method, self.path

    def at(self, value: str) -> str:
        """The address with `value` for every id in it."""
        return self.path.format(**dict.fromkeys(self.path_names, value))


def list_operations(app: FastAPI) -> list[Operation]:
    """Return every operation that the application documents."""
    found = [
        _read(method.upper(), path, item[method])
        for path, item in app.openapi()["paths"].items()
        for method in _METHODS
        if method in item
    ]
    assert found
    return found


def is_problem(response: httpx.Response) -> bool:
    """Say whether an answer is an error as all of this backend's are."""
    if response.headers["content-type"] != "application/problem+json":
        return False
    body = response.json()
    told = all(isinstance(body.get(name), str) and body[name] for name in ("error", "message", "action", "detail"))
    return told and body["status"] == response.status_code


def _read(method: str, path: str, operation: dict[str, Any]) -> Operation:
    parameters = operation.get("parameters", [])
    return Operation(
        method=method,
        path=path,
        needs_token=bool(operation.get("security")),
        takes_body="requestBody" in operation,
        path_names=tuple(parameter["name"] for parameter in parameters if parameter["in"] == "path"),
        query_names=tuple(parameter["name"] for parameter in parameters if parameter["in"] == "query"),
    )
