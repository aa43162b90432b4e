"""Owns every error answer: RFC 9457 problems, with the members that older clients read on top."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from app.db import UNAVAILABLE, explain
from app.logs import request_id

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
_TYPE_PREFIX = "https://mayassistant.com/problems/"
_RETRY_AFTER = "5"
_MOST_ERRORS = 50
_LONGEST_LOCATION = 200
_LONGEST_INSTANCE = 1024

#: As RFC 9110 has them; before Python 3.13 HTTPStatus has those of its predecessors.
_TITLES: Mapping[int, str] = {413: "Content Too Large", 414: "URI Too Long", 422: "Unprocessable Content"}

#: For errors that the framework raises: code, what happened, what to do.
_BY_STATUS: Mapping[int, tuple[str, str, str]] = {
    400: ("malformed_json", "The body is not valid JSON.", "Send well-formed JSON in UTF-8."),
    401: ("not_authenticated", "This needs a valid access token.", "Log in at /api/auth/login and send the token."),
    403: ("forbidden", "This account may not do that.", "Ask the owner of the business."),
    404: ("not_found", "There is nothing at this address.", "Check the address."),
    405: ("method_not_allowed", "This address does not take this method.", "Use a method of the Allow header."),
    408: ("request_timeout", "The request did not arrive in time.", "Send the whole request at once."),
    413: ("content_too_large", "The request's body is too large.", "Send a smaller body."),
}


class ApiError(Exception):
    """An error that the client is meant to see. Handlers turn it into a problem; nothing else of it is shown."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        action: str,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Take the HTTP status, a code for programs, what happened and what to do, and each field at fault."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.action = action
        self.headers = dict(headers or {})
        self.errors = tuple(errors)


def not_authenticated(message: str = "This needs a valid access token.") -> ApiError:
    """Make the one answer for every request without a usable token."""
    return ApiError(
        401,
        "not_authenticated",
        message,
        action="Log in at /api/auth/login and send the token as: Authorization: Bearer TOKEN",
        headers={"WWW-Authenticate": 'Bearer realm="maya", error="invalid_token"'},
    )


def invalid_field(name: str, message: str) -> ApiError:
    """Make the answer for a value that is well-formed but breaks a rule of the application."""
    return ApiError(
        422,
        "validation_failed",
        f"{name}: {message}",
        action="Correct the fields listed in `errors` and send the request again.",
        errors=[{"location": f"body.{name}", "code": "rule_violated", "message": message}],
    )


def problem(error: ApiError, *, instance: str) -> JSONResponse:
    """Render an error as an RFC 9457 problem about the address `instance`."""
    content: dict[str, Any] = {
        "type": _TYPE_PREFIX + error.code.replace("_", "-"),
        "title": _TITLES.get(error.status) or HTTPStatus(error.status).phrase,
        "status": error.status,
        "detail": error.message,
        "instance": instance[:_LONGEST_INSTANCE],
        "error": error.code,
        "message": error.message,
        "action": error.action,
    }
    if (current := request_id.get()) is not None:
        content["request_id"] = current
    if error.errors:
        content["errors"] = list(error.errors)
    return JSONResponse(content, error.status, headers=error.headers, media_type=MEDIA_TYPE)


def install_handlers(app: FastAPI) -> None:
    """Make every error of `app` a problem."""
    app.add_exception_handler(ApiError, _on_api_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    for unavailable in UNAVAILABLE:
        app.add_exception_handler(unavailable, _on_database_unavailable)
    app.add_exception_handler(Exception, _on_bug)


async def _on_api_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)  # noqa: S101  (narrows the type: registered for this class alone)
    return problem(error, instance=request.url.path)


async def _on_validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101  (narrows the type: registered for this class alone)
    items = error.errors()
    if any(item["type"] == "json_invalid" for item in items):
        return await _on_http_exception(request, HTTPException(400))
    # Only location, code and message go back: the input may hold a password.
    errors = [
        {"location": _locate(item["loc"]), "code": item["type"], "message": item["msg"].removeprefix("Value error, ")}
        for item in items[:_MOST_ERRORS]
    ]
    named = "; ".join(f"{item['location']}: {item['message']}" for item in errors[:3])
    invalid = ApiError(
        422,
        "validation_failed",
        f"The request is not valid. {named}",
        action="Correct the fields listed in `errors` and send the request again.",
        errors=errors,
    )
    return problem(invalid, instance=request.url.path)


async def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101  (narrows the type: registered for this class alone)
    default = ("error", HTTPStatus(error.status_code).phrase, "Check the request.")
    code, message, action = _BY_STATUS.get(error.status_code, default)
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED and (methods := _find_methods(request)):
        headers["Allow"] = methods
    known = ApiError(error.status_code, code, message, action=action, headers=headers)
    return problem(known, instance=request.url.path)


def _find_methods(request: Request) -> str | None:
    # The framework names those of the first route with this path alone.
    path = getattr(request.scope.get("route"), "path", None)
    routes = getattr(request.app.state, "routes", ())
    return ", ".join(sorted({method for route in routes if route.path == path for method in route.methods})) or None


async def _on_database_unavailable(request: Request, error: Exception) -> JSONResponse:
    logger.error("the database failed a request", extra={"reason": explain(error)})
    unavailable = ApiError(
        503,
        "database_unavailable",
        "The database is not available at the moment.",
        action=f"Try again in {_RETRY_AFTER} seconds.",
        headers={"Retry-After": _RETRY_AFTER},
    )
    return problem(unavailable, instance=request.url.path)


async def _on_bug(request: Request, _error: Exception) -> JSONResponse:
    # The middleware logs the error with its traceback; the client gets the id to quote and nothing of the inside.
    bug = ApiError(
        500,
        "internal_error",
        "Something went wrong on our side.",
        action=f"Try again later; if it happens again, report it with the request id {request_id.get()}.",
    )
    return problem(bug, instance=request.url.path)


def _locate(parts: Sequence[Any]) -> str:
    # A client may name a field anything, also what no encoding can carry.
    joined = ".".join(map(str, parts))[:_LONGEST_LOCATION]
    return joined.encode("utf-8", "backslashreplace").decode()
