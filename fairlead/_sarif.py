"""SARIF 2.1.0, the format that code hosts take findings in; no secret gets into it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fairlead._output import redact_value

_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"


def render(
    tool: str,
    *,
    rules: Sequence[Mapping[str, Any]],
    results: Sequence[Mapping[str, Any]],
    invocations: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Return the document of one run of `tool`; `results` name their rule by its place in `rules`, too."""
    run = {
        "tool": {"driver": {"name": tool, "rules": list(rules)}},
        **({"invocations": list(invocations)} if invocations else {}),
        "columnKind": "unicodeCodePoints",
        "results": list(results),
    }
    document = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(redact_value(document), indent=2, ensure_ascii=False) + "\n"


def make_result(
    rule: str, index: int, *, level: str, text: str, path: str, line: int | None = None, column: int | None = None
) -> dict[str, Any]:
    """Return one result: a finding of `rule`, which is the one at `index`. Lines and columns count from 1."""
    region = {"startLine": line, "startColumn": column}
    known = {name: number for name, number in region.items() if number is not None}
    place = {"artifactLocation": {"uri": path}, **({"region": known} if known else {})}
    return {
        "ruleId": rule,
        "ruleIndex": index,
        "level": level,
        "message": {"text": text},
        "locations": [{"physicalLocation": place}],
    }
