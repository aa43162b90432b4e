"""`python -m app.export_openapi`: prints the OpenAPI document, without configuration and without a database."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from app.application import create_app
from app.openapi import complete_document
from app.settings.declared import DeclaredSettings

_NOWHERE = "postgresql://nobody@127.0.0.1:1/none"
_NO_BUILD = Path("there-is-no-build-info.json")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the document as `arguments` ask for it; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m app.export_openapi", description="Print the OpenAPI document of this backend as JSON."
    )
    parser.add_argument("--version", help="the version that the document names (default: unknown)")
    options = parser.parse_args(arguments)
    sys.stdout.write(render(make_document(version=options.version)))
    return 0


def make_document(*, version: str | None = None) -> dict[str, Any]:
    """Return the document of an application with default settings; `version` is the one that it names."""
    app = create_app(DeclaredSettings(database_url=SecretStr(_NOWHERE), build_info=_NO_BUILD))
    document = complete_document(app.openapi())
    if version is not None:
        document["info"]["version"] = version
    return document


def render(document: dict[str, Any]) -> str:
    """Return the document as text that is the same on every Python and every machine."""
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


if __name__ == "__main__":
    sys.exit(main())
