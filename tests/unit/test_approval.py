"""Approvals: what is signed holds for one digest, one environment and a while; what GitHub says is looked at."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
import pytest

from fairlead import approval
from fairlead.approval import Approval, NotApprovedError
from fairlead.approval.models import as_remark
from fairlead.exceptions import ApprovalError, ConfigurationError

KEY = "canary-key-0123456789abcdef0123456789abcdef"
OLD_KEY = "canary-old-0123456789abcdef0123456789abcdef"
TOKEN = "ghs_canaryOfTheJobsToken0123456789"
DIGEST = f"sha256:{'0123456789abcdef' * 4}"
OTHER_DIGEST = f"sha256:{'f' * 64}"
NOW = 1_800_000_000
HEAD = "5f0c" * 10
FACTS: dict[str, Any] = {
    "environment": "production",
    "digest": DIGEST,
    "approver": "ada",
    "issued_at": NOW,
    "expires_at": NOW + 3600,
    "reason": "release 7",
    "nonce": "one of a kind",
}


def forge(payload: Any, *, key: str = KEY, prefix: str = "fairlead-approval.v1") -> str:
    """Sign anything by the documented format, without the code that is tested."""
    text = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    head = f"{prefix}.{base64.urlsafe_b64encode(text).rstrip(b'=').decode()}"
    mac = hmac.new(key.encode(), head.encode(), hashlib.sha256).digest()
    return f"{head}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def sign(*, keys: str = KEY, **facts: Any) -> approval.SignedApproval:
    given = {"approver": "ada", "valid": 3600, "reason": "release 7", "now": NOW, "digest": DIGEST, **facts}
    return approval.sign("production", given.pop("digest"), environ={"FAIRLEAD_APPROVAL_KEY": keys}, **given)


def check(
    token: str, *, environment: str = "production", digest: str = DIGEST, now: float = NOW, keys: str = KEY
) -> Approval:
    environ = {"FAIRLEAD_APPROVAL_KEY": keys, "FAIRLEAD_APPROVAL": token}
    return approval.check(environment, digest, environ=environ, now=now)


def refusal(ask: Callable[[], object], *, secrets: tuple[str, ...] = (KEY, OLD_KEY, TOKEN)) -> tuple[str, ...]:
    """Return the reasons of a refusal, in which no secret may stand."""
    with pytest.raises(NotApprovedError) as caught:
        ask()
    error = caught.value
    assert error.exit_code == ApprovalError.exit_code == 16
    assert error.hint
    assert error.problems
    told = "\n".join((error.message, error.hint, *error.problems, repr(error)))
    assert [secret for secret in secrets if secret in told] == []
    return error.problems


def test_signed_approval_is_accepted_with_everything_that_was_signed() -> None:
    signed = sign()
    assert check(signed.token) == signed.approval
    found = signed.approval
    assert (found.environment, found.digest, found.approver, found.how) == ("production", DIGEST, "ada", "signed")
    assert (found.issued_at, found.expires_at, found.reason) == (NOW, NOW + 3600, "release 7")
    assert found.sentence == "approved by ada (signed, until 2027-01-15 09:00:00 UTC): release 7"


def test_token_is_one_line_that_needs_no_quoting_and_is_not_shown_by_its_record() -> None:
    signed = sign(reason="Grüße ' \" $(x) 漢字")
    assert signed.token.startswith("fairlead-approval.v1.")
    assert set(signed.token) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
    assert signed.token not in repr(signed)
    assert check(signed.token).reason == "Grüße ' \" $(x) 漢字"


def test_two_approvals_of_one_digest_differ() -> None:
    assert sign().token != sign().token


def test_format_is_the_documented_one_so_that_tokens_outlive_an_upgrade() -> None:
    # The signature was made with: printf %s fairlead-approval.v1.PAYLOAD | openssl dgst -sha256 -hmac KEY -binary
    payload = base64.urlsafe_b64encode(json.dumps(FACTS, sort_keys=True, separators=(",", ":")).encode())
    token = f"fairlead-approval.v1.{payload.rstrip(b'=').decode()}.-ZbOQRMIWkTO0SERGd4vhsWbMyR_naYX_pEFl6Eiv88"
    assert check(token).nonce == "one of a kind"


@pytest.mark.parametrize("around", ["{}\n", " {}", "{}\r\n", "\t{} "])
def test_blanks_around_the_token_do_no_harm(around: str) -> None:
    assert check(around.format(sign().token)).approver == "ada"


def test_no_character_of_the_token_can_be_altered() -> None:
    token = forge(FACTS)
    check(token)
    accepted = []
    for place, genuine in enumerate(token):
        for other in {"A", "z", "0", "-", "_", "=", ".", " ", "+", "/", "é", "\0", "\n", "\udc80", genuine.swapcase()}:
            altered = token[:place] + other + token[place + 1 :]
            try:
                if other != genuine:
                    check(altered)
                    accepted.append((place, other))
            except NotApprovedError:
                pass
    assert accepted == []


def test_last_character_of_the_signature_is_compared_and_not_only_its_bytes() -> None:
    # The last of 43 characters carries two bits that no byte of the signature holds.
    token = forge(FACTS)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for other in set(alphabet) - {token[-1]}:
        assert refusal(lambda other=other: check(token[:-1] + other))[0].startswith("the signature is wrong")


def test_no_part_of_the_token_is_enough_and_nothing_may_be_added() -> None:
    token = forge(FACTS)
    parts = [*(token[:end] for end in range(len(token))), *(token[start:] for start in range(1, len(token)))]
    for altered in (
        *parts,
        f"{token}A",
        f"{token}=",
        f"{token}.",
        f"x{token}",
        f"{token} {token}",
        f"{token}\n{token}",
    ):
        refusal(lambda altered=altered: check(altered))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("environment", "staging"),
        ("digest", OTHER_DIGEST),
        ("approver", "mallory"),
        ("issued_at", NOW - 1),
        ("expires_at", NOW + 7200),
        ("reason", "another"),
        ("nonce", "another"),
        ("added", 1),
    ],
)
def test_altered_field_breaks_the_signature(field: str, value: object) -> None:
    genuine, altered = forge(FACTS), forge({**FACTS, field: value}, key=OLD_KEY)
    swapped = ".".join((*altered.split(".")[:3], genuine.split(".")[3]))
    wanted = "staging" if field == "environment" else "production"
    digest = OTHER_DIGEST if field == "digest" else DIGEST
    (problem,) = refusal(lambda: check(swapped, environment=wanted, digest=digest))
    assert problem.startswith("the signature is wrong")


@pytest.mark.parametrize(
    ("token", "problem"),
    [
        ("", "FAIRLEAD_APPROVAL is not set"),
        ("  \n", "FAIRLEAD_APPROVAL is not set"),
        ("yes", "malformed"),
        ("true", "malformed"),
        (forge(FACTS, prefix="fairlead-approval.v2"), "malformed"),
        (forge(FACTS, prefix="Fairlead-approval.v1"), "malformed"),
        (forge(FACTS).replace("fairlead-approval.v1.", ""), "malformed"),
        (forge(b"x" * 9000), "malformed"),
        (forge(FACTS, prefix="fairlead-approval.v2").replace(".v2.", ".v1."), "the signature is wrong"),
        (forge(FACTS, key=OLD_KEY), "the signature is wrong"),
        (forge(FACTS, key=KEY.upper()), "the signature is wrong"),
    ],
)
def test_what_is_no_approval_is_refused_with_the_reason(token: str, problem: str) -> None:
    (found,) = refusal(lambda: check(token))
    assert problem in found


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"not JSON",
        b"\xff\xfe",
        b"[" * 5000,
        b"9" * 5000,
        [],
        None,
        "text",
        {},
        *({name: value for name, value in FACTS.items() if name != missing} for missing in FACTS),
        *({**FACTS, name: None} for name in FACTS),
        *({**FACTS, name: []} for name in FACTS),
        {**FACTS, "environment": 1},
        {**FACTS, "expires_at": str(NOW + 3600)},
        {**FACTS, "expires_at": NOW + 3600.5},
        {**FACTS, "expires_at": True},
        {**FACTS, "expires_at": 10**30},
        {**FACTS, "issued_at": -1},
        {**FACTS, "issued_at": True},
        {**FACTS, "issued_at": 1e400},
    ],
)
def test_signed_nonsense_is_refused(payload: Any) -> None:
    (problem,) = refusal(lambda: check(forge(payload)))
    assert "malformed" in problem


@pytest.mark.parametrize(
    ("moment", "accepted"),
    [
        (NOW, True),
        (NOW + 3599, True),
        (NOW + 3599.999, True),
        (NOW + 3600, False),
        (NOW + 3601, False),
        (NOW + 10**9, False),
        (NOW - 60, True),
        (NOW - 60.001, False),
        (NOW - 61, False),
        (0, False),
    ],
)
def test_approval_holds_from_its_moment_to_its_end_with_a_minute_for_clocks_that_differ(
    moment: float, accepted: bool
) -> None:
    token = sign().token
    if accepted:
        assert check(token, now=moment).approver == "ada"
        return
    (problem,) = refusal(lambda: check(token, now=moment))
    told = (
        "it expired at 2027-01-15 09:00:00 UTC" if moment > NOW else "issued in the future, at 2027-01-15 08:00:00 UTC"
    )
    assert told in problem


@pytest.mark.parametrize("environment", ["staging", "Production", "production ", "prod", ""])
def test_approval_of_one_environment_is_none_for_another(environment: str) -> None:
    assert refusal(lambda: check(sign().token, environment=environment)) == (
        f"it is for production, not for {environment}",
    )


@pytest.mark.parametrize("digest", [OTHER_DIGEST, DIGEST.upper(), DIGEST[:-1], DIGEST[7:], DIGEST[:20], ""])
def test_approval_of_one_digest_is_none_for_another(digest: str) -> None:
    (problem,) = refusal(lambda: check(sign().token, digest=digest))
    assert problem == f"it is for another digest, {DIGEST}, not for {digest}"


def test_everything_that_is_wrong_is_told_at_once() -> None:
    problems = refusal(lambda: check(sign().token, environment="staging", digest=OTHER_DIGEST, now=NOW + 3600))
    assert len(problems) == 3


@pytest.mark.parametrize(
    ("signing", "checking", "accepted"),
    [
        (KEY, KEY, True),
        (KEY, f"{OLD_KEY},{KEY}", True),
        (KEY, f"{KEY},{OLD_KEY}", True),
        (f"{KEY},{OLD_KEY}", KEY, True),
        (f"{KEY},{OLD_KEY}", OLD_KEY, False),
        (f" {KEY} ,\n{OLD_KEY}\n", f"{KEY}\n", True),
        (f"{KEY},", KEY, True),
        (OLD_KEY, KEY, False),
    ],
)
def test_rotation_signs_with_the_first_key_and_accepts_both(signing: str, checking: str, accepted: bool) -> None:
    token = sign(keys=signing).token
    if accepted:
        assert check(token, keys=checking).approver == "ada"
    else:
        refusal(lambda: check(token, keys=checking))


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ("", "FAIRLEAD_APPROVAL_KEY is not set"),
        (" , ", "FAIRLEAD_APPROVAL_KEY is not set"),
        ("k" * 31, "the key in FAIRLEAD_APPROVAL_KEY is too short: 32 bytes"),
        ("é" * 15 + "a", "the key in FAIRLEAD_APPROVAL_KEY is too short"),
        (f"{KEY},{'s' * 31}", "a key in FAIRLEAD_APPROVAL_KEY is too short"),
        (f"{'s' * 31},{KEY}", "a key in FAIRLEAD_APPROVAL_KEY is too short"),
        (f"{KEY},{OLD_KEY},{KEY}x", "holds 3 keys"),
    ],
)
def test_key_that_is_missing_or_too_short_neither_signs_nor_checks(keys: str, problem: str) -> None:
    (found,) = refusal(lambda: check(forge(FACTS), keys=keys), secrets=(KEY, "k" * 31, "s" * 31))
    assert problem in found
    with pytest.raises(ConfigurationError) as caught:
        sign(keys=keys)
    assert problem in caught.value.message
    assert KEY not in f"{caught.value.message} {caught.value.hint}"


def test_key_of_exactly_32_bytes_is_long_enough() -> None:
    assert check(sign(keys="é" * 16).token, keys="é" * 16).approver == "ada"


@pytest.mark.parametrize(
    "digest",
    ["", "-", DIGEST[:-1], f"{DIGEST}0", DIGEST[7:], DIGEST.upper(), f"{DIGEST}\n", f"sha512:{'0' * 64}", "sha256:"],
)
def test_only_a_whole_digest_can_be_approved(digest: str) -> None:
    with pytest.raises(ConfigurationError, match="no digest"):
        sign(digest=digest)


@pytest.mark.parametrize("valid", [0, -1, 86_401, 10**12])
def test_approval_for_ever_or_for_no_time_is_refused(valid: int) -> None:
    with pytest.raises(ConfigurationError, match="1 to 86400 seconds"):
        sign(valid=valid)


@pytest.mark.parametrize("valid", [1, 86_400])
def test_shortest_and_longest_validity_are_accepted(valid: int) -> None:
    assert sign(valid=valid).approval.expires_at == NOW + valid


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("", None),
        (" \n\t", None),
        ("two\nlines", "two lines"),
        ("\x1b[31mred\x07", "[31mred"),
        ("a\u202eb\u200bc", "a b c"),
        ("x" * 600, "x" * 499 + "…"),
        ("x" * 500, "x" * 500),
        ("Grüße 漢字", "Grüße 漢字"),
    ],
)
def test_remark_becomes_one_printable_line(written: str, kept: str | None) -> None:
    assert as_remark(written) == kept
    assert sign(reason=written).approval.reason == kept


# GitHub ---------------------------------------------------------------------------------------------------------------

JOB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_API_URL": "https://github.example.com/api/v3",
    "GITHUB_REPOSITORY": "acme/shop",
    "GITHUB_RUN_ID": "42",
    "GITHUB_RUN_ATTEMPT": "2",
    "GITHUB_TOKEN": TOKEN,
}
RUN = {"id": 42, "status": "in_progress", "run_attempt": 2, "head_sha": HEAD}


def review(
    state: Any = "approved", *names: str, login: Any = "ada", kind: Any = "User", comment: Any = "go"
) -> dict[str, Any]:
    """Make an entry as GitHub's reference shows one."""
    environments = [{"id": 161088068, "name": name, "url": "https://…"} for name in names or ("production",)]
    return {
        "state": state,
        "comment": comment,
        "environments": environments,
        "user": {"login": login, "id": 1, "type": kind},
    }


