"""The fault table: what goes wrong, the exit code that a deploy ends with, and what the public URL serves then."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from tests.integration.deploy.railway_double import ACCOUNT_TOKEN, OLD, OLDER, TOKEN, UNKNOWN_STATUS
from tests.integration.deploy.railway_double import RailwayDouble as Double
from tests.integration.deploy.script import ENVIRONMENT, PROJECT, WORKER, Plan, Served
from tests.integration.deploy.sockets import Fault, cut, drip, hang, only, refuse, say

STRANGE: Final = "sha256:" + "f" * 64
#: Long enough for what is to happen in it, and no longer.
WATCH: Final = {"FAIRLEAD_ENVIRONMENTS_STAGING_WATCH": "8"}
SHORT: Final = {"FAIRLEAD_DEPLOY_TIMEOUT": "0.7"}
STAGING: Final = "FAIRLEAD_ENVIRONMENTS_STAGING_"
ACCOUNT: Final = {
    "RAILWAY_API_TOKEN": ACCOUNT_TOKEN,
    f"{STAGING}TOKEN_ENV": "RAILWAY_API_TOKEN",
    f"{STAGING}PROJECT": PROJECT,
    f"{STAGING}RAILWAY_ENVIRONMENT": ENVIRONMENT,
}


@dataclass(frozen=True, slots=True)
class Row:
    """One fault. `arrange` plants it, `says` is a pattern of what is told, `serves` what the public URL serves after.

    `why` says why the code is what it is, where that is a judgement; `act` is another act than a deploy.
    """

    fault: str
    code: int
    arrange: Callable[[Double], None] = lambda double: None
    serves: str = "earlier"
    says: str = ""
    environ: Mapping[str, str] = field(default_factory=dict)
    why: str = ""
    act: tuple[str, ...] = ()


def fails(operation: str, *faults: Fault) -> Callable[[Double], None]:
    """Plant faults before an operation, one for each request."""
    return lambda double: double.fail(operation, *faults)


def always(operation: str, fault: Fault) -> Callable[[Double], None]:
    """Plant a fault before an operation for ever."""
    return lambda double: double.fail(operation, fault, always=True)


def plans(*statuses: str, rollback: Plan | None = None, **facts: object) -> Callable[[Double], None]:
    """Have the next deployment go through these statuses, and a rollback as `rollback` says."""

    def arrange(double: Double) -> None:
        double.plan = replace(Plan(statuses=statuses or Plan().statuses), **facts)
        double.rollback_plan = rollback or Plan()

    return arrange


def serves(**changes: object) -> Callable[[Served], Served]:
    """Have what a deployment serves be changed so."""
    return lambda served: replace(served, **changes)


def both(*arrangements: Callable[[Double], None]) -> Callable[[Double], None]:
    """Plant several faults."""

    def arrange(double: Double) -> None:
        for one in arrangements:
            one(double)

    return arrange


def _nothing_before(double: Double) -> None:
    double.records.clear()
    double.served = Served(None)


def _cannot_roll_back(double: Double) -> None:
    double.records[-1].kept = False
    double.plan = Plan(serves=serves(digest=STRANGE))


def begin_foreign(double: Double) -> None:
    """Have a deployment under way that somebody else began."""
    double.begin_foreign()


TOKENS: Final = (
    Row("no fault", 0, serves="new"),
    Row("no fault, with an account token", 0, serves="new", environ=ACCOUNT),
    Row("no fault, watched", 0, serves="new", environ=WATCH),
    Row("no token", 17, environ={"RAILWAY_TOKEN": ""}, says="RAILWAY_TOKEN is not set"),
    Row("bad token", 12, environ={"RAILWAY_TOKEN": "no-such-token"}, says="RAILWAY_TOKEN.*\n.*project token"),
    Row(
        "account token where a project token belongs",
        12,
        environ={"RAILWAY_TOKEN": ACCOUNT_TOKEN},
        says="does not accept the token in RAILWAY_TOKEN(.|\n)*project token",
    ),
    Row(
        "project token where an account token belongs",
        12,
        environ={**ACCOUNT, "RAILWAY_API_TOKEN": TOKEN},
        says="does not accept the token in RAILWAY_API_TOKEN(.|\n)*account or workspace token",
    ),
    Row("token with a line break in it", 12, environ={"RAILWAY_TOKEN": "two\nlines"}, says="characters that no token"),
    Row(
        "token of another environment", 12, environ={f"{STAGING}RAILWAY_ENVIRONMENT": "production"}, says="'production'"
    ),
    Row("token of another project", 12, environ={f"{STAGING}PROJECT": "another"}, says="not 'another'"),
    Row("unknown project", 12, environ={**ACCOUNT, f"{STAGING}PROJECT": "nowhere"}, says="Project not found"),
    Row("unknown environment", 12, environ={**ACCOUNT, f"{STAGING}RAILWAY_ENVIRONMENT": "nowhere"}, says="staging"),
    Row("unknown service", 12, environ={f"{STAGING}SERVICES": "web=nowhere"}, says="no service 'nowhere'(.|\n)*shop"),
    Row("approval missing", 16, environ={f"{STAGING}APPROVAL": "true"}, says="approv"),
    Row("required variable missing", 17, lambda double: double.variables.clear(), says="DATABASE_URL"),
)

#: What fails before anything was sent is 12; from the upload on the earlier release is looked at, and it is 13 or 14.
API: Final = (
    Row("429 once, with Retry-After", 0, fails("projectToken", say(429, {}, Retry_After="1")), serves="new"),
    Row("429, to come back in two minutes", 12, always("projectToken", say(429, {}, Retry_After="120")), says="120 s"),
    Row("429 for the upload", 13, always("up", say(429, {}, Retry_After="5")), says="too often"),
    Row("429 while it is followed", 0, fails("deployment", *[say(429, {}, Retry_After="0")] * 5), serves="new"),
    Row("500", 12, always("projectToken", say(500, {"message": "oops"})), says="500"),
    Row("500 for the upload", 13, always("up", say(500, {"message": "oops"})), says="500"),
    Row("500 while it is followed", 0, fails("deployment", *[say(500, {})] * 3), serves="new"),
    Row("502 once", 0, fails("projectToken", say(502, body=b"<html>Bad Gateway</html>")), serves="new"),
    Row("502 always", 12, always("projectToken", say(502, body=b"<html>Bad Gateway</html>")), says="502"),
    Row(
        "503 for good while it is followed", 13, both(plans("BUILDING"), always("deployment", say(503, {}))), says="503"
    ),
    Row("413 for the upload", 13, always("up", say(413, {"message": "too large"})), says="larger than"),
    Row("hung socket", 12, always("projectToken", hang()), says="no complete answer within"),
    Row("hung socket at the upload", 13, always("up", hang()), says="within(.|\n)*releases"),
    Row("hung socket while it is followed", 13, both(plans("BUILDING"), always("deployment", hang()))),
    Row("slow-drip answer", 12, always("projectToken", drip()), says="no complete answer within"),
    Row("slow-drip answer while it is followed", 13, both(plans("BUILDING"), always("deployment", drip()))),
    Row("connection cut before an answer, once", 0, fails("projectToken", cut()), serves="new"),
    Row("connection cut in the middle of the upload", 13, always("up", cut(after=100_000)), says="releases"),
    Row("HTTP 200 with errors", 12, always("projectToken", refuse("Problem processing request")), says="Problem proc"),
    Row("HTTP 200 with errors while it is followed", 13, both(plans("BUILDING"), always("deployment", refuse("Odd")))),
    Row("HTTP 200 with errors for the upload", 13, always("up", refuse("No capacity")), says="No capacity"),
    Row("malformed JSON", 12, always("projectToken", say(200, body=b'{"data": ')), says="not JSON"),
    Row("malformed JSON while it is followed", 13, both(plans("BUILDING"), always("deployment", say(200, body=b"{")))),
    Row(
        "JSON of another shape",
        12,
        always("projectToken", say(200, {"data": {"projectToken": []}})),
        says="makes no sense",
    ),
    Row(
        "a login page in place of the API",
        12,
        always("projectToken", say(200, body=b"<html>Log in</html>")),
        says="JSON",
    ),
    Row(
        "token revoked while it is followed",
        14,
        always("deployment", refuse("Not Authorized")),
        serves="new",
        says="does not accept the token",
        why="the platform goes on with it, and Fairlead can neither follow nor roll back",
    ),
    Row(
        "every log and event refused",
        0,
        both(*(always(one, refuse("Odd")) for one in ("buildLogs", "deploymentLogs", "deploymentEvents"))),
        serves="new",
        why="what is told on the way is no reason to give up a deploy",
    ),
)

_ENDS: Final = ("FAILED", "CRASHED", "REMOVED", "SKIPPED", "SLEEPING", "NEEDS_APPROVAL")
_GOES_ON: Final = ("INITIALIZING", "QUEUED", "WAITING", "BUILDING", "DEPLOYING", "REMOVING", UNKNOWN_STATUS)
STATUSES: Final = (
    *(Row(f"last status {status}", 13, plans("BUILDING", status), says=status) for status in _ENDS),
    *(Row(f"last status {status}", 13, plans(status), environ=SHORT, says="in vain") for status in _GOES_ON),
    Row("last status SUCCESS", 0, plans("SUCCESS"), serves="new"),
    Row(
        "an unknown status before SUCCESS",
        0,
        plans("BUILDING", UNKNOWN_STATUS, "DEPLOYING", "SUCCESS"),
        serves="new",
    ),
)

RELEASES: Final = (
    Row(
        "build fails",
        13,
        plans("BUILDING", "FAILED", events=(("BUILD_IMAGE", "no such package"),), build_logs=("no package shopp",)),
        says="(?s)no package shopp.*BUILD_IMAGE: no such package",
    ),
    Row(
        "migration fails",
        13,
        plans(
            "BUILDING",
            "DEPLOYING",
            "FAILED",
            events=(("BUILD_IMAGE", None), ("PRE_DEPLOY_COMMAND", "exit code 11")),
            logs=("error: 002_more.sql: syntax error",),
        ),
        says="(?s)002_more.sql: syntax error.*PRE_DEPLOY_COMMAND.*earlier release still serves",
        why="13 and not 11: who is on call needs to know first that the earlier release serves, then why",
    ),
    Row(
        "crash at start",
        13,
        plans("BUILDING", "DEPLOYING", "CRASHED", events=(("HEALTHCHECK", "never became healthy"),)),
        says="HEALTHCHECK: never became healthy",
    ),
    Row("crash during the watch", 13, plans(then="CRASHED", later=0.8), environ=WATCH, says="rolled back"),
    Row("5 % errors during the watch", 13, plans(serves=serves(errors=0.05)), environ=WATCH, says="rolled back"),
    Row(
        "no figures during the watch",
        5,
        always("traffic", refuse("Odd")),
        serves="new",
        environ={f"{STAGING}WATCH": "2"},
        says="open",
        why="it serves and is well, and nobody knows whether it is as good: hold, and say so",
    ),
    Row("health flaps", 13, plans(serves=serves(flaps=2)), says="rolled back"),
    Row("health says it fails", 13, plans(serves=serves(healthy=False)), says="rolled back"),
    Row("wrong digest served", 13, plans(serves=serves(digest=STRANGE)), says="rolled back"),
    Row("SUCCESS, and the earlier release goes on serving", 13, plans(serves=serves(digest="sha256:" + "0" * 64))),
    Row("SUCCESS, and nothing serves", 13, plans(serves=serves(digest=None)), says="rolled back"),
    Row("right digest, failing smoke", 13, plans(serves=serves(paths={"/api/smoke": 500})), says="smoke"),
    Row("a first release that fails", 13, both(_nothing_before, plans("FAILED")), serves="nothing", says="no earlier"),
)

_BAD: Final = serves(digest=STRANGE)
ROLLBACKS: Final = (
    Row(
        "rollback refused",
        14,
        both(plans(serves=_BAD), always("deploymentRollback", refuse("Odd"))),
        serves="something else",
        says="could not be verified",
    ),
    Row(
        "rollback answered with false",
        14,
        both(plans(serves=_BAD), always("deploymentRollback", say(200, {"data": {"deploymentRollback": False}}))),
        serves="something else",
    ),
    Row(
        "rollback taken and never begun",
        14,
        both(plans(serves=_BAD), always("deploymentRollback", say(200, {"data": {"deploymentRollback": True}}))),
        serves="something else",
    ),
    Row("rollback fails", 14, plans(serves=_BAD, rollback=Plan(("DEPLOYING", "FAILED"))), serves="something else"),
    Row("rollback serves something else", 14, plans(serves=_BAD, rollback=Plan(serves=_BAD)), serves="something else"),
    Row("nothing is kept to roll back to", 14, _cannot_roll_back, serves="something else", says="no longer has"),
    Row(
        "rollback begun, its answer lost",
        13,
        both(plans(serves=_BAD), lambda double: double.lose("deploymentRollback")),
        says="rolled back",
    ),
    Row(
        "the public URL drips",
        14,
        always("public", drip()),
        serves="unseen",
        says="could not be verified",
        why="nothing vouches for the earlier release while its address does not answer",
    ),
)

FOREIGN: Final = tuple(
    Row(
        f"somebody else's deployment is {status}",
        15,
        partial(lambda status, double: double.begin_foreign(status), status),
        says=f"deployment-foreign.*{status}",
    )
    for status in ("INITIALIZING", "QUEUED", "WAITING", "NEEDS_APPROVAL", "BUILDING", "DEPLOYING")
)

UPLOADS: Final = (
    Row(
        "upload taken, its answer lost",
        0,
        lambda double: double.lose("up"),
        serves="new",
        says="goes on|taken|lost",
        why="the platform shows the deployment under this very release: it is followed, not sent twice",
    ),
)


def _new_release(fault: Fault) -> Callable[[Double], None]:
    return lambda double: double.fail(
        "public", only(lambda: double.served.digest not in {OLD, OLDER}, fault), always=True
    )


SERVED: Final = (
    Row("the new release drips", 13, _new_release(drip()), says="rolled back"),
    Row("the new release hangs", 13, _new_release(hang()), says="rolled back"),
    Row("the new release cuts every connection", 13, _new_release(cut()), says="rolled back"),
    Row("the new release answers no JSON", 13, _new_release(say(200, body=b"<html>")), says="rolled back"),
    Row("the new release redirects", 13, _new_release(say(302, Location="/login")), says="rolled back"),
)

PREFLIGHT: Final = (
    Row(
        "wrong branch, no token and no such pattern at once",
        17,
        environ={f"{STAGING}BRANCH": "release", "RAILWAY_TOKEN": "", "FAIRLEAD_BUNDLE_INCLUDE": "nothing/*.py"},
        says="(?s)(?=.*nothing/)(?=.*branch release)(?=.*RAILWAY_TOKEN)",
    ),
    Row("variables refused", 17, always("variables", refuse("Odd")), says="could not be checked"),
    Row("settings refused", 17, always("serviceInstance", refuse("Odd")), says="could not be checked"),
    Row("a change of settings refused", 12, always("serviceInstanceUpdate", refuse("Odd")), says="Odd"),
    Row(
        "a change of settings answered with false",
        12,
        always("serviceInstanceUpdate", say(200, {"data": {"serviceInstanceUpdate": False}})),
        says="settings",
    ),
    Row("deployments refused", 12, always("deployments", refuse("Odd")), says="Odd"),
)


def _worker(*statuses: str) -> Callable[[Double], None]:
    def arrange(double: Double) -> None:
        double.serve_release(4, OLD, service=WORKER)
        double.worker_plan = replace(Plan(), statuses=statuses) if statuses else None

    return arrange


def _without_worker_before(double: Double) -> None:
    double.worker_plan = Plan(statuses=("BUILDING", "FAILED"))


_SERVICES: Final = {f"{STAGING}SERVICES": "web=shop,worker=shop-worker"}
WORKERS: Final = (
    Row("no fault, with a worker", 0, _worker(), serves="new", environ=_SERVICES),
    Row("the worker fails after the web took over", 13, _worker("FAILED"), environ=_SERVICES, says="rolled back"),
    Row("the worker crashes after the web took over", 13, _worker("CRASHED"), environ=_SERVICES, says="rolled back"),
    Row("a first worker fails after the web took over", 13, _without_worker_before, environ=_SERVICES, says="rolled"),
    Row("unknown worker", 12, environ={f"{STAGING}SERVICES": "web=shop,worker=no-such"}, says="no-such"),
)

_BACK: Final = ("rollback", "3", "--env", "staging", "--auto-confirm")
BACK: Final = tuple(
    replace(row, act=row.act or _BACK, fault=f"rollback on purpose: {row.fault}")
    for row in (
        Row("no fault", 0, serves="release 3"),
        Row("a release that is none", 17, act=("rollback", "9", "--env", "staging"), says="release 3"),
        Row("a release that is not kept", 17, lambda double: setattr(double.records[0], "kept", False)),
        Row("bad token", 12, environ={"RAILWAY_TOKEN": "no-such-token"}, says="project token"),
        Row("hung socket", 12, always("projectToken", hang())),
        Row("refused", 13, always("deploymentRollback", refuse("Odd")), says="Odd"),
        Row("its answer lost", 0, lambda double: double.lose("deploymentRollback"), serves="release 3"),
        Row("it fails", 13, plans(rollback=Plan(("DEPLOYING", "FAILED"))), says="FAILED"),
        Row("it never ends", 13, plans(rollback=Plan(("DEPLOYING",))), environ=SHORT, says="in vain"),
        Row("SUCCESS, and the release before goes on serving", 13, plans(rollback=Plan(serves=serves(digest=OLD)))),
        Row("it serves something else", 14, plans(rollback=Plan(serves=_BAD)), serves="something else"),
        Row("it is not well", 14, plans(rollback=Plan(serves=serves(healthy=False))), serves="release 3"),
        Row("somebody else's deployment in flight", 15, begin_foreign),
    )
)

ROWS: Final = (
    *TOKENS,
    *API,
    *UPLOADS,
    *STATUSES,
    *RELEASES,
    *ROLLBACKS,
    *FOREIGN,
    *SERVED,
    *PREFLIGHT,
    *WORKERS,
    *BACK,
)
