"""The steps against real servers: HTTP and TLS servers on loopback, and a real Mosquitto."""

import asyncio
import contextlib
import datetime
import ssl
import time

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agents.core.errors import Retryable
from agents.core.grid import Grid
from agents.io.clock import SystemClock
from synthetic_client.loop import StepLoop
from synthetic_client.place import Place
from synthetic_client.scenario import Http, Mqtt
from synthetic_client.steps.http import HttpRunner
from synthetic_client.steps.mqtt import MqttRunner
from synthetic_client.tally import Kind, StepFailed, Tally
from tests.site_in_a_box.mosquitto import Mosquitto
from tests.site_in_a_box.ports import free_port

CLOCK = SystemClock()
NODE = "n-aaaaaaaaaaaaaaaa"


async def place():
    return Place(site="store-00001", node=NODE)


async def failed(runner):
    with pytest.raises(StepFailed) as caught:
        async with asyncio.timeout(10):
            await runner.run()
    return caught.value


@contextlib.asynccontextmanager
async def http_server(handler, context=None):
    runner = web.ServerRunner(web.Server(handler), shutdown_timeout=0.1)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
    try:
        yield port
    finally:
        await runner.cleanup()


@pytest.fixture
def broker(tmp_path):
    broker = Mosquitto(tmp_path / "mosquitto", ["store-00001", "store-00002"])
    broker.start()
    yield broker
    broker.stop()
    assert not broker.program.running


@contextlib.asynccontextmanager
async def mqtt(broker, *, site="store-00001", where=place, **options):
    account = broker.clients[site]
    step = Mqtt(
        **{
            "name": "bus",
            "host": broker.host,
            "port": broker.port,
            "username": account.username,
            "password_file": str(account.password_file),
            "timeout_seconds": 3.0,
            **options,
        }
    )
    runner = MqttRunner(step, where, CLOCK)
    try:
        yield runner
    finally:
        await runner.aclose()


# -- HTTP -------------------------------------------------------------------------------------------------------


async def test_http_measures_a_good_answer_and_names_bad_ones():
    async def handler(request):
        return {"/ok": web.Response(text="all well"), "/sick": web.Response(status=503)}.get(
            request.path, web.Response(status=302, headers={"Location": "/ok"})
        )

    async with http_server(handler) as port:
        base = f"http://127.0.0.1:{port}"
        good = HttpRunner(Http(name="a", url=f"{base}/ok", body_contains="well"), CLOCK)
        assert 0 < await good.run() < 3
        assert await HttpRunner(Http(name="a", url=f"{base}/moved", status=[302]), CLOCK).run() > 0
        assert await HttpRunner(Http(name="a", url=f"{base}/ok", method="HEAD"), CLOCK).run() > 0
        error = await failed(HttpRunner(Http(name="a", url=f"{base}/sick"), CLOCK))
        assert (error.kind, str(error)) == (Kind.STATUS, "HTTP 503, wanted 200")
        error = await failed(HttpRunner(Http(name="a", url=f"{base}/ok", body_contains="ill"), CLOCK))
        assert (error.kind, str(error)) == (Kind.BODY, "the body (8 bytes) does not contain the text")
    error = await failed(good)
    assert error.kind is Kind.CONNECT


async def test_http_reads_no_more_than_a_mebibyte_of_an_endless_body():
    async def endless(request):
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(b"x" * 65536)
        return response

    async with http_server(endless) as port:
        error = await failed(HttpRunner(Http(name="a", url=f"http://127.0.0.1:{port}/", body_contains="y"), CLOCK))
    assert str(error) == "the body (1048576 bytes) does not contain the text"


