"""`python -m app.rotate_keys`: encrypts with ENCRYPTION_KEY everything that is kept under ENCRYPTION_PREVIOUS_KEYS."""

import argparse
import asyncio
import sys
from collections.abc import Sequence

from sqlalchemy.exc import SQLAlchemyError

from app.db import UNAVAILABLE, Database, explain
from app.logs import configure_logging
from app.services.encryption import Cipher
from app.services.rotation import BATCH_SIZE, Progress, rotate
from app.settings import SettingsError, load_settings

_FAILED = 1
_INTERRUPTED = 130


class RotationError(Exception):
    """Not everything is under the current key. The message says why and what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Encrypt everything again that needs it; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        message = asyncio.run(_rotate(options.batch_size))
    except (RotationError, SettingsError) as error:
        sys.stderr.write(f"{error}\n")
        return _FAILED
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted. What was committed stays; run this again for the rest.\n")
        return _INTERRUPTED
    sys.stdout.write(f"{message}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m app.rotate_keys",
        description="Encrypt with ENCRYPTION_KEY everything that is kept under one of ENCRYPTION_PREVIOUS_KEYS.",
        epilog="It may be interrupted and run again. Afterwards ENCRYPTION_PREVIOUS_KEYS is not needed any more.",
    )
    parser.add_argument(
        "--batch-size", type=_read_size, default=BATCH_SIZE, help="rows in one transaction (default: %(default)s)"
    )
    return parser


def _read_size(text: str) -> int:
    size = int(text)
    if size < 1:
        raise ValueError(text)
    return size


async def _rotate(batch_size: int) -> str:
    settings = load_settings()
    configure_logging(settings.log_level)
    database = Database(settings)
    progress = Progress()
    try:
        async with database.session() as session:
            async for step in rotate(session, Cipher(settings.encryption_keys), batch_size=batch_size):
                progress = progress.plus(step)
    except UNAVAILABLE as error:
        message = (
            f"The database at {database.address} cannot be used: {explain(error)}. "
            f"{progress.encrypted} values were encrypted again so far; run this again for the rest."
        )
        raise RotationError(message) from None
    except SQLAlchemyError as error:
        message = (
            f"The tables of the database at {database.address} do not fit this release: {explain(error)}. Apply the "
            "migrations: python -m fairlead migrate. "
            f"{progress.encrypted} values were encrypted again so far; run this again for the rest."
        )
        raise RotationError(message) from None
    finally:
        await database.close()
    done = f"{progress.encrypted} values were encrypted again; {progress.current} were under the current key already."
    if progress.lost:
        raise RotationError(
            f"{done} {progress.lost} cannot be decrypted with any key that is configured. Add the key that encrypted "
            "them to ENCRYPTION_PREVIOUS_KEYS and run this again; without it those businesses have to connect their "
            "calendar again."
        )
    return done


if __name__ == "__main__":
    sys.exit(main())
