"""When this node's leaf certificates end, as its API server shows: all were made when its was. Touches that port."""

from __future__ import annotations

import asyncio
import ssl

from edge_commander.rotation.plan import Life

SECONDS = 5.0


async def life(address: str, port: int = 6443) -> Life | None:
    """The life of the certificate that the server at that address shows; None where it shows none. It is only looked
    at, nothing is believed of it: at worst a renewal comes early."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        async with asyncio.timeout(SECONDS):
            _, writer = await asyncio.open_connection(address, port, ssl=context)
    except (OSError, TimeoutError):
        return None
    try:
        data = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.close()
    return _read(data) if data else None


def _read(data: bytes) -> Life | None:
    from cryptography import x509

    try:
        certificate = x509.load_der_x509_certificate(data)
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except ValueError:
        return None
    return Life(int(begin.timestamp() * 1000), int(end.timestamp() * 1000))
