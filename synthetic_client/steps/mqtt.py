"""The MQTT step: publishes to a topic of its own and waits until it comes back (MQTT 5, QoS 1).

One connection is kept and made anew when it breaks, as an app keeps one; a run while there is none fails with
why there is none. Only paho's asynchronous wrapper is used here: aiomqtt.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiomqtt

from agents.core.backoff import Backoff
from agents.core.errors import Retryable
from agents.core.ports import Clock
from synthetic_client.place import Place
from synthetic_client.scenario import Mqtt
from synthetic_client.tally import Kind, StepFailed

_DENIED = frozenset({134, 135, 5})
"""Bad user name or password, not authorized (MQTT 5 section 2.4); 5 is that of MQTT 3.1.1."""
_RETRY = Backoff(base=0.5, cap=15.0)
_MAX_PASSWORD = 4096


class _Client(aiomqtt.Client):
    """aiomqtt drops the broker's reason for refusing a publish (PUBACK, MQTT 5 section 3.4.2.1); this one tells it."""

    refused: Callable[[], None] = staticmethod(lambda: None)

    def _on_publish(self, client: Any, userdata: Any, mid: int, reason_code: Any, properties: Any) -> None:
        if getattr(reason_code, "value", 0) >= 128:
            self.refused()
        super()._on_publish(client, userdata, mid, reason_code, properties)


class MqttRunner:
    """Runs an Mqtt step. `place` tells site and node, raising Retryable while they are unknown."""

    def __init__(self, step: Mqtt, place: Callable[[], Awaitable[Place]], clock: Clock) -> None:
        self._step = step
        self._place = place
        self._clock = clock
        self._link: asyncio.Task[None] | None = None
        self._client: aiomqtt.Client | None = None
        self._connected = asyncio.Event()
        self._why = StepFailed(Kind.CONNECT, "not connected yet")
        self._waiting: dict[str, asyncio.Future[bytes]] = {}
        self._prefix = ""

    async def run(self) -> float:
        """From the publish until the same bytes are received."""
        if self._link is None:
            self._prefix = await self._prefix_of_site()
            self._link = asyncio.create_task(self._keep_connected(), name=f"mqtt {self._step.name}")
        if self._link.done():
            self._link.result()  # a bug, raised where it is seen
        await self._wait_connected()
        topic, sent = f"{self._prefix}/{secrets.token_hex(8)}", secrets.token_bytes(32)
        received: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[topic] = received
        started = self._clock.monotonic()
        try:
            client = self._client
            if client is None:
                raise self._why
            await client.publish(topic, sent, qos=1)
            back = await received
        except aiomqtt.MqttError as error:
            raise _failure(error) from None
        finally:
            self._waiting.pop(topic, None)
            if received.done() and not received.cancelled():
                received.exception()  # looked at, also where the publish failed first
        if back != sent:
            raise StepFailed(Kind.BODY, "other bytes came back")
        return self._clock.monotonic() - started

    async def aclose(self) -> None:
        """Ends the connection."""
        if self._link is not None:
            self._link.cancel()
            await asyncio.wait({self._link}, timeout=1.0)

    async def _wait_connected(self) -> None:
        """Waits three quarters of the step's time, so that the failure names why there is no connection."""
        try:
            async with asyncio.timeout(self._step.timeout_seconds * 0.75):
                await self._connected.wait()
        except TimeoutError:
            raise StepFailed(self._why.kind, str(self._why)) from None

    async def _prefix_of_site(self) -> str:
        try:
            place = await self._place()
        except Retryable as error:
            raise StepFailed(Kind.WAITING, f"the site is unknown so far: {error}") from None
        return self._step.topic_prefix.replace("{site}", place.site).replace("{node}", place.node)

    async def _keep_connected(self) -> None:
        retry = _RETRY
        while True:
            try:
                async with self._new_client() as client:
                    await self._subscribe(client)
                    self._client = client
                    self._connected.set()
                    retry = retry.succeeded()
                    async for message in client.messages:
                        self._take(message)
                self._why = StepFailed(Kind.CONNECT, "the connection ended")
            except StepFailed as error:
                self._why = error
            except (aiomqtt.MqttError, OSError, ValueError) as error:
                self._why = _failure(error)
            finally:
                self._client = None
                self._connected.clear()
                self._fail_waiting(self._why)
            retry = retry.failed()
            await self._clock.sleep(retry.delay(random.uniform))

    def _new_client(self) -> aiomqtt.Client:
        step = self._step
        client = _Client(
            step.host,
            step.port,
            username=step.username or None,
            password=_password(step.password_file) if step.password_file else None,
            protocol=aiomqtt.ProtocolVersion.V5,
            tls_context=_context(step.ca_file) if step.tls else None,
            timeout=step.timeout_seconds,
            keepalive=30,
            max_queued_incoming_messages=100,
        )
        client.refused = self._refused
        return client

    def _refused(self) -> None:
        self._fail_waiting(StepFailed(Kind.DENIED, "the broker refuses the topic"))

    async def _subscribe(self, client: aiomqtt.Client) -> None:
        answer = await client.subscribe(f"{self._prefix}/+", qos=1)
        if any((code if isinstance(code, int) else code.value) >= 128 for code in answer):
            raise StepFailed(Kind.DENIED, "the broker refuses the subscription")

    def _take(self, message: aiomqtt.Message) -> None:
        waiting = self._waiting.get(str(message.topic))
        if waiting is not None and not waiting.done():
            waiting.set_result(bytes(message.payload) if isinstance(message.payload, bytes | bytearray) else b"")

    def _fail_waiting(self, why: StepFailed) -> None:
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(StepFailed(why.kind, str(why)))


def _password(file: str) -> str:
    try:
        with Path(file).open("rb") as stream:
            text = stream.read(_MAX_PASSWORD).decode().rstrip("\r\n")
    except OSError as error:
        raise StepFailed(Kind.WAITING, f"password file {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise StepFailed(Kind.WAITING, f"password file {file}: is no text") from None
    return text


def _context(ca_file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise StepFailed(Kind.TLS, f"{ca_file}: {error.strerror or 'holds no certificate'}") from None


def _failure(error: BaseException) -> StepFailed:
    """Names the cause; aiomqtt wraps the socket's error, or carries the broker's reason code."""
    code = getattr(error, "rc", None)
    value = getattr(code, "value", code)
    if isinstance(value, int) and value in _DENIED:
        return StepFailed(Kind.DENIED, "the broker refuses user name, password or topic")
    inner = error.__cause__ or error.__context__ or error
    with contextlib.suppress(AttributeError):
        if isinstance(inner, ssl.SSLError):
            return StepFailed(Kind.TLS, inner.verify_message if hasattr(inner, "verify_message") else str(inner.reason))
    if isinstance(inner, TimeoutError):
        return StepFailed(Kind.CONNECT, "no answer in time")
    if isinstance(inner, OSError):
        return StepFailed(Kind.CONNECT, inner.strerror or type(inner).__name__)
    return StepFailed(Kind.CONNECT, str(error)[:200] or type(error).__name__)
