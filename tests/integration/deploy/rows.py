"""A row of the fault table, and the ways to plant what goes wrong in it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from tests.integration.deploy.railway_double import ACCOUNT_TOKEN
from tests.integration.deploy.railway_double import RailwayDouble as Double
from tests.integration.deploy.script import ENVIRONMENT, PROJECT, Plan, Served
from tests.integration.deploy.sockets import Fault

STRANGE: Final = "sha256:" + "f" * 64
#: Long enough for what is to happen in it, and no longer.
WATCH: Final = {"FAIRLEAD_ENVIRONMENTS_STAGING_WATCH": "8"}
SHORT: Final = {"FAIRLEAD_DEPLOY_TIMEOUT": "0.7"}
STAGING: Final = "FAIRLEAD_ENVIRONMENTS_STAGING_"
PRODUCTION: Final = "FAIRLEAD_ENVIRONMENTS_PRODUCTION_"
PROMOTE: Final = ("promote", "--from", "staging", "--to", "production", "--auto-confirm")
SUITES: Final = {f"{STAGING}SUITES": "smoke", "VERIFY_EMAIL": "ann@shop.test", "VERIFY_PASSWORD": "no-such-secret"}
ROLLBACK: Final = ("rollback", "3", "--env", "staging", "--auto-confirm")
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


def begin_foreign(double: Double) -> None:
    """Have a deployment under way that somebody else began."""
    double.begin_foreign()
