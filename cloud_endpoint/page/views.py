"""What the page asks the endpoint for, as the API describes it. Pure."""

from __future__ import annotations

from agents.contracts.codec import Struct
from cloud_endpoint.page.summary import SiteSummary


class SessionView(Struct, frozen=True, kw_only=True):
    """`GET /v1/session`: who is logged in, and what the page must know. `csrf`: for `X-CSRF-Token`. Times Unix ms."""

    operator: str
    scopes: list[str]
    site: str | None
    csrf: str
    expires_ms: int | None
    now: int
    notice: str
    beat_seconds: float

    def __repr__(self) -> str:
        return f"SessionView(operator={self.operator!r})"


class Overview(Struct, frozen=True, kw_only=True):
    """`GET /v1/fleet/overview`, and but for `id` the data of each `change` event: there only what changed.

    `id`: for `after=` of the event stream. `beats`: receipt of each node's last beat, Unix ms. `gone`: sites that are
    no more. `waiting`: devices for a person to judge. `alerts`: of the last day, of no site.
    """

    id: str
    now: int
    sites: list[SiteSummary]
    beats: dict[str, int]
    gone: list[str]
    waiting: int
    alerts: int
