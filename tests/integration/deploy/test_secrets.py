"""Canaries in every token and variable, and in what the platform says: nothing that a deploy writes holds one."""

import gzip
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.integration.deploy.railway_double import ACCOUNT_TOKEN, TOKEN, RailwayDouble
from tests.integration.deploy.rows import ACCOUNT, STAGING, always, both, plans, serves
from tests.integration.deploy.script import Plan
from tests.integration.deploy.shop import DEPLOY, Ended, Shop, tell
from tests.integration.deploy.sockets import Fault, refuse, say

APPROVAL_KEY = "canary-approval-key-0d51e8a7c2b94f66"
DATABASE_PASSWORD, PLATFORM_PASSWORD = "canary-database-4e", "canary-platform-database-b7"
DATABASE_URL = f"postgresql://shop:{DATABASE_PASSWORD}@db.example.com/shop"
PLATFORM_URL = f"postgresql://shop:{PLATFORM_PASSWORD}@db.example.com/shop"
STRIPE_KEY = "canary-stripe-key-a90f"
CANARIES = (TOKEN, ACCOUNT_TOKEN, APPROVAL_KEY, DATABASE_PASSWORD, PLATFORM_PASSWORD, STRIPE_KEY)
#: So much of each tells the rest of it to whoever searches for it.
TELLING = tuple(canary[: len(canary) * 2 // 3] for canary in CANARIES)
#: What a platform might say that says too much; the values of its own variables are known only once it told them.
EARLY = f"token {TOKEN}, account {ACCOUNT_TOKEN}, header Bearer {ACCOUNT_TOKEN}, url {PLATFORM_URL}"
BLAB = f"{EARLY}, approval {APPROVAL_KEY}, database {DATABASE_URL}, key {STRIPE_KEY}"


@dataclass(frozen=True, slots=True)
class Case:
    """One deploy that hears secrets; `code` is how it ends."""

    name: str
    code: int
    arrange: Callable[[RailwayDouble], None]
    account: bool = False


def _blabbing(double: RailwayDouble) -> None:
    plan = Plan(build_logs=(BLAB,), logs=(BLAB, f"DATABASE_URL={PLATFORM_URL}"), events=(("BUILD_IMAGE", BLAB),))
    double.plan = double.rollback_plan = plan


def _failing(double: RailwayDouble) -> None:
    _blabbing(double)
    double.plan = replace(double.plan, statuses=("BUILDING", "FAILED"), diagnosis=BLAB)


def _with_secrets_in_the_messages(double: RailwayDouble) -> None:
    record = double.begin_foreign()
    record.message = f"fairlead release=9 digest=sha256:aa version=1 revision=abc by={TOKEN} {EARLY}"


def _refusing(operation: str, fault: Fault) -> Callable[[RailwayDouble], None]:
    return both(_blabbing, always(operation, fault))


_NO_TIME = {"data": {"deployment": {"id": "one", "status": "BUILDING", "createdAt": BLAB}}}
#: Messages show no more than the begin of a text, and must mask it first.
_CUT = {"data": {"projectToken": "x" * 16 + TOKEN}}

CASES = (
    Case("well", 0, _blabbing),
    Case("with an account token", 0, _blabbing, account=True),
    Case("deployment fails", 13, _failing),
    Case("refused with errors", 12, _refusing("projectToken", refuse(EARLY))),
    Case("refused with 500", 12, _refusing("projectToken", say(500, {"message": EARLY}))),
    Case("answered with no JSON", 12, _refusing("projectToken", say(200, body=EARLY.encode()))),
    Case("answered in another shape", 12, _refusing("projectToken", say(200, {"data": {"projectToken": EARLY}}))),
    Case("upload refused", 13, _refusing("up", say(400, {"message": BLAB}))),
    Case("answered with a text in place of a time", 14, _refusing("deployment", say(200, _NO_TIME))),
    Case("answered with a secret where texts are cut", 12, _refusing("projectToken", say(200, _CUT))),
    Case("rollback refused", 14, both(plans(serves=serves(digest=None)), always("deploymentRollback", refuse(BLAB)))),
    Case("somebody else's deployment", 15, _with_secrets_in_the_messages),
)


@pytest.fixture
def secretive(shop: Shop, tmp_path: Path) -> Shop:
    """The shop with a canary in every variable that a deploy knows, and its temporary files where they can be read."""
    (tmp_path / "temporary").mkdir()
    shop.double.variables |= {"DATABASE_URL": PLATFORM_URL, "STRIPE_KEY": STRIPE_KEY}
    shop.environ |= {
        "RAILWAY_API_TOKEN": ACCOUNT_TOKEN,
        "FAIRLEAD_APPROVAL_KEY": APPROVAL_KEY,
        "STAGING_DATABASE_URL": DATABASE_URL,
        f"{STAGING}DATABASE_URL_ENV": "STAGING_DATABASE_URL",
        "TMPDIR": str(tmp_path / "temporary"),
    }
    return shop


@pytest.mark.parametrize("debug", [False, True], ids=["plain", "with its traceback"])
@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
@pytest.mark.usefixtures("impatient")
def test_nothing_that_is_written_holds_a_secret(
    case: Case, debug: bool, secretive: Shop, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    case.arrange(secretive.double)
    ended = secretive.run(*(["--debug"] if debug else []), *DEPLOY, **(ACCOUNT if case.account else {}))
    found = [f"{part} {where}" for where, text in _written(ended, tmp_path) for part in TELLING if part in text]
    seen = "no secret" if not found else "a secret"
    how = ", with its traceback" if debug else ""
    tell(record_property, f"secrets: {case.name}{how}", ended, seen, expected=f"{case.code}, no secret")
    assert found == [], ended.said
    assert ended.code == case.code, ended.said


def test_no_argument_of_a_process_holds_a_secret(secretive: Shop) -> None:
    held = secretive.double.hold("up")
    process = secretive.start()
    held.wait()
    family = [process.pid, *_children(process.pid)]
    arguments = b"".join(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in family).decode()
    assert "fairlead" in arguments
    assert [canary for canary in CANARIES if canary in arguments] == []
    held.release()
    assert secretive.finish(process).code == 0


def test_what_is_sent_holds_no_secret(secretive: Shop, tmp_path: Path) -> None:
    assert secretive.run(*DEPLOY).code == 0
    (sent,) = secretive.double.received
    archive = tmp_path / "sent.tar"
    archive.write_bytes(gzip.decompress(sent))
    with tarfile.open(archive) as opened:
        assert "./app/main.py" in opened.getnames()
    text = archive.read_bytes().decode("latin-1") + secretive.double.records[-1].message
    assert [canary for canary in CANARIES if canary in text] == []


def _written(ended: Ended, folder: Path) -> Iterator[tuple[str, str]]:
    """Yield all that was written, by where: what was printed, and every file, archives unpacked."""
    yield "on the terminal", ended.said
    for file in folder.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            unpacked = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
            yield f"in {file.name}", f"{file.name} {unpacked.decode('latin-1')}"


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]
