"""GitHub's environment protection, looked up: who reviewed the run that this job belongs to.

Source: https://docs.github.com/en/rest/actions/workflow-runs, "Get the review history for a workflow run": a list of
`{environments: [{name}], state: approved | rejected | pending, user: {login, type}, comment}`, for `actions: read`.
The list tells neither the attempt of the run nor an order, so one rejection in it outweighs every approval.
"""

import contextlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from fairlead._http import TotalDeadline, is_loopback, make_client
from fairlead._output import redact
from fairlead.approval.models import Approval, NotApprovedError, as_remark

if TYPE_CHECKING:
    import httpx

_API: Final = "https://api.github.com"
_LARGEST_ANSWER: Final = 2_000_000
_REPOSITORY: Final = re.compile(r"(?!\.+/)[A-Za-z0-9_.-]+/(?!\.+$)[A-Za-z0-9_.-]+")
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,18}")
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
_PERMISSION: Final = "the job needs `permissions: actions: read`"
_REFUSALS: Final = {
    401: "GitHub does not accept the token in GITHUB_TOKEN",
    403: f"GitHub does not let the token read the run's reviews; {_PERMISSION}",
    404: f"GitHub knows no such run, or does not show it to this token; {_PERMISSION}",
    429: "GitHub was asked too often",
}


class _UnprovenError(Exception):
    """Nothing proves that somebody approved; the text says why."""


@dataclass(frozen=True, slots=True)
class _Job:
    """The job this process runs in, as GitHub Actions describes it in variables."""

    api: str
    repository: str
    run: int
    attempt: int | None
    token: str = field(repr=False)

    @property
    def path(self) -> str:
        return f"/repos/{self.repository}/actions/runs/{self.run}"


def check_github(
    environment_name: str,
    *,
    environ: Mapping[str, str],
    revision: str | None = None,
    timeout: float = 10.0,
    transport: "httpx.BaseTransport | None" = None,
) -> Approval:
    """Return the approval that a person gave to this very run of GitHub Actions for an environment.

    The run must be under way, and of the commit `revision` where one is given. `timeout`, in seconds, bounds everything
    that is asked; `transport` replaces the network in tests. Raises `NotApprovedError` (16) with the reason.
    """
    try:
        job = _read_job(environ)
        run, reviews = _fetch_reviews(job, timeout=timeout, transport=transport)
        _check_run(run, job, revision)
        return _find_approval(environment_name, reviews)
    except _UnprovenError as reason:
        raise NotApprovedError(
            f"GitHub's environment protection does not approve this deploy to {environment_name}",
            hint=f"name the environment in the job (environment: {environment_name}), require reviewers for it in the "
            f"repository's settings, grant `permissions: actions: read`, pass GITHUB_TOKEN: ${{{{ github.token }}}}",
            problems=(str(reason),),
        ) from None


def _read_job(environ: Mapping[str, str]) -> _Job:
    if environ.get("GITHUB_ACTIONS") != "true":
        raise _UnprovenError("this is not a job of GitHub Actions")
    token = environ.get("GITHUB_TOKEN", "").strip()
    redact.register(token)
    if not token:
        raise _UnprovenError("GITHUB_TOKEN is not set; pass it to the step: GITHUB_TOKEN: ${{ github.token }}")
    if not _TOKEN.fullmatch(token):
        raise _UnprovenError("GITHUB_TOKEN holds characters that no token has")
    repository, run = environ.get("GITHUB_REPOSITORY", ""), environ.get("GITHUB_RUN_ID", "")
    if not _REPOSITORY.fullmatch(repository):
        raise _UnprovenError("GITHUB_REPOSITORY does not hold OWNER/NAME")
    attempt = environ.get("GITHUB_RUN_ATTEMPT", "")
    if not _NUMBER.fullmatch(run) or not _NUMBER.fullmatch(attempt or "1"):
        raise _UnprovenError("GITHUB_RUN_ID or GITHUB_RUN_ATTEMPT does not hold a number")
    api = (environ.get("GITHUB_API_URL") or _API).rstrip("/")
    if not _is_safe(api):
        raise _UnprovenError("GITHUB_API_URL is not an address that begins with https://")
    return _Job(api, repository, int(run), int(attempt) if attempt else None, token)


