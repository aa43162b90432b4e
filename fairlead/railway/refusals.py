"""What a platform's refusal means: every answer that is no success, as the error that it stands for."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, NoReturn

from fairlead._http import is_loopback
from fairlead._output import printable, redact
from fairlead.exceptions import AuthenticationError, RateLimitError, ResponseError
from fairlead.railway.exchange import Answer

_LONGEST_TEXT: Final = 300


class Refusals:
    """Reads the answers of the platform at `url` to a token that came from the variable `token_env`."""

    def __init__(self, *, url: str, host: str, place: str, token_env: str, account: bool) -> None:
        self._url = url
        self._host = host
        self._place = place
        self._token_env = token_env
        self._account = account

    def read(self, what: str, answer: Answer) -> Any:
        """Return the JSON of an answer that is a success; raise the error that any other one stands for."""
        self._check(what, answer)
        parsed = _parse(what, answer)
        if isinstance(parsed, dict) and parsed.get("errors"):
            self._refused(what, "; ".join(_error_texts(parsed)) or "it does not say why")
        return parsed

    def _check(self, what: str, answer: Answer) -> None:
        """Raise the error that an answer's status stands for; 200 stands for none."""
        if answer.status == HTTPStatus.OK:
            return
        said = _said(answer)
        if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise self._unauthorized(what)
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            raise _rate_limit(what, answer.retry_after)
        if answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            why = f": {said}" if said else ""
            hint = "leave out what a release does not need: include in [tool.fairlead.bundle]"
            raise ResponseError(f"{what} failed: it is larger than {self._place} takes{why}", hint=hint)
        if said and answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
            self._refused(what, said)
        code = f"{answer.status} {_phrase(answer.status)}".strip()
        message = f"{what} failed: {self._place} answered {code}" + (f": {said}" if said else "")
        raise ResponseError(message, hint=self._status_hint(answer.status))

    def _refused(self, what: str, why: str) -> NoReturn:
        known = why.lower()
        if any(words in known for words in ("not authorized", "unauthorized", "project token not found")):
            raise self._unauthorized(what)
        if "rate limit" in known:
            raise _rate_limit(what, None)
        hint = "check the ids of the project, environment and service" if "not found" in known else None
        raise ResponseError(f"{what} failed: {self._place} refused: {why}", hint=hint)

    def _unauthorized(self, what: str) -> AuthenticationError:
        message = f"{what} failed: {self._place} does not accept the token in {self._token_env}"
        return AuthenticationError(message, hint=self.token_hint())

    def token_hint(self) -> str:
        """Say which token is wanted."""
        if self._account:
            return f"set {self._token_env} to an account or workspace token that may use this project"
        return f"set {self._token_env} to a project token of this very environment (project settings, tokens)"

    def _status_hint(self, status: int) -> str:
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return f"check that {self._url} is the platform's address"
        if is_loopback(self._host):
            return "`invoke platform.logs` shows what the local platform says"
        return "try again in a minute; https://status.railway.com tells of known troubles"


def _parse(what: str, answer: Answer) -> Any:
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise ResponseError(
            f"{what} failed: the platform's answer is not JSON",
            hint="check the platform's address, and that no proxy or login page answers in its place",
        ) from error


def _said(answer: Answer) -> str:
    """Return what the body of a refusal says, empty when it says nothing that can be read."""
    try:
        body = json.loads(answer.body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(body, dict):
        return ""
    message = body.get("message")
    return _clean(message) if isinstance(message, str) else "; ".join(_error_texts(body))


def _error_texts(body: Mapping[str, Any]) -> list[str]:
    errors = body.get("errors")
    messages = [error.get("message") for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    return [_clean(message) for message in messages if isinstance(message, str)]


def _clean(text: str) -> str:
    """Make a foreign text fit for a message: one line, no control characters, no secret, not endless."""
    return redact(" ".join(printable(text).split()))[:_LONGEST_TEXT]


def _rate_limit(what: str, retry_after: float | None) -> RateLimitError:
    hint = "wait a minute and try again" if retry_after is None else f"try again in {retry_after:.0f} s"
    return RateLimitError(f"{what} failed: the platform was asked too often (429)", hint=hint, retry_after=retry_after)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
