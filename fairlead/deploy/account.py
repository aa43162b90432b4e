"""Finds the account that the suites log in with: the one in the variables, or one of their own in the local release."""

import json
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fairlead._output import redact
from fairlead.exceptions import Error, InconclusiveError

if TYPE_CHECKING:
    from fairlead.config import Config, EnvironmentConfig

EMAIL: Final = "VERIFY_EMAIL"
PASSWORD: Final = "VERIFY_PASSWORD"  # noqa: S105 - the name of a variable  # nosec B105 - the same
_PLACEHOLDER: Final = "{email}"


def find_account(
    loaded: "Config", environment: "EnvironmentConfig | None", url: str, *, note: Callable[[str], None]
) -> Mapping[str, str]:
    """Return the variables of the account at `url`; raise `InconclusiveError` where there is none.

    In the local release an account is made by `verify.account-command` when no variables name one. It is kept with its
    password, readable by its owner alone, and made anew when it is not let in any more, as after the database was.
    `note` is told when one is made.
    """
    missing = name_missing_account(loaded, environment)
    if missing:
        raise InconclusiveError(
            f"the suites of {url} could not be checked: {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not set",
            hint="set the account that the suites log in with, or pass --probes to leave them out",
        )
    if given := _read_given(loaded):
        redact.register(given[PASSWORD])
        return given
    file = loaded.state_dir / "verify" / "account.json"
    kept = _load(file)
    return kept if kept is not None and _is_let_in(loaded, url, kept) else _make(loaded, file, note)


def name_missing_account(loaded: "Config", environment: "EnvironmentConfig | None") -> tuple[str, ...]:
    """Name the variables of the account that are not set, unless none is and the local release can be given one."""
    given = _read_given(loaded)
    local = environment is not None and environment.platform == "local"
    if not given and local and loaded.verify.account_command:
        return ()
    return tuple(name for name in (EMAIL, PASSWORD) if name not in given)


def _read_given(loaded: "Config") -> Mapping[str, str]:
    return {name: loaded.environ[name] for name in (EMAIL, PASSWORD) if loaded.environ.get(name)}


def _load(file: Path) -> Mapping[str, str] | None:
    try:
        facts = json.loads(file.read_text("utf-8"))
        found = {EMAIL: str(facts["email"]), PASSWORD: str(facts["password"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    redact.register(found[PASSWORD])
    return found


def _is_let_in(loaded: "Config", url: str, account: Mapping[str, str]) -> bool:
    from fairlead.verification.api import AnswerError, Api

    with Api(url) as api:
        reply = None
        try:
            reply = api.post(loaded.verify.login_path, {"email": account[EMAIL], "password": account[PASSWORD]})
        except AnswerError:
            return True  # the suites will say what is wrong with it
    return reply.status != 401


def _make(loaded: "Config", file: Path, note: Callable[[str], None]) -> Mapping[str, str]:
    from fairlead import localplatform

    made = {EMAIL: f"verify-{secrets.token_hex(8)}@fairlead.test", PASSWORD: secrets.token_urlsafe(24)}
    redact.register(made[PASSWORD])
    command = [part.replace(_PLACEHOLDER, made[EMAIL]) for part in loaded.verify.account_command]
    try:
        localplatform.call_in_release(loaded, command, variables={loaded.verify.account_password_env: made[PASSWORD]})
        _keep(file, made)
    except Error as error:
        output = getattr(error, "output", "").strip()
        why = f"{error.message}: {output.splitlines()[-1]}" if output else error.message
        raise InconclusiveError(
            f"the suites could not be checked: the account that they log in with was not made ({why})",
            hint=f"mend tool.fairlead.verify.account-command, or set {EMAIL} and {PASSWORD}",
        ) from None
    note(f"made the account {made[EMAIL]} in the local release; {file} keeps it")
    return made


def _keep(file: Path, account: Mapping[str, str]) -> None:
    """Write the account into a file that only its owner may read, whole or not at all."""
    partial = file.with_name(f".{file.name}-{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            json.dump({"email": account[EMAIL], "password": account[PASSWORD]}, opened)
        partial.replace(file)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise Error(f"{file} cannot be written: {error.strerror}") from None