def _is_safe(address: str) -> bool:
    """Tell whether a token may be sent there: over TLS, or to this machine."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    plain = not (parts.username or parts.password or parts.query or parts.fragment) and port != 0
    return bool(host) and plain and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)))


def _fetch_reviews(job: _Job, *, timeout: float, transport: "httpx.BaseTransport | None") -> tuple[Any, Any]:
    import httpx

    headers = {"Accept": "application/vnd.github+json", "Authorization": f"Bearer {job.token}"}
    deadline = TotalDeadline()

    def fetch() -> tuple[Any, Any]:
        with make_client(job.api, timeout=timeout, headers=headers, transport=transport) as client:
            return _fetch(client, job.path, deadline), _fetch(client, f"{job.path}/approvals", deadline)

    try:
        return deadline.call(fetch, seconds=timeout)
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, TimeoutError) as error:  # the second and third: no address
        if deadline.passed or isinstance(error, httpx.TimeoutException):
            raise _UnprovenError(f"GitHub gave no complete answer within {timeout:g} s") from None
        raise _UnprovenError(f"GitHub could not be asked: {str(error) or type(error).__name__}") from None


def _fetch(client: "httpx.Client", path: str, deadline: TotalDeadline) -> Any:
    request = client.build_request("GET", path)
    request.extensions["trace"] = deadline.watch
    content = bytearray()
    with contextlib.closing(client.send(request, stream=True)) as response:
        if response.status_code != 200:
            raise _UnprovenError(
                _REFUSALS.get(response.status_code, f"GitHub answered with status {response.status_code}")
            )
        for chunk in response.iter_bytes():
            content += chunk
            if len(content) > _LARGEST_ANSWER:
                raise _UnprovenError("the answer of GitHub is larger than any should be")
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise _UnprovenError("the answer of GitHub is not JSON") from None


def _check_run(run: Any, job: _Job, revision: str | None) -> None:
    """Refuse a run that is not the one this job can belong to: the variables alone could name an old one."""
    if not isinstance(run, dict) or run.get("id") != job.run:
        raise _UnprovenError(f"GitHub's answer does not describe the run {job.run}")
    status, attempt, head = run.get("status"), run.get("run_attempt"), run.get("head_sha")
    if not isinstance(status, str) or status == "completed":
        raise _UnprovenError(f"the run {job.run} is not under way ({status}), so this job cannot belong to it")
    if job.attempt is not None and attempt != job.attempt:
        raise _UnprovenError(f"the run {job.run} is at its attempt {attempt}, and this job belongs to {job.attempt}")
    if revision is not None and head != revision:
        raise _UnprovenError(f"the reviewed run is of the commit {head}, and what is to be deployed is of {revision}")


def _find_approval(environment_name: str, reviews: Any) -> Approval:
    if not isinstance(reviews, list):
        raise _UnprovenError("GitHub's answer is not a list of reviews")
    ours = [one for one in reviews if isinstance(one, dict) and _names(one, environment_name)]
    if rejected := [one for one in ours if one.get("state") == "rejected"]:
        raise _UnprovenError(
            f"{_who(rejected)} rejected this run for {environment_name}; start a new run to be asked again"
        )
    approved = [one for one in ours if one.get("state") == "approved"]
    by_people = [one for one in approved if _login(one)]
    if by_people:
        comment = by_people[-1].get("comment")
        reason = as_remark(comment) if isinstance(comment, str) else None
        return Approval(environment_name, _who(by_people), "github", reason=reason)
    if approved:
        raise _UnprovenError(f"this run was approved for {environment_name}, but by no person")
    raise _UnprovenError(f"nobody approved this run for {environment_name}: does that environment require reviewers?")


def _names(review: Mapping[str, Any], environment_name: str) -> bool:
    """Tell whether a review is for an environment; GitHub takes no notice of case in their names."""
    found = review.get("environments")
    names = [one.get("name") for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    return any(isinstance(name, str) and name.casefold() == environment_name.casefold() for name in names)


def _login(review: Mapping[str, Any]) -> str | None:
    """Return the person who reviewed, or None where it was a program."""
    user = review.get("user")
    login = user.get("login") if isinstance(user, dict) and user.get("type") == "User" else None
    return as_remark(login) if isinstance(login, str) else None


def _who(reviews: Iterable[Mapping[str, Any]]) -> str:
    return ", ".join(sorted({_login(one) or "a program" for one in reviews}))
