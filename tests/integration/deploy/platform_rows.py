"""The fault table, first part: the token, the platform and its API, before and while a deployment is followed."""

from functools import partial
from typing import Final

from tests.integration.deploy.railway_double import ACCOUNT_TOKEN, TOKEN, UNKNOWN_STATUS
from tests.integration.deploy.railway_double import RailwayDouble as Double
from tests.integration.deploy.rows import ACCOUNT, SHORT, STAGING, WATCH, Row, always, both, fails, plans
from tests.integration.deploy.script import SERVICE
from tests.integration.deploy.sockets import cut, drip, hang, refuse, say


def _set_otherwise(double: Double) -> None:
    double.instances[SERVICE]["overlapSeconds"] = 0


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
    Row("connection refused", 12, environ={f"{STAGING}API_URL": "http://127.0.0.1:1"}, says="cannot connect"),
    Row("an address that would show the token", 10, environ={f"{STAGING}API_URL": "http://example.com"}, says="https"),
    Row("an environment that is none", 10, act=("deploy", "--env", "stagin"), says="did you mean staging"),
    Row("redirected elsewhere", 12, always("projectToken", say(302, {}, Location="https://example.com/")), says="302"),
    Row("an endless answer", 12, always("projectToken", say(200, body=b" " * 17_000_000)), says="larger than any"),
    Row(
        "a new deployment that cannot be found at once",
        0,
        fails("deployment", *[refuse("Deployment not found")] * 3),
        serves="new",
        why="what was just begun may take a moment to be seen everywhere",
    ),
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


FOREIGN: Final = tuple(
    Row(
        f"somebody else's deployment is {status}",
        15,
        partial(lambda status, double: double.begin_foreign(status), status),
        says=f"deployment-foreign.*{status}",
    )
    for status in ("INITIALIZING", "QUEUED", "WAITING", "NEEDS_APPROVAL", "BUILDING", "DEPLOYING")
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
    Row("settings differ", 0, _set_otherwise, serves="new", says="overlapSeconds is 0 and should be 15"),
    Row(
        "a change of settings refused",
        12,
        both(_set_otherwise, always("serviceInstanceUpdate", refuse("Odd"))),
        says="Odd",
    ),
    Row(
        "a change of settings answered with false",
        12,
        both(_set_otherwise, always("serviceInstanceUpdate", say(200, {"data": {"serviceInstanceUpdate": False}}))),
        says="settings",
    ),
    Row("deployments refused", 12, always("deployments", refuse("Odd")), says="Odd"),
)


ROWS: Final = (*TOKENS, *API, *UPLOADS, *STATUSES, *FOREIGN, *PREFLIGHT)