def serve(reviews: Any, run: Any = RUN) -> httpx.MockTransport:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        if request.url == "https://github.example.com/api/v3/repos/acme/shop/actions/runs/42":
            found = run
        else:
            assert request.url == "https://github.example.com/api/v3/repos/acme/shop/actions/runs/42/approvals"
            found = reviews
        return found() if isinstance(found, partial) else httpx.Response(200, content=json.dumps(found))

    return httpx.MockTransport(answer)


def unasked(_: httpx.Request) -> httpx.Response:
    raise AssertionError("GitHub was asked")


def ask_github(transport: httpx.BaseTransport, *, revision: str | None = None, **variables: str) -> Approval:
    environ = {**JOB, **variables}
    return approval.check_github("production", environ=environ, revision=revision, transport=transport)


@pytest.mark.parametrize(
    ("reviews", "approver"),
    [
        ([review()], "ada"),
        ([review("approved", "PRODUCTION")], "ada"),
        ([review("approved", "staging", "Production")], "ada"),
        ([review("approved", "staging", login="bob"), review()], "ada"),
        ([review("rejected", "staging", login="bob"), review()], "ada"),
        ([review("pending", login="bob"), review()], "ada"),
        ([review(login="zoe"), review(login="ada")], "ada, zoe"),
        ([review(login="gate[bot]", kind="Bot"), review()], "ada"),
        ([None, 1, "x", [], {}, {"state": "approved"}, review()], "ada"),
    ],
)
def test_review_by_a_person_for_this_environment_approves(reviews: Any, approver: str) -> None:
    found = ask_github(serve(reviews))
    assert (found.environment, found.approver, found.how) == ("production", approver, "github")
    assert (found.digest, found.expires_at) == (None, None)


