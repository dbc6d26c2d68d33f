"""Tokens: one request for all who ask, renewal at two thirds, refusals, by a clock that turns by hand."""

import asyncio

import msgspec
import pytest
from commander_fakes import NOW_MS, FakeClock, FakeCloud

from agents.contracts.identity import Role
from agents.core.assertion import check_assertion
from agents.core.errors import Rejected, Retryable
from agents.core.jose import SoftwareKey
from edge_commander.cloud import TokenRefused
from edge_commander.tokens import Tokens

NODE, ISSUER = "n-abcdefghij234567", "https://issuer.example"


class Bench:
    def __init__(self) -> None:
        self.clock, self.key = FakeClock(), SoftwareKey.generate()
        self.cloud = FakeCloud(self.clock, NODE)
        self.shift = 0
        self.tokens = Tokens(self.cloud, ISSUER, self.clock, self.now_s, lambda a, b: (a + b) / 2)

    def now_s(self) -> int:
        return self.clock.wall_ms() // 1000 + self.shift

    def known(self) -> "Bench":
        self.tokens.known_as(NODE, self.key)
        return self


async def test_nobody_gets_one_before_enrolment() -> None:
    bench = Bench()
    with pytest.raises(Retryable, match="not enrolled"):
        await bench.tokens.get(Role.VESSEL)
    assert bench.cloud.forms == []
    bench.known()
    assert (await bench.tokens.get(Role.VESSEL)).access_token == "token-1"


async def test_the_assertion_is_what_the_endpoint_checks() -> None:
    bench = Bench().known()
    await bench.tokens.get(Role.HEARTBEAT)
    await bench.tokens.get(Role.COMMANDER)
    first, second = (
        check_assertion(form["client_assertion"], NODE, bench.key.public, ISSUER, NOW_MS // 1000)
        for form in bench.cloud.forms
    )
    assert first.jti != second.jti and len(first.jti) >= 22
    assert first.exp - first.iat <= 60
    assert [form["scope"] for form in bench.cloud.forms] == ["heartbeat:write", "command:read"]


async def test_a_hundred_who_ask_make_one_request() -> None:
    bench = Bench().known()
    bench.cloud.hold = asyncio.Event()
    asked = [asyncio.create_task(bench.tokens.get(Role.VESSEL)) for _ in range(100)]
    await asyncio.sleep(0)
    bench.cloud.hold.set()
    assert {(await task).access_token for task in asked} == {"token-1"}
    assert len(bench.cloud.forms) == 1


async def test_one_who_leaves_does_not_take_the_others_with_him() -> None:
    bench = Bench().known()
    bench.cloud.hold = asyncio.Event()
    asked = [asyncio.create_task(bench.tokens.get(Role.VESSEL)) for _ in range(2)]
    await asyncio.sleep(0)
    asked[0].cancel()
    await asyncio.gather(asked[0], return_exceptions=True)
    bench.cloud.hold.set()
    assert (await asked[1]).access_token == "token-1"


async def test_a_failure_is_shared_and_not_repeated_at_once() -> None:
    bench = Bench().known()
    bench.cloud.error = Retryable("no answer")
    for _ in range(50):
        with pytest.raises(Retryable) as error:
            await bench.tokens.get(Role.VESSEL)
    assert error.value.retry_after >= 1.0
    assert len(bench.cloud.forms) == 1
    bench.cloud.error = None
    bench.clock.now += 60
    assert (await bench.tokens.get(Role.VESSEL)).access_token == "token-2"


async def test_renewed_at_two_thirds_while_the_old_one_is_handed_out() -> None:
    bench = Bench().known()
    assert (await bench.tokens.get(Role.VESSEL)).expires_in == 600
    bench.clock.now += 390
    assert (await bench.tokens.get(Role.VESSEL)).expires_in == 210
    assert len(bench.cloud.forms) == 1
    bench.clock.now += 20
    assert (await bench.tokens.get(Role.VESSEL)).access_token == "token-1"
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})  # the renewal, which signs in a thread
    assert (await bench.tokens.get(Role.VESSEL)).access_token == "token-2"


async def test_offline_the_old_one_serves_until_it_ends() -> None:
    bench = Bench().known()
    await bench.tokens.get(Role.VESSEL)
    bench.cloud.error = Retryable("no answer")
    bench.clock.now += 590
    assert (await bench.tokens.get(Role.VESSEL)).expires_in == 10
    bench.clock.now += 6
    with pytest.raises(Retryable):
        await bench.tokens.get(Role.VESSEL)


async def test_past_the_cache_but_not_as_a_hammer() -> None:
    bench = Bench().known()
    await bench.tokens.get(Role.VESSEL)
    assert (await bench.tokens.get(Role.VESSEL, past_cache=True)).access_token == "token-1"
    bench.clock.now += 6
    assert (await bench.tokens.get(Role.VESSEL, past_cache=True)).access_token == "token-2"
    bench.clock.now += 6
    bench.cloud.error = Retryable("no answer")
    with pytest.raises(Retryable):
        await bench.tokens.get(Role.VESSEL, past_cache=True)
    assert (await bench.tokens.get(Role.VESSEL)).access_token == "token-2"  # the others keep theirs


async def test_a_refusal_is_remembered_until_the_endpoint_knows_us() -> None:
    bench = Bench().known()
    bench.cloud.error = TokenRefused("invalid_client")
    with pytest.raises(Retryable):
        await bench.tokens.get(Role.VESSEL)
    assert bench.tokens.refused
    bench.cloud.error = None
    bench.tokens.accepted()
    assert (await bench.tokens.get(Role.VESSEL)).access_token == "token-2" and not bench.tokens.refused


async def test_a_refusal_that_tells_the_time_is_followed_by_a_right_assertion() -> None:
    bench = Bench().known()
    bench.shift = -86_400
    asked = bench.cloud.token

    async def token(form: dict[str, str]) -> object:
        if len(bench.cloud.forms) == 0:
            bench.cloud.forms.append(dict(form))
            bench.shift = 0  # the answer's Date
            raise TokenRefused("exp")
        return await asked(form)

    bench.cloud.token = token
    assert (await bench.tokens.get(Role.VESSEL)).access_token == "token-2"
    assert not bench.tokens.refused


async def test_another_scope_than_the_roles_is_not_handed_out() -> None:
    bench = Bench().known()
    bench.cloud.scope = "deploy:report admin"
    with pytest.raises(Rejected, match="scope"):
        await bench.tokens.get(Role.VESSEL)


async def test_the_git_credential_comes_with_vessels_token_and_is_shared() -> None:
    bench = Bench().known()
    found = await asyncio.gather(*(bench.tokens.git_credential() for _ in range(20)))
    assert {one.password for one in found} == {"token-1"}
    assert [form["scope"] for form in bench.cloud.forms] == ["deploy:report"]
    assert "token-1" not in repr(found[0]) and "token-1" not in repr(await bench.tokens.get(Role.VESSEL))
    assert msgspec.json.encode(found[0]).count(b"token-1") == 1
