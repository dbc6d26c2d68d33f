"""The cloud endpoint as the commander asks it: enrol, tokens, site document, Git credential, commands. Touches the net.

Every answer's `Date` (RFC 9110 section 6.6.1) is passed on: a node with a wrong clock must be able to sign an
assertion that is accepted, and an error carries no `server_time`.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import TypeVar

import aiohttp

from agents.contracts.codec import ContractError, decode, encode
from agents.contracts.command import CommandsAnswer
from agents.contracts.diagnostics import BundleOpen, BundleState
from agents.contracts.election import InitAsk, InitGrant
from agents.contracts.identity import EnrolAnswer, EnrolRequest, GitCredential, SiteDocument, TokenAnswer
from agents.contracts.wipe import WipeGrant, WipeGrantAsk
from agents.core.errors import Retryable
from agents.core.ports import Clock
from agents.core.proxy import through
from agents.core.settings import EndpointSettings
from agents.io.http import cause, failure, problem_text, read_limited, retry_after

T = TypeVar("T")
MAX_ANSWER = 4 * 1024 * 1024
TIMEOUT = 10.0
PIECE_TIMEOUT = 40.0
"""Of a piece of a bundle: longer than the endpoint waits for one."""
CERTIFICATE_TIME_CODES = frozenset({9, 10})
"""OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""
_BEARER = re.compile(r"[0-9A-Za-z._~+/-]+=*")
"""What goes into a header as it is. Any other text would end every daemon that it is handed to, by ValueError."""


class ClockSuspect(Retryable):
    """The endpoint's certificate is not valid at this machine's time: the clock may be wrong."""


class TokenRefused(Retryable):
    """The endpoint does not accept this device's assertion: enrolment must be asked again."""


class BearerRefused(Retryable):
    """The endpoint does not accept this token (401): a new one may be good."""


