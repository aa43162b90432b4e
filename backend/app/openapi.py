"""Owns what the OpenAPI document says of errors: the problem's schema, and which errors each operation may answer with.

FastAPI documents what a route returns; that a body can be malformed, a token expired or the database gone holds for
every route alike, and is added here in one place. A route documents only the errors that are its own:
`responses={409: {"description": "Another booking has this time."}}`; their content is filled in.
"""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final

from app.errors import MEDIA_TYPE

_METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_REFERENCE: Final = {"$ref": "#/components/schemas/Problem"}
_FIRST_ERROR: Final = 400

#: The framework's own schemas of errors, which no answer has.
_UNUSED: Final = ("HTTPValidationError", "ValidationError")

_DESCRIPTIONS: Final = {
    400: "The body is not valid JSON.",
    401: "There is no valid access token.",
    403: "This account may not do that.",
    404: "There is no such thing, or it belongs to another business.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    414: "The address is too long.",
    422: "A value is missing, malformed or breaks a rule; `errors` names each.",
    429: "There were too many requests; `Retry-After` says how long to wait.",
    431: "The headers are too many or too large.",
    500: "Something went wrong on our side.",
    503: "The service, or something that it needs, is not available at the moment.",
}

_RETRY_AFTER: Final = {"description": "Seconds to wait.", "schema": {"type": "string", "pattern": "^[0-9]+$"}}
_HEADERS: Final[dict[int, dict[str, Any]]] = {
    401: {"WWW-Authenticate": {"description": "How to authenticate.", "required": True, "schema": {"type": "string"}}},
    429: {"Retry-After": {**_RETRY_AFTER, "required": True}},
    503: {"Retry-After": _RETRY_AFTER},
}

_TEXT: Final = {"type": "string"}
_FIELD_ERROR: Final = {
    "title": "FieldError",
    "description": "One field at fault: where it stands, a code for programs, and what is wrong with it.",
    "type": "object",
    "properties": {"location": _TEXT, "code": _TEXT, "message": _TEXT},
    "required": ["location", "code", "message"],
}
_PROBLEM: Final = {
    "title": "Problem",
    "description": "An error as RFC 9457 describes it, with a code for programs, what happened and what to do.",
    "type": "object",
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": _TEXT,
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": _TEXT,
        "instance": _TEXT,
        "error": {"type": "string", "pattern": "^[a-z][a-z0-9_]*$"},
        "message": _TEXT,
        "action": _TEXT,
        "request_id": _TEXT,
        "errors": {"type": "array", "items": {"$ref": "#/components/schemas/FieldError"}},
    },
    "required": ["type", "title", "status", "detail", "instance", "error", "message", "action"],
}


def complete_document(document: dict[str, Any]) -> dict[str, Any]:
    """Add to an OpenAPI document, in place, the errors that each operation may answer with, and return it.

    What a route says of an error itself is kept. Completing a document twice changes nothing.
    """
    schemas: dict[str, Any] = document.setdefault("components", {}).setdefault("schemas", {})
    for operation in _operations(document):
        responses: dict[str, Any] = operation.setdefault("responses", {})
        for status in _statuses(operation):
            responses.setdefault(str(status), {})
        for code, response in responses.items():
            if code.isdigit() and int(code) >= _FIRST_ERROR:
                _complete_response(int(code), response)
    for name in _UNUSED:
        schemas.pop(name, None)
    schemas.update(Problem=_PROBLEM, FieldError=_FIELD_ERROR)
    return document


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for item in document.get("paths", {}).values():
        yield from (item[method] for method in _METHODS if method in item)


def _statuses(operation: dict[str, Any]) -> list[int]:
    """Return the errors that an operation can answer with because of what it takes."""
    parameters = operation.get("parameters", [])
    found = {414, 429, 431, 500, 503}
    if "requestBody" in operation:
        found |= {400, 408, 413, 422}
    if parameters:
        found.add(422)
    if any(parameter.get("in") == "path" for parameter in parameters):
        found.add(404)
    if operation.get("security"):
        found |= {401, 403}
    return sorted(found)


def _complete_response(status: int, response: dict[str, Any]) -> None:
    described = response.get("description", "")
    if not described or described in {HTTPStatus(status).phrase, "Validation Error"}:
        # The phrases of HTTPStatus differ between versions of Python, and the document must not.
        response["description"] = _DESCRIPTIONS.get(status, f"Error {status}.")
    content: dict[str, Any] = response.setdefault("content", {})
    framework = [media for media, value in content.items() if _is_frameworks(value.get("schema", {}))]
    for media in framework:
        del content[media]
    if not content:
        content[MEDIA_TYPE] = {"schema": _REFERENCE}
    elif status == HTTPStatus.SERVICE_UNAVAILABLE:
        # A route with an answer of its own for 503 (the health report) still fails as all others do.
        content.setdefault(MEDIA_TYPE, {"schema": _REFERENCE})
    for name, header in _HEADERS.get(status, {}).items():
        response.setdefault("headers", {}).setdefault(name, header)


def _is_frameworks(schema: dict[str, Any]) -> bool:
    return bool(schema.get("$ref", "").rpartition("/")[2] in _UNUSED)
