"""What of a request's and an answer's head is passed on, and the problems that the proxy answers by itself."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from fairlead.localplatform.ports import LOOPBACK

Headers = list[tuple[bytes, bytes]]

#: A request that carries this header goes to the release of that deployment.
DEPLOYMENT_HEADER: Final = b"x-fairlead-deployment"
#: The most that the head of a request for a WebSocket or of an answer may be, in bytes.
LONGEST_HEAD: Final = 262_144
READ_LOGS: Final = "read what it printed: invoke platform.logs"

_HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"expect",
    }
)
_FORWARDED: Final = frozenset({b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded"})
_TITLES: Final = {400: "Bad Request", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout"}
#: Answers without a body; a length beside them would be taken for that of a body that never comes.
_EMPTY: Final = frozenset({204, 304})
_SCHEMES: Final = (b"http://", b"https://")


def keep_end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return the headers that are not for this connection alone, their names in small letters."""
    pairs = [(name.lower(), value) for name, value in headers]
    named = {option.strip().lower() for name, value in pairs if name == b"connection" for option in value.split(b",")}
    dropped = _HOP_BY_HOP | named
    return [pair for pair in pairs if pair[0] not in dropped]


def make_request_headers(given: Iterable[tuple[bytes, bytes]], *, client: str, scheme: str, host: bytes) -> Headers:
    """Return the headers that a release is sent: what was given, and who asked for what by which name."""
    headers = [pair for pair in keep_end_to_end(given) if pair[0] not in _FORWARDED]
    if all(name != b"host" for name, _ in headers):
        headers.append((b"host", host))
    return [
        *headers,
        (b"x-forwarded-for", client.encode("ascii")),
        (b"x-forwarded-proto", scheme.encode("ascii")),
        (b"x-forwarded-host", host),
    ]


def make_answer_headers(status: int, given: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return the headers that a client is answered with; the length is left out where it is not that of the body."""
    pairs = list(given)
    headers = keep_end_to_end(pairs)
    if status in _EMPTY or find_header(pairs, b"transfer-encoding") is not None:
        return [pair for pair in headers if pair[0] != b"content-length"]
    return headers


def read_target(scope: Mapping[str, Any]) -> tuple[bytes, bytes | None]:
    """Return the path and query of a request, and the host of its target when that names one; the path may be `*`."""
    path: bytes = scope.get("raw_path") or scope["path"].encode("utf-8")
    host = None
    for scheme in _SCHEMES:
        if path.lower().startswith(scheme):
            host, slash, path = path[len(scheme) :].partition(b"/")
            path = slash + path or b"/"
    query = b"?" + scope["query_string"] if scope["query_string"] else b""
    return path + query, host


def find_header(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> bytes | None:
    """Return the value of the first header of a name in small letters."""
    return next((value for name, value in headers if name.lower() == wanted), None)


def find_deployment(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the id of the deployment that a request is for, None when it is for whoever serves."""
    value = find_header(headers, DEPLOYMENT_HEADER)
    return None if value is None else value.decode("latin-1").strip()


def make_problem(status: int, detail: str, action: str) -> tuple[Headers, bytes]:
    """Make the headers and the body of an answer that says why there is no other."""
    problem = {"type": "about:blank", "title": _TITLES[status], "status": status, "detail": detail}
    body = json.dumps({**problem, "error": _TITLES[status], "message": detail, "action": action}).encode("utf-8")
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode("ascii")),
    ]
    return headers + ([(b"retry-after", b"1")] if status != 400 else []), body


def explain_absence(deployment_id: str | None) -> tuple[str, str]:
    """Return why nobody can be given a request, and what to do about it."""
    if deployment_id is None:
        return "no release is serving", "deploy one: invoke deploy --env local"
    return f"no release of deployment {deployment_id[:80]!r} is running", "see which there are: invoke releases"


def describe_failure(error: Exception) -> str:
    """Say why a release gave no answer; never in its own words, which may hold what is for nobody else."""
    if isinstance(error, ConnectionRefusedError | TimeoutError):
        return "the release cannot be connected to"
    return "the release broke off, or what it said is no answer"


def forwarded_client(peer: Any) -> str:
    """Return the address of a client, given as a server knows it."""
    return str(peer[0]) if peer else LOOPBACK