class Cloud:
    """HTTP client of the endpoint; `urls` are tried in order, the last one that answered first.

    What takes a token raises BearerRefused where the endpoint does not accept it.
    `heard` gets the endpoint's time in Unix ms. `aclose` when done.
    """

    def __init__(
        self, endpoint: EndpointSettings, tls: ssl.SSLContext, clock: Clock, heard: Callable[[int], None]
    ) -> None:
        self._endpoint = endpoint
        self._urls = [url.rstrip("/") for url in endpoint.urls]
        self._tls = tls
        self._clock = clock
        self._heard = heard
        self._session: aiohttp.ClientSession | None = None

    async def enrol(self, request: EnrolRequest) -> EnrolAnswer:
        """Asks to be known. 200, 202 and 403 carry the same answer. Raises Retryable, Rejected."""
        status, headers, body = await self._ask(
            "POST", "/v1/enrol", data=encode(request), headers={"Content-Type": "application/json"}
        )
        try:
            if status in (200, 202, 403):
                return decode(body, EnrolAnswer)
        except ContractError:
            if status != 403:
                raise Retryable("enrolment: the answer is malformed") from None
        raise failure("enrolment", status, headers, body, self._clock.wall_ms())

    async def token(self, form: Mapping[str, str]) -> TokenAnswer:
        """Exchanges an assertion. Raises TokenRefused for 400, 401 and 403, else Retryable or Rejected."""
        status, headers, body = await self._ask("POST", "/v1/token", data=dict(form))
        if status in (400, 401, 403):
            wait = retry_after(headers, self._clock.wall_ms())
            raise TokenRefused(f"token: HTTP {status} ({problem_text(body)})", retry_after=wait)
        answer = self._read("token", status, headers, body, TokenAnswer)
        if _BEARER.fullmatch(answer.access_token) is None:
            raise Retryable("token: the answer is malformed: access_token is none (RFC 6750, 2.1)")
        return answer

    async def site(self, token: str, operators_after: int = 0) -> SiteDocument:
        """The site document, with operators' documents above that generation. Raises Retryable, Rejected."""
        path = f"/v1/site?operators_after={operators_after}"
        return self._read("site document", *await self._ask("GET", path, token=token), SiteDocument)

    async def git_credential(self, token: str) -> GitCredential:
        """A short-lived Git credential, by a token with `deploy:report`. Raises Retryable, Rejected."""
        return self._read("git credential", *await self._ask("GET", "/v1/git-credential", token=token), GitCredential)

    async def init_grant(self, token: str, asked: InitAsk) -> InitGrant:
        """Asks to run a `cluster-init`, or only who may, or says that it begins, by a token with `command:read`. May be
        asked again and again. Raises Retryable; Rejected for another epoch than the site's, or an offline one."""
        body, headers = encode(asked), {"Content-Type": "application/json"}
        answer = await self._ask("POST", "/v1/init-grant", data=body, headers=headers, token=token)
        return self._read("init grant", *answer, InitGrant)

    async def wipe_grant(self, token: str, command_id: str) -> WipeGrant:
        """Asks whether this node may begin with that wipe, by a token with `command:read`. May be asked again and
        again. Raises Retryable, Rejected."""
        body, headers = encode(WipeGrantAsk(command_id=command_id)), {"Content-Type": "application/json"}
        answer = await self._ask("POST", "/v1/wipe-grant", data=body, headers=headers, token=token)
        return self._read("wipe grant", *answer, WipeGrant)

    async def commands(self, token: str, after: int, wait: float) -> CommandsAnswer:
        """Commands above sequence `after`; the answer may be held for `wait` s. Raises Retryable, Rejected."""
        path = f"/v1/commands?after={after}&wait={round(wait)}"
        answer = await self._ask("GET", path, token=token, timeout=TIMEOUT + wait)
        return self._read("commands", *answer, CommandsAnswer)

    async def bundle_open(self, token: str, asked: BundleOpen) -> BundleState:
        """Says which diagnostics bundle is to come; where to begin. Raises Retryable, Rejected."""
        body, headers = encode(asked), {"Content-Type": "application/json"}
        answer = await self._ask("POST", "/v1/diagnostics", data=body, headers=headers, token=token)
        return self._read("diagnostics", *answer, BundleState)

    async def bundle_piece(self, token: str, bundle: int, offset: int, piece: bytes, sha256: str) -> BundleState:
        """Sends one piece; where to go on. Raises Retryable, Rejected."""
        path = f"/v1/diagnostics/{bundle}?offset={offset}&sha256={sha256}"
        headers = {"Content-Type": "application/octet-stream"}
        answer = await self._ask("PUT", path, data=piece, headers=headers, token=token, timeout=PIECE_TIMEOUT)
        return self._read("diagnostics", *answer, BundleState)

    async def aclose(self) -> None:
        """Closes the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _read(self, what: str, status: int, headers: Mapping[str, str], body: bytes, type_: type[T]) -> T:
        if status != 200:
            problem = failure(what, status, headers, body, self._clock.wall_ms())
            raise BearerRefused(str(problem)) if status == 401 else problem
        try:
            return decode(body, type_)
        except ContractError as error:
            raise Retryable(f"{what}: the answer is malformed: {error}") from None

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        data: bytes | dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        token: str | None = None,
        timeout: float = TIMEOUT,
    ) -> tuple[int, Mapping[str, str], bytes]:
        headers = dict(headers or {})
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        problem: Retryable | None = None
        for url in list(self._urls):
            try:
                async with self._open().request(
                    method,
                    url + path,
                    data=data,
                    headers=headers,
                    allow_redirects=False,  # an assertion or token goes to the configured host alone
                    timeout=aiohttp.ClientTimeout(total=timeout),
                    proxy=through(self._endpoint, url),
                ) as answer:
                    body = await read_limited(answer, MAX_ANSWER)
                    self._note_time(answer.headers)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                problem = _unreachable(url, error)
                continue
            if url != self._urls[0]:
                self._urls.remove(url)
                self._urls.insert(0, url)
            return answer.status, answer.headers, body
        assert problem is not None
        raise problem

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            connector = aiohttp.TCPConnector(ssl=self._tls, limit=8, keepalive_timeout=30)
            self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return self._session

    def _note_time(self, headers: Mapping[str, str]) -> None:
        try:
            self._heard(round(parsedate_to_datetime(headers.get("Date", "")).timestamp() * 1000))
        except (ArithmeticError, TypeError, ValueError):  # numbers without end are an OverflowError
            return


def _unreachable(url: str, error: Exception) -> Retryable:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        inner = error.certificate_error
        if isinstance(inner, ssl.SSLCertVerificationError):
            if inner.verify_code in CERTIFICATE_TIME_CODES:
                return ClockSuspect(f"{url}: {inner.verify_message}")
            return Retryable(f"{url}: certificate refused: {inner.verify_message}")
    return Retryable(f"{url}: {cause(error)}")