@pytest.mark.parametrize(("comment", "reason"), [("two\nlines\x1b", "two lines"), ("", None), (None, None), (1, None)])
def test_comment_of_the_review_is_the_reason(comment: Any, reason: str | None) -> None:
    assert ask_github(serve([review(comment=comment)])).reason == reason


@pytest.mark.parametrize(
    ("reviews", "problem"),
    [
        ([], "nobody approved this run for production"),
        ([review("approved", "staging")], "nobody approved"),
        ([review("approved", "production-eu"), review("approved", "pre production")], "nobody approved"),
        ([review("approved", "prod"), review("approved", "")], "nobody approved"),
        ([review("pending")], "nobody approved"),
        ([review("APPROVED"), review(None), review(True), review(["approved"])], "nobody approved"),
        ([review("rejected")], "ada rejected this run for production"),
        ([review("rejected", login="bob"), review()], "bob rejected"),
        ([review(), review("rejected", login="bob")], "bob rejected"),
        ([review(), review("rejected", login="gate[bot]", kind="Bot")], "a program rejected"),
        ([review(login="gate[bot]", kind="Bot")], "by no person"),
        ([review(kind="Organization"), review(kind=None), review(kind="user")], "by no person"),
        ([review(login=None), review(login=""), review(login=7), review(login="\x1b")], "by no person"),
        ([{**review(), "user": None}, {**review(), "user": "ada"}, {**review(), "user": []}], "by no person"),
        ([{**review(), "environments": None}, {**review(), "environments": "production"}], "nobody approved"),
        ([{**review(), "environments": ["production", {"name": 1}, {"name": None}, {}]}], "nobody approved"),
        ([None, 1, "approved", ["approved"]], "nobody approved"),
        (review(), "not a list"),
        ({"approvals": [review()]}, "not a list"),
        (None, "not a list"),
        ("approved", "not a list"),
    ],
)
def test_anything_but_a_person_s_approval_is_none(reviews: Any, problem: str) -> None:
    (found,) = refusal(lambda: ask_github(serve(reviews)))
    assert problem in found


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (partial(httpx.Response, 401, json={"message": "Bad credentials"}), "does not accept the token"),
        (partial(httpx.Response, 403, json=[review()]), "permissions: actions: read"),
        (partial(httpx.Response, 404, json={"message": "Not Found"}), "no such run"),
        (partial(httpx.Response, 429, text=TOKEN), "too often"),
        (partial(httpx.Response, 500, text=TOKEN), "status 500"),
        (partial(httpx.Response, 502, json=[review()]), "status 502"),
        (partial(httpx.Response, 301, headers={"Location": "https://elsewhere.example.com/"}), "status 301"),
        (partial(httpx.Response, 204), "status 204"),
        (partial(httpx.Response, 201, json=[review()]), "status 201"),
        (partial(httpx.Response, 200, text=""), "not JSON"),
        (partial(httpx.Response, 200, text="<html>"), "not JSON"),
        (partial(httpx.Response, 200, content=b"\xff\xfe\xff"), "not JSON"),
        (partial(httpx.Response, 200, text="[" * 100_000), "not JSON"),
        (partial(httpx.Response, 200, text=" " * 2_000_001), "larger"),
    ],
)
@pytest.mark.parametrize("which", ["run", "reviews"])
def test_answer_that_cannot_be_used_is_no_approval(answer: partial[httpx.Response], problem: str, which: str) -> None:
    transport = serve([review()], answer) if which == "run" else serve(answer)
    (found,) = refusal(lambda: ask_github(transport))
    assert problem in found


