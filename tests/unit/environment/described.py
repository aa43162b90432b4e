"""A description of a few variables, for the tests of what is made of one."""

import json
from typing import Any

from fairlead.environment.description import FORMAT, Description, read_description


def variable(name: str, **facts: Any) -> dict[str, Any]:
    """Return a variable as an application would tell it."""
    return {"name": name, "group": "core", "expected": f"what {name} expects", "purpose": f"what {name} does", **facts}


def document(**changes: Any) -> dict[str, Any]:
    """Return a description as an application would print it."""
    return {
        "format": FORMAT,
        "title": "Variables of the shop",
        "introduction": "Read once.",
        "groups": [{"name": "core", "title": "The core"}, {"name": "pay", "title": "Payments"}],
        "variables": [
            variable("DATABASE_URL", required="always", secret=True, example="postgresql://me@localhost/shop"),
            variable("SIGNING_KEY", required="deployed", secret=True, shared=True),
            variable("LOG_LEVEL", default="INFO", expected="DEBUG | INFO"),
            variable("PAY_KEY", group="pay", secret=True),
            variable("PAY_SECRET", group="pay", secret=True),
            variable("PORT", group="pay", read_by="the start command"),
        ],
        "together": [["PAY_KEY", "PAY_SECRET"]],
        "closing": [{"title": "Make a key", "text": "Roll dice."}],
        **changes,
    }


def description(**changes: Any) -> Description:
    """Return the description that `document` is read as."""
    return read_description(json.dumps(document(**changes)))
