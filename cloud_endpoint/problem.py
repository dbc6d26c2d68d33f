"""Errors of the API as RFC 9457 problems. Pure."""

from __future__ import annotations

from http import HTTPStatus

from agents.contracts.codec import Struct


class ProblemBody(Struct, frozen=True, kw_only=True):
    """`application/problem+json`. `error`: RFC 6749 section 5.2, on the token route alone."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str = ""
    error: str | None = None


class Problem(Exception):
    """An answer other than success. `detail` is for the caller: it names path and cause, never a secret."""

    def __init__(
        self, status: int, detail: str, *, error: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.error = error
        self.headers = headers or {}

    def body(self) -> ProblemBody:
        """Its JSON."""
        title = HTTPStatus(self.status).phrase
        return ProblemBody(title=title, status=self.status, detail=self.detail, error=self.error)
