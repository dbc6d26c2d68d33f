"""Writes docs/routes.md, the endpoint's routes with the scopes they need, from the table that its gate works by.

Usage: python -m tools.routes_table > docs/routes.md
"""

from __future__ import annotations

import sys

from cloud_endpoint import routes
from cloud_endpoint.route import DEVICE_SCOPES, EVERYONE, Route

GROUPS: dict[str, tuple[Route, ...]] = {
    "Devices": routes.DEVICE_ROUTES,
    "Fleet and commands": routes.FLEET_ROUTES,
    "Administration": routes.ADMIN_ROUTES,
    "Trust documents": routes.TRUST_ROUTES,
    "Diagnostics": routes.DIAGNOSTICS_ROUTES,
    "The page": routes.PAGE_ROUTES,
}
HEAD = """# Routes of the endpoint

Made by `python -m tools.routes_table > docs/routes.md` from `cloud_endpoint/routes.py`; do not edit. Types of bodies
and answers: [openapi.json](openapi.json). A login needs any one of the scopes named. *cookie*: the page's session
serves too, with the header `X-CSRF-Token` on writes. *whole fleet*: refused to a person who is limited to one site.
`POST /v1/ingest` needs the scope of the stream it writes.
"""


def scopes(route: Route) -> str:
    """What a login must hold, in words."""
    if not route.scopes:
        return "no login"
    if route.scopes == EVERYONE:
        return "any login"
    if route.scopes == DEVICE_SCOPES:
        return "any device"
    return " or ".join(f"`{name}`" for name in sorted(route.scopes))


def render() -> str:
    """The whole page."""
    lines = [HEAD.rstrip()]
    for name, group in GROUPS.items():
        lines += ["", f"## {name}", "", "| route | needs | what |", "|---|---|---|"]
        for route in group:
            more = [word for word, so in (("cookie", route.cookie), ("whole fleet", route.whole_fleet)) if so]
            needs = scopes(route) + (f" (*{', '.join(more)}*)" if more else "")
            lines.append(f"| `{route.method} {route.path}` | {needs} | {route.summary} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render())
