"""Files that pages ask for: stylesheets and modules of this package, plotly's JavaScript as installed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

MEDIA_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
PLOTLY = "plotly.min.js"
_STYLE_ID = re.compile(r'getElementById\("([0-9a-f]{64})"\)')
SHARED_STYLES = ("page.css", "bill.css")
"""Styles that reports and bills carry in themselves."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file's bytes, their media type, and a tag that changes with them."""

    content: bytes
    media_type: str
    etag: str


@cache
def _places() -> dict[str, Traversable]:
    """Where each file is, by the name that pages know."""
    web = files("node") / "web"
    found = {each.name: each for each in (web / "static").iterdir() if each.name[-4:] != ".pyc"}
    found |= {name: web / "templates" / name for name in SHARED_STYLES}
    found[PLOTLY] = files("plotly") / "package_data" / PLOTLY
    return {name: place for name, place in found.items() if place.is_file()}


@cache
def asset(name: str) -> Asset:
    """A file by its name. Raises KeyError."""
    content = _places()[name].read_bytes()
    return Asset(content, MEDIA_TYPES[name[name.rindex(".") :]], f'"{sha256(content).hexdigest()[:16]}"')


@cache
def style_ids() -> tuple[str, ...]:
    """Ids of the style elements that plotly writes into a page that has none of these ids.

    They are of maps, which are not drawn here, and the content security policy does not allow them.
    """
    return tuple(dict.fromkeys(_STYLE_ID.findall(asset(PLOTLY).content.decode())))


def add_assets(app: FastAPI) -> None:
    """Let an application serve the files."""

    @app.get("/static/{name}", include_in_schema=False)
    def static(name: str, request: Request) -> Response:
        """A stylesheet or a module."""
        try:
            found = asset(name)
        except KeyError:
            raise HTTPException(404) from None
        headers = {"ETag": found.etag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == found.etag:
            return Response(status_code=304, headers=headers)
        return Response(found.content, media_type=found.media_type, headers=headers)
