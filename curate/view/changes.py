"""Changes that a page asks for: JSON in, JSON out, checked before anything is written.

POST /marks {"row_id": "web/a.jsonl:7", "mark": "drop"}   {"mark": "drop", "count": 3}
POST /marks {"row_id": 7}                                 {"error": "row_id: Input should be ..."}
"""

from collections.abc import Callable
from typing import TypeVar

from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from curate.core.errors import UserError
from curate.core.jsontypes import JSON
from curate.core.params import Params, first_fault

P = TypeVar("P", bound=Params)


def change_route(path: str, kind: type[P], change: Callable[[P], dict[str, JSON]]) -> Route:
    """Return the address of a change.

    Args:
        path: of the address.
        kind: what a request holds.
        change: does it, in a thread of its own, and returns what the page is to know.
    """

    async def answer(request: Request) -> Response:
        try:
            asked_for = kind.model_validate_json(await request.body())
        except ValidationError as error:
            place, problem = first_fault(error, kind)
            return JSONResponse({"error": f"{place or 'request'}: {problem}"}, 400)
        try:
            return JSONResponse(await run_in_threadpool(change, asked_for))
        except UserError as error:
            return JSONResponse({"error": str(error)}, 400)

    return Route(path, answer, methods=["POST"])
