"""The fault table, second part: releases that fail, what the public URL serves, and the way back."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from tests.integration.deploy.railway_double import OLD, OLDER
from tests.integration.deploy.railway_double import RailwayDouble as Double
from tests.integration.deploy.rows import (
    ROLLBACK,
    SHORT,
    STAGING,
    STRANGE,
    WATCH,
    Row,
    always,
    begin_foreign,
    both,
    plans,
    serves,
)
from tests.integration.deploy.script import WORKER, Plan, Served
from tests.integration.deploy.sockets import Fault, cut, drip, hang, only, refuse, say


def _nothing_before(double: Double) -> None:
    double.records.clear()
    double.served = Served(None)


def _cannot_roll_back(double: Double) -> None:
    double.records[-1].kept = False
    double.plan = Plan(serves=serves(digest=STRANGE))


def _new_release(fault: Fault) -> Callable[[Double], None]:
    return lambda double: double.fail(
        "public", only(lambda: double.served.digest not in {OLD, OLDER}, fault), always=True
    )


def _worker(*statuses: str) -> Callable[[Double], None]:
    def arrange(double: Double) -> None:
        double.serve_release(4, OLD, service=WORKER)
        double.worker_plan = replace(Plan(), statuses=statuses) if statuses else None

    return arrange


def _without_worker_before(double: Double) -> None:
    double.worker_plan = Plan(statuses=("BUILDING", "FAILED"))


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


def _asleep(double: Double) -> None:
    double.records[-1].status = "SLEEPING"
    double.plan = Plan(serves=serves(healthy=False))


def _crashed_before(double: Double) -> None:
    double.records[-1].status = "CRASHED"
    double.served = Served(None)


def _being_removed(double: Double) -> None:
    double.removed_after = 1.0
    double.plan = Plan(serves=serves(healthy=False))


SERVED: Final = (
    Row("the release before was asleep, the new one is not well", 13, _asleep, says="rolled back"),
    Row("the release before had crashed", 0, _crashed_before, serves="new"),
    Row("the release before is still being removed", 13, _being_removed, says="rolled back"),
    Row(
        "nothing answers at the public URL",
        14,
        environ={f"{STAGING}URL": "http://127.0.0.1:1"},
        serves="unseen",
        says="could not be verified",
    ),
    Row("the release before answers now and then", 13, plans(serves=serves(beside=OLD)), says="rolled back"),
    Row(
        "somebody else's release takes over at once",
        14,
        plans(overtaken="at once"),
        serves="something else",
        says="deployment-foreign",
        why="as below",
    ),
    Row(
        "somebody else's release takes over while it is verified",
        14,
        plans(overtaken="once asked"),
        serves="something else",
        why="a rollback would take away what somebody else has just deployed; only people can tell which is wanted",
    ),
    Row(
        "the deployment cannot be found any more",
        14,
        always("deployment", refuse("Deployment not found")),
        serves="new",
    ),
    Row("the new release drips", 13, _new_release(drip()), says="rolled back"),
    Row("the new release hangs", 13, _new_release(hang()), says="rolled back"),
    Row("the new release cuts every connection", 13, _new_release(cut()), says="rolled back"),
    Row("the new release answers no JSON", 13, _new_release(say(200, body=b"<html>")), says="rolled back"),
    Row("the new release redirects", 13, _new_release(say(302, Location="/login")), says="rolled back"),
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
    Row(
        "rollback needs an approval",
        14,
        plans(serves=_BAD, rollback=Plan(("NEEDS_APPROVAL",))),
        serves="something else",
    ),
    Row("rollback never ends", 14, plans(serves=_BAD, rollback=Plan(("DEPLOYING",))), "something else", environ=SHORT),
    Row("rollback hangs", 14, both(plans(serves=_BAD), always("deploymentRollback", hang())), serves="something else"),
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


_SERVICES: Final = {f"{STAGING}SERVICES": "web=shop,worker=shop-worker"}
WORKERS: Final = (
    Row("no fault, with a worker", 0, _worker(), serves="new", environ=_SERVICES),
    Row("the worker fails after the web took over", 13, _worker("FAILED"), environ=_SERVICES, says="rolled back"),
    Row("the worker crashes after the web took over", 13, _worker("CRASHED"), environ=_SERVICES, says="rolled back"),
    Row("a first worker fails after the web took over", 13, _without_worker_before, environ=_SERVICES, says="rolled"),
    Row("unknown worker", 12, environ={f"{STAGING}SERVICES": "web=shop,worker=no-such"}, says="no-such"),
)


BACK: Final = tuple(
    replace(row, act=row.act or ROLLBACK, fault=f"rollback on purpose: {row.fault}")
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


ROWS: Final = (*RELEASES, *SERVED, *ROLLBACKS, *WORKERS, *BACK)
