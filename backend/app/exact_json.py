"""Owns how a body's JSON is read: numbers with decimals exactly, in UTF-8 only, and no member twice."""

import json
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute


class ExactRoute(APIRoute):
    """A route whose body is read exactly; `APIRouter(route_class=ExactRoute)`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        answer = super().get_route_handler()
        if self.body_field is None:
            return answer

        async def answer_exactly(request: Request) -> Response:
            return await answer(_ExactRequest(request.scope, request.receive))

        return answer_exactly


class _ExactRequest(Request):
    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            text = (await self.body()).decode("utf-8")
            read = json.loads(text, parse_float=Decimal, object_pairs_hook=_make_object)
            # FastAPI takes the attributes of an object it does not know for the members of a body.
            self._json = float(read) if isinstance(read, Decimal) else read
        return self._json


def _make_object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(members)
    if len(made) != len(members):
        # Which one counts would depend on who reads it.
        raise ValueError("a member stands twice in an object")
    return made
