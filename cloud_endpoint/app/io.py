"""Requests into contract types and answers out of them; bodies are bounded in size and time."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web
from aiohttp.http import HttpProcessingError

from agents.contracts.codec import ContractError, decode, encode, in_words
from cloud_endpoint.problem import Problem
from cloud_endpoint.route import Route

T = TypeVar("T")
ROUTE: web.RequestKey[Route] = web.RequestKey("route", Route)
BODY_SECONDS = 30


async def read_bytes(request: web.Request) -> bytes:
    """The body, at most the route's `max_body`; raises Problem 413 or 408."""
    limit = request[ROUTE].max_body
    if request.content_length is not None and request.content_length > limit:
        raise _too_large(limit)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > limit:
                    raise _too_large(limit)
    except (web.RequestPayloadError, HttpProcessingError):
        raise Problem(400, "the body is broken off or wrongly encoded", headers={"Connection": "close"}) from None
    except TimeoutError:
        raise Problem(
            408, f"the body did not arrive within {BODY_SECONDS} s", headers={"Connection": "close"}
        ) from None
    return bytes(body)


async def read_json(request: web.Request, type_: type[T]) -> T:
    """The body as `type_`; raises Problem 400 naming the path, 415 for another content type."""
    if request.content_type != "application/json":
        raise Problem(415, "Content-Type must be application/json")
    try:
        return decode(await read_bytes(request), type_)
    except ContractError as error:
        raise Problem(400, str(error)) from None


async def read_form(request: web.Request, type_: type[T]) -> T:
    """An urlencoded form; raises Problem 400 (`invalid_request`), also for a field given twice (RFC 6749 3.2)."""
    if request.content_type != "application/x-www-form-urlencoded":
        raise Problem(415, "Content-Type must be application/x-www-form-urlencoded", error="invalid_request")
    try:
        pairs = parse_qsl((await read_bytes(request)).decode(), keep_blank_values=True, max_num_fields=20)
        if len({key for key, _ in pairs}) != len(pairs):
            raise Problem(400, "a field is given twice", error="invalid_request")
        return msgspec.convert(dict(pairs), type_)
    except (msgspec.ValidationError, ValueError) as error:
        text = in_words(str(error), type_) if isinstance(error, msgspec.ValidationError) else "not a form"
        raise Problem(400, text, error="invalid_request") from None


def read_query(request: web.Request, type_: type[T]) -> T:
    """The query as `type_`; raises Problem 400 naming the parameter."""
    try:
        return msgspec.convert(dict(request.query), type_, strict=False)
    except msgspec.ValidationError as error:
        raise Problem(400, f"query: {in_words(str(error), type_)}") from None


def answer(value: Any, status: int = 200) -> web.Response:
    """JSON that nobody keeps."""
    return web.Response(
        body=encode(value), status=status, content_type="application/json", headers={"Cache-Control": "no-store"}
    )


def problem_answer(problem: Problem) -> web.Response:
    """The problem as JSON."""
    return web.Response(
        body=encode(problem.body()),
        status=problem.status,
        content_type="application/problem+json",
        headers={"Cache-Control": "no-store", **problem.headers},
    )


def _too_large(limit: int) -> Problem:
    # What is left of the body is not read, so the connection cannot serve another request.
    return Problem(413, f"the body is larger than {limit} bytes", headers={"Connection": "close"})
