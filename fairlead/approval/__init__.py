"""Decides whether somebody approved a deploy where nobody can be asked.

Two things count: an approval that `invoke approve` signed, which is bound to a digest and an environment and expires,
and a review that GitHub's environment protection asked for, which is looked up and never taken from the fact that the
job runs (a job that names an environment which does not exist makes one without protection). Everything that cannot be
read, reached or understood is "not approved".
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fairlead.approval.github import check_github
from fairlead.approval.models import Approval, NotApprovedError
from fairlead.approval.signed import KEY_VARIABLE, TOKEN_VARIABLE, SignedApproval, check, sign

if TYPE_CHECKING:
    import httpx

__all__ = [
    "KEY_VARIABLE",
    "TOKEN_VARIABLE",
    "Approval",
    "NotApprovedError",
    "SignedApproval",
    "check",
    "check_github",
    "require",
    "sign",
]


def require(
    environment_name: str,
    digest: str,
    *,
    environ: Mapping[str, str],
    revision: str | None = None,
    now: float | None = None,
    transport: "httpx.BaseTransport | None" = None,
) -> Approval:
    """Return the approval of a deploy of `digest`: the signed one where `FAIRLEAD_APPROVAL` holds one, else GitHub's.

    A signed approval that does not hold is final: GitHub is not asked then. `revision` is the commit that GitHub's run
    must be of, where it is known. `now` is in seconds since 1970. Raises `NotApprovedError` (16) whose problems say why
    neither holds.
    """
    problems: tuple[str, ...]
    if environ.get(TOKEN_VARIABLE, "").strip():
        try:
            return check(environment_name, digest, environ=environ, now=now)
        except NotApprovedError as error:
            problems = (
                *(f"signed approval: {problem}" for problem in error.problems),
                f"GitHub's environment protection: not asked, because {TOKEN_VARIABLE} is set",
            )
    else:
        try:
            return check_github(environment_name, environ=environ, revision=revision, transport=transport)
        except NotApprovedError as error:
            problems = (
                f"signed approval: {TOKEN_VARIABLE} is not set",
                *(f"GitHub's environment protection: {problem}" for problem in error.problems),
            )
    raise NotApprovedError(
        f"nobody approved the deploy to {environment_name}",
        hint=f"invoke approve {digest} --env {environment_name}, and give its line to this job in {TOKEN_VARIABLE}; "
        "or deploy from a terminal",
        problems=problems,
    )
