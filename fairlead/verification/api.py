"""What an end-to-end suite asks a service with: requests bounded in time, and answers that are held to their form.

Whatever is wrong with an answer is an `AnswerError` that says so in a sentence: a suite needs no guard of its own
against an answer that never comes, that is no JSON, or that fails without saying why.
"""

import json as _json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Self

from fairlead._http import TotalDeadline, make_client
from fairlead._output import printable, redact

if TYPE_CHECKING:
    import httpx

_LONGEST_SHOWN: Final = 200
#: So much is masked before it is cut: half a secret would not be known as one.
_LONGEST_MASKED: Final = 20_000
_LARGEST_BODY: Final = 5_000_000


class AnswerError(AssertionError):
    """An answer did not come, or is not what was promised."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer: what was asked, the status, the headers by lower-case name, and the body as it came."""

    question: str
    status: int
    headers: Mapping[str, str]
    content: bytes = field(repr=False)
    #: Whether the body may hold what nobody is to read, such as a token.
    secret: bool = False

    def json(self) -> Any:
        """Return what the body says; raise `AnswerError` where it is no JSON."""
        try:
            return _json.loads(self.content)
        except (ValueError, RecursionError):
            raise AnswerError(f"{self.question}: the answer is not JSON but {self._shown()}") from None

    def expect(self, *statuses: int) -> Self:
        """Return this answer when it has one of these statuses; raise `AnswerError` saying what it has instead.

        Whatever fails must say why in a structured body, and one that does not is told apart.
        """
        if self.status in statuses:
            return self
        wanted = " or ".join(map(str, statuses))
        said = self._structured_error()
        how = f"and says {said}" if said else f"without a structured body ({self._shown()})"
        raise AnswerError(f"{self.question}: {wanted} was expected; it answers {self.status} {how}")

    def object(self, *statuses: int) -> dict[str, Any]:
        """Return the JSON object that is answered with one of these statuses, 200 where none is given."""
        found = self.expect(*(statuses or (200,))).json()
        if not isinstance(found, dict):
            raise AnswerError(f"{self.question}: the answer is not a JSON object but {self._shown()}")
        return found

    def problem(self, *statuses: int, code: str | None = None) -> dict[str, Any]:
        """Return the problem that is answered with one of these statuses; raise `AnswerError` where it is none.

        A problem is a JSON object that names its error for programs and explains it for people (RFC 9457); with `code`
        that must be its name.
        """
        body = self.object(*statuses)
        if self._structured_error() is None:
            raise AnswerError(f"{self.question}: it answers {self.status} without a structured body ({self._shown()})")
        if body.get("status", self.status) != self.status:
            raise AnswerError(f"{self.question}: it answers {self.status}, and its body says {body['status']!r}")
        if code is not None and body.get("error") != code:
            raise AnswerError(f"{self.question}: the error {code} was expected, not {body.get('error')!r}")
        return body

    def _structured_error(self) -> str | None:
        """Return name and explanation of the error, where the body has both."""
        if "json" not in self.headers.get("content-type", ""):
            return None
        try:
            body = _json.loads(self.content)
        except (ValueError, RecursionError):
            return None
        if not isinstance(body, dict):
            return None
        name = body.get("error") or body.get("code") or body.get("type")
        detail = body.get("detail") or body.get("message")
        given = isinstance(name, str) and isinstance(detail, str) and name and detail
        return printable(redact(f"{name}: {detail}"))[:_LONGEST_SHOWN] if given else None

    def _shown(self) -> str:
        kind = self.headers.get("content-type", "no content type")
        if self.secret and self.content:
            return f"{kind}, {len(self.content)} bytes that are not shown"
        begin = redact(self.content[:_LONGEST_MASKED].decode("utf-8", "replace"))
        text = printable(begin[:_LONGEST_SHOWN]).strip()
        return f"{kind}: {text!r}" if text else f"{kind}, empty"


class Api:
    """Asks the service at `url`; with a `token`, as the one that it belongs to.

    `timeout` is in seconds and bounds a whole exchange, however slowly it drips in. `transport` replaces the network.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 10.0,
        token: str | None = None,
        transport: "httpx.BaseTransport | None" = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._timeout = timeout
        self._transport = transport
        self._deadline = TotalDeadline()
        headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._client = make_client(self.url, timeout=timeout, headers=headers, transport=transport)

    def __repr__(self) -> str:
        return f"<Api {self.url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def get(self, path: str, *, params: Mapping[str, Any] | None = None, **headers: str) -> Reply:
        """GET; further keywords are headers, `accept="text/html"`."""
        return self.request("GET", path, params=params, headers=headers)

    def post(self, path: str, json: Any = None) -> Reply:
        """POST a body of JSON, or none."""
        return self.request("POST", path, json=json)

    def put(self, path: str, json: Any) -> Reply:
        """PUT a body of JSON."""
        return self.request("PUT", path, json=json)

    def delete(self, path: str) -> Reply:
        """DELETE."""
        return self.request("DELETE", path)

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Reply:
        """Ask, and return the answer whatever its status is; raise `AnswerError` where none comes in time."""
        request = self._client.build_request(
            method,
            path,
            json=json,
            content=content,
            params=params,
            headers={k.replace("_", "-"): v for k, v in headers.items()},
        )
        request.extensions["trace"] = self._deadline.watch
        question = f"{method} {path.partition('?')[0]}"
        started = time.monotonic()
        try:
            return self._deadline.call(lambda: _exchange(self._client, request, question), seconds=self._timeout)
        except TimeoutError:
            raise AnswerError(f"{question}: no answer within {self._timeout:g} s") from None
        except (OSError, ValueError) as error:
            raise AnswerError(f"{question}: no answer ({_reason(error)})") from None
        except Exception as error:
            import httpx

            if not isinstance(error, httpx.HTTPError):
                raise
            late = self._deadline.passed or time.monotonic() - started >= self._timeout
            why = f"within {self._timeout:g} s" if late else f"({_reason(error)})"
            raise AnswerError(f"{question}: no answer {why}") from None

    def log_in(self, path: str, *, email: str, password: str) -> "Api":
        """Return an API that asks as this account; raise `AnswerError` where it is not let in."""
        redact.register(password)
        # Whatever a login answers may hold a token, also where it is not what was expected.
        body = replace(self.post(path, json={"email": email, "password": password}), secret=True).object()
        token = body.get("access_token")
        if not isinstance(token, str) or not token:
            raise AnswerError(f"POST {path}: it lets the account in and gives no access_token")
        redact.register(token)
        return Api(self.url, timeout=self._timeout, token=token, transport=self._transport)


def _exchange(client: "httpx.Client", request: "httpx.Request", question: str) -> Reply:
    response = client.send(request, stream=True)
    try:
        content = bytearray()
        for chunk in response.iter_bytes():
            content += chunk
            if len(content) > _LARGEST_BODY:
                raise AnswerError(f"{question}: the answer is larger than {_LARGEST_BODY} bytes")
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Reply(question, response.status_code, headers, bytes(content))
    finally:
        response.close()


def _reason(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return "connection refused" if "refused" in text.lower() else text