@pytest.mark.parametrize(
    ("run", "problem"),
    [
        ({**RUN, "status": "completed"}, "the run 42 is not under way (completed)"),
        ({**RUN, "status": None}, "not under way (None)"),
        ({**RUN, "id": 43}, "does not describe the run 42"),
        ({**RUN, "id": "42"}, "does not describe the run 42"),
        ([], "does not describe"),
        (None, "does not describe"),
        ({**RUN, "run_attempt": 3}, "at its attempt 3, and this job belongs to 2"),
        ({**RUN, "run_attempt": None}, "attempt"),
        ({**RUN, "head_sha": "00" * 20}, f"of the commit {'00' * 20}"),
        ({**RUN, "head_sha": None}, "of the commit None"),
    ],
)
def test_run_that_this_job_cannot_belong_to_proves_nothing(run: Any, problem: str) -> None:
    (found,) = refusal(lambda: ask_github(serve([review()], run), revision=HEAD))
    assert problem in found


@pytest.mark.parametrize("status", ["in_progress", "waiting", "queued", "pending"])
def test_run_that_is_under_way_and_of_the_commit_is_accepted(status: str) -> None:
    assert ask_github(serve([review()], {**RUN, "status": status}), revision=HEAD).approver == "ada"


def test_attempt_and_commit_are_compared_only_where_they_are_known() -> None:
    transport = serve([review()], {"id": 42, "status": "in_progress"})
    assert ask_github(transport, GITHUB_RUN_ATTEMPT="").approver == "ada"


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("GITHUB_ACTIONS", "", "not a job of GitHub Actions"),
        ("GITHUB_ACTIONS", "false", "not a job of GitHub Actions"),
        ("GITHUB_TOKEN", "", "GITHUB_TOKEN is not set"),
        ("GITHUB_TOKEN", f"{TOKEN}\r\nX-Other: 1", "holds characters"),
        ("GITHUB_TOKEN", f"{TOKEN} é", "holds characters"),
        ("GITHUB_REPOSITORY", "", "OWNER/NAME"),
        ("GITHUB_REPOSITORY", "shop", "OWNER/NAME"),
        ("GITHUB_REPOSITORY", "../shop", "OWNER/NAME"),
        ("GITHUB_REPOSITORY", "acme/..", "OWNER/NAME"),
        ("GITHUB_REPOSITORY", "acme/shop/actions", "OWNER/NAME"),
        ("GITHUB_REPOSITORY", "acme/shop?x=1", "OWNER/NAME"),
        ("GITHUB_REPOSITORY", "acme/shop\n", "OWNER/NAME"),
        ("GITHUB_RUN_ID", "", "a number"),
        ("GITHUB_RUN_ID", "42/../41", "a number"),
        ("GITHUB_RUN_ID", "٤٢", "a number"),
        ("GITHUB_RUN_ID", "0", "a number"),
        ("GITHUB_RUN_ATTEMPT", "two", "a number"),
        ("GITHUB_API_URL", "http://github.example.com", "https://"),
        ("GITHUB_API_URL", "http://127.0.0.1.example.com", "https://"),
        ("GITHUB_API_URL", "https://user:secret@github.example.com", "https://"),
        ("GITHUB_API_URL", "https://github.example.com?x=1", "https://"),
        ("GITHUB_API_URL", "https://", "https://"),
        ("GITHUB_API_URL", "https://host:port", "https://"),
        ("GITHUB_API_URL", "https://[::1", "https://"),
        ("GITHUB_API_URL", "ftp://github.example.com", "https://"),
        ("GITHUB_API_URL", "https://\N{SNOWMAN}.example.com", "could not be asked"),
    ],
)
def test_job_that_is_not_described_well_is_not_even_asked_about(variable: str, value: str, problem: str) -> None:
    (found,) = refusal(lambda: ask_github(httpx.MockTransport(unasked), **{variable: value}))
    assert problem in found


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (httpx.ConnectError("no route"), "could not be asked: no route"),
        (httpx.ReadError(""), "could not be asked: ReadError"),
        (httpx.ReadTimeout("slow"), "no complete answer within 10 s"),
        (httpx.ConnectTimeout("slow"), "no complete answer within 10 s"),
    ],
)
def test_connection_that_fails_is_no_approval(error: Exception, problem: str) -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise error

    (found,) = refusal(lambda: ask_github(httpx.MockTransport(fail)))
    assert problem in found


