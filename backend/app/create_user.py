"""`python -m app.create_user`: makes a business with its owner, so that somebody can log in."""

import argparse
import asyncio
import getpass
import os
import sys
from collections.abc import Sequence

from pydantic import TypeAdapter, ValidationError
from sqlalchemy.exc import SQLAlchemyError

from app.db import UNAVAILABLE, Database, explain
from app.models.values import Email, Name
from app.security import Passwords
from app.services.accounts import EmailTakenError, create_account
from app.settings import SettingsError, load_settings

_SHORTEST_PASSWORD = 8
_LONGEST_PASSWORD = 1024
_VARIABLE = "MAYA_PASSWORD"
_FAILED = 1


class CreateUserError(Exception):
    """The account could not be made. The message says why and what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Create the account that `arguments` describe; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        message = asyncio.run(_create(options))
    except (CreateUserError, SettingsError) as error:
        sys.stderr.write(f"{error}\n")
        return _FAILED
    sys.stdout.write(f"{message}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m app.create_user",
        description="Create a business and its owner in the database that DATABASE_URL names.",
        epilog=f"The password is read from {_VARIABLE}, else from standard input.",
    )
    parser.add_argument("--email", required=True, help="the address the owner logs in with")
    parser.add_argument("--business", required=True, help="the name of the business")
    parser.add_argument("--user-name", default="Owner", help="the owner's name (default: %(default)s)")
    return parser


async def _create(options: argparse.Namespace) -> str:
    settings = load_settings()
    email = _checked(TypeAdapter(Email), options.email, "--email")
    business = _checked(TypeAdapter(Name), options.business, "--business")
    user_name = _checked(TypeAdapter(Name), options.user_name, "--user-name")
    password_hash = await Passwords().hash(_read_password())
    database = Database(settings)
    try:
        async with database.session() as session:
            await create_account(
                session, business=business, email=email, user_name=user_name, password_hash=password_hash
            )
    except EmailTakenError:
        message = f"A user with the email {email} exists already. Choose another address, or log in with this one."
        raise CreateUserError(message) from None
    except UNAVAILABLE as error:
        message = (
            f"The database at {database.address} cannot be used: {explain(error)}. Start it or correct DATABASE_URL."
        )
        raise CreateUserError(message) from None
    except SQLAlchemyError as error:
        message = (
            f"The tables of the database at {database.address} do not fit this release: {explain(error)}. "
            "Apply the migrations: python -m fairlead migrate."
        )
        raise CreateUserError(message) from None
    finally:
        await database.close()
    return f"Created {business} with the owner {email}. Log in at POST /api/auth/login."


def _checked(kind: TypeAdapter[str], value: str, option: str) -> str:
    try:
        return kind.validate_python(value)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise CreateUserError(f"{option} cannot be used: {reason}.") from None


def _read_password() -> str:
    password = os.environ.get(_VARIABLE)
    if password is None:
        password = getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    if not _SHORTEST_PASSWORD <= len(password) <= _LONGEST_PASSWORD or "\x00" in password:
        raise CreateUserError(
            f"The password must have {_SHORTEST_PASSWORD} to {_LONGEST_PASSWORD} characters. "
            f"Give it in {_VARIABLE} or on standard input."
        )
    return password


if __name__ == "__main__":
    sys.exit(main())
