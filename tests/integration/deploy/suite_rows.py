"""The fault table, third part: the end-to-end suites that an environment asks for, once the new release serves."""

from dataclasses import replace
from typing import Final

from tests.integration.deploy.railway_double import RailwayDouble as Double
from tests.integration.deploy.rows import STAGING, STRANGE, SUITES, Row, always, plans, serves
from tests.integration.deploy.script import Plan
from tests.integration.deploy.sockets import Request, at, hang

_ORDERS: Final = "/api/orders"
_FULL: Final = SUITES | {f"{STAGING}SUITES": "full"}
_ORDERS_FAIL: Final = serves(paths={_ORDERS: 500})
_KEPT_FAIL: Final = serves(paths={f"{_ORDERS}/kept": 500})
_UNKNOWN: Final = serves(paths={_ORDERS: 501})


def _another_takes_over(double: Double) -> None:
    """Have the public URL serve something else from the moment on at which a suite asks."""

    async def change(request: Request) -> bool:
        await request.body()
        double.served = replace(double.served, digest=STRANGE)
        return True

    double.fail("public", at(_ORDERS, change), always=True)


ROWS: Final = tuple(
    replace(row, environ=SUITES | dict(row.environ))
    for row in (
        Row("no fault, with suites", 0, serves="new", says=r"suites .* smoke, healthy: 1 checks of 1 suites passed"),
        Row("no fault, with all of the suites", 0, serves="new", says="full, healthy: 2 checks", environ=_FULL),
        Row(
            "a suite fails",
            13,
            plans(serves=_ORDERS_FAIL),
            says=r"(?s)orders: test_orders_are_listed \(fetch\): .*the orders answer 500.*orders\.log.*rolled back",
        ),
        Row("a check fails that is no smoke check", 0, plans(serves=_KEPT_FAIL), serves="new"),
        Row("a suite fails in full", 13, plans(serves=_KEPT_FAIL), environ=_FULL, says=r"are_kept \(persistence\)"),
        Row(
            "a suite cannot be checked",
            5,
            plans(serves=_UNKNOWN),
            serves="new",
            says="(?s)suites could not be checked: orders: .*nobody can order here.*invoke rollback --env staging",
            why="nothing speaks against the new release, as with a watch that cannot tell",
        ),
        Row(
            "a suite hangs",
            13,
            always("public", at(_ORDERS, hang())),
            environ={"FAIRLEAD_VERIFY_TIMEOUT": "2"},
            says="orders: it did not end within 2 s and was killed.*rolled back",
        ),
        Row("something else serves by the end of the suites", 13, _another_takes_over, says="rolled back"),
        Row(
            "a suite fails, and the rollback too",
            14,
            plans(serves=_ORDERS_FAIL, rollback=Plan(("DEPLOYING", "FAILED"))),
            serves="new",
        ),
        Row(
            "the account of the suites is missing",
            17,
            environ={"VERIFY_EMAIL": "", "VERIFY_PASSWORD": "", f"{STAGING}BRANCH": "develop"},
            says="(?s)is deployed from branch develop.*VERIFY_EMAIL is not set.*VERIFY_PASSWORD is not set",
        ),
        Row("there is no suite", 17, environ={"FAIRLEAD_VERIFY_SUITES": "shop/app"}, says="app holds no suite"),
    )
)