def test_address_of_github_itself_is_the_default() -> None:
    asked: list[str] = []

    def note(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(404)

    refusal(lambda: ask_github(httpx.MockTransport(note), GITHUB_API_URL=""))
    assert asked == ["https://api.github.com/repos/acme/shop/actions/runs/42"]


# Both -----------------------------------------------------------------------------------------------------------------


def require(transport: httpx.BaseTransport, **variables: str) -> Approval:
    return approval.require("production", DIGEST, environ=variables, now=NOW, transport=transport)


def test_signed_approval_is_enough_and_github_is_not_asked() -> None:
    found = require(httpx.MockTransport(unasked), **JOB, FAIRLEAD_APPROVAL=sign().token, FAIRLEAD_APPROVAL_KEY=KEY)
    assert found.how == "signed"


def test_signed_approval_that_does_not_hold_is_not_made_good_by_github() -> None:
    token = sign(digest=OTHER_DIGEST).token
    asked = httpx.MockTransport(unasked)
    problems = refusal(lambda: require(asked, **JOB, FAIRLEAD_APPROVAL=token, FAIRLEAD_APPROVAL_KEY=KEY))
    assert problems[0].startswith("signed approval: it is for another digest")
    assert problems[1] == "GitHub's environment protection: not asked, because FAIRLEAD_APPROVAL is set"


def test_github_is_asked_where_nothing_was_signed() -> None:
    assert require(serve([review()]), **JOB, FAIRLEAD_APPROVAL=" ").how == "github"


def test_commit_of_the_run_is_compared_when_it_is_given() -> None:
    with pytest.raises(NotApprovedError, match="nobody approved the deploy to production") as caught:
        approval.require("production", DIGEST, environ=JOB, revision="00" * 20, transport=serve([review()]))
    assert f"of the commit {HEAD}" in caught.value.problems[1]


def test_refusal_names_both_reasons_and_the_command_that_helps() -> None:
    with pytest.raises(NotApprovedError) as caught:
        require(httpx.MockTransport(unasked))
    assert caught.value.problems == (
        "signed approval: FAIRLEAD_APPROVAL is not set",
        "GitHub's environment protection: this is not a job of GitHub Actions",
    )
    assert f"invoke approve {DIGEST} --env production" in (caught.value.hint or "")
