"""TLS contexts, version 1.2 or newer; touches the certificate files that the settings name."""

from __future__ import annotations

import ssl
from pathlib import Path

from agents.core.errors import Rejected
from agents.core.settings import EndpointSettings


def client_context(endpoint: EndpointSettings) -> ssl.SSLContext:
    """Verifies names and chains, against `ca_file` alone where it is set, else the system's store.

    Raises Rejected, which names the file; the caller knows the setting."""
    if endpoint.ca_file is None:
        context = ssl.create_default_context()
    else:
        try:
            context = ssl.create_default_context(cafile=endpoint.ca_file)
        except ssl.SSLError:
            raise Rejected("holds no PEM certificate", file=endpoint.ca_file) from None
        except OSError as error:
            raise Rejected(f"cannot be read: {error.strerror}", file=endpoint.ca_file) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def server_context(certificate: Path, key: Path, client_ca: Path | None = None) -> ssl.SSLContext:
    """Serves `certificate` (PEM chain) with `key`; with `client_ca`, demands client certificates. Raises Rejected."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for file in (certificate, key, *([client_ca] if client_ca else [])):
        try:
            file.open("rb").close()
        except OSError as error:
            raise Rejected(f"cannot be read: {error.strerror}", file=str(file)) from None
    try:
        context.load_cert_chain(certificate, key)
    except (ssl.SSLError, ValueError):
        raise Rejected(f"is no PEM chain that {key} belongs to", file=str(certificate)) from None
    if client_ca is not None:
        try:
            context.load_verify_locations(client_ca)
        except ssl.SSLError:
            raise Rejected("holds no PEM certificate", file=str(client_ca)) from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context