@pytest.fixture
def certificate(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "cert.pem").write_bytes(built.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return tmp_path / "cert.pem", tmp_path / "key.pem"


async def test_tls_is_checked(certificate, tmp_path, monkeypatch):
    async def handler(request):
        return web.Response(text="ok")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    async with http_server(handler, context) as port:
        url, ca = f"https://localhost:{port}/", str(certificate[0])
        assert await HttpRunner(Http(name="a", url=url, ca_file=ca), CLOCK).run() > 0
        assert (await failed(HttpRunner(Http(name="a", url=url), CLOCK))).kind is Kind.TLS
        other_name = Http(name="a", url=f"https://127.0.0.1:{port}/", ca_file=ca)
        assert (await failed(HttpRunner(other_name, CLOCK))).kind is Kind.TLS
        missing = await failed(HttpRunner(Http(name="a", url=url, ca_file=str(tmp_path / "none")), CLOCK))
        assert missing.kind is Kind.TLS and "No such file" in str(missing)
        monkeypatch.setenv("SSL_CERT_FILE", ca)  # where OpenSSL finds the system's
        assert await HttpRunner(Http(name="a", url=url), CLOCK).run() > 0


async def test_a_hanging_server_costs_its_own_step_its_time_and_no_other_anything():
    async def hang(request):
        await asyncio.sleep(60)

    async def handler(request):
        return web.Response()

    class Pulse:
        stopping = False

        def expect(self, seconds):
            pass

        async def sleep(self, seconds):
            await asyncio.sleep(seconds)

    import structlog
    from structlog.testing import capture_logs

    async with http_server(hang) as slow, http_server(handler) as quick:
        with capture_logs():
            loops = [
                StepLoop(
                    HttpRunner(Http(name=name, url=f"http://127.0.0.1:{port}/"), CLOCK),
                    Tally(name, "http"),
                    timeout=0.3,
                    grid=Grid(0.1),
                    clock=CLOCK,
                    log=structlog.get_logger(),
                )
                for name, port in (("hangs", slow), ("works", quick))
            ]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.5):
                    await asyncio.gather(*(loop.run(Pulse()) for loop in loops))
    hangs, works = (loop.tally.result() for loop in loops)
    assert hangs.ok == 0 and 2 <= hangs.failed <= 5 and hangs.errors == {"timeout": hangs.failed}
    assert hangs.latency.count == 0
    assert works.failed == 0 and works.ok >= 6  # three or four, if it waited for the one that hangs


# -- MQTT -------------------------------------------------------------------------------------------------------


async def test_mqtt_publishes_and_receives(broker):
    async with mqtt(broker) as runner:
        seconds = [await runner.run() for _ in range(20)]
    assert all(0 < one < 2 for one in seconds)
    assert len(set(seconds)) > 1


async def test_mqtt_comes_back_after_the_broker_was_killed(broker):
    async with mqtt(broker, timeout_seconds=1.0) as runner:
        assert await runner.run() > 0
        broker.kill()
        errors = [await failed(runner) for _ in range(2)]
        assert {error.kind for error in errors} == {Kind.CONNECT}
        await asyncio.to_thread(broker.start)
        deadline = time.monotonic() + 20
        while True:
            try:
                assert await runner.run() > 0
                break
            except StepFailed:
                assert time.monotonic() < deadline


async def test_mqtt_names_a_wrong_password_and_never_shows_it(broker, tmp_path):
    wrong = tmp_path / "wrong"
    wrong.write_text("hunter2hunter2")
    async with mqtt(broker, password_file=str(wrong), timeout_seconds=1.0) as runner:
        error = await failed(runner)
    assert error.kind is Kind.DENIED and "hunter2" not in str(error)
    async with mqtt(broker, password_file=str(tmp_path / "none"), timeout_seconds=1.0) as runner:
        error = await failed(runner)
    assert error.kind is Kind.WAITING and "No such file" in str(error)


async def test_a_site_s_client_cannot_use_another_site_s_topics(broker):
    async def elsewhere():
        return Place(site="store-00002", node=NODE)

    async with mqtt(broker, where=elsewhere, timeout_seconds=1.0) as runner:
        error = await failed(runner)
    assert error.kind is Kind.DENIED


async def test_mqtt_waits_for_its_site(broker):
    async def nowhere():
        raise Retryable("not enrolled")

    async with mqtt(broker, where=nowhere) as runner:
        error = await failed(runner)
    assert (error.kind, str(error)) == (Kind.WAITING, "the site is unknown so far: not enrolled")


async def test_mqtt_over_tls(certificate, tmp_path):
    broker = Mosquitto(tmp_path / "tls", ["store-00001"], tls=certificate)
    await asyncio.to_thread(broker.start)
    try:
        async with mqtt(broker, host="localhost", tls=True, ca_file=str(certificate[0])) as runner:
            assert await runner.run() > 0
        async with mqtt(broker, host="localhost", tls=True, timeout_seconds=1.0) as runner:
            assert (await failed(runner)).kind is Kind.TLS
    finally:
        await asyncio.to_thread(broker.stop)
