"""`pkcs11:` URIs of RFC 7512: what is taken, what is refused, and that no PIN is ever repeated. Pure."""

from __future__ import annotations

from dataclasses import fields

import pytest

from agents.core.errors import Rejected
from cloud_endpoint.signing.pkcs11_uri import TokenKey, parse

MODULE = "module-path=/usr/lib/m.so"


def test_what_a_uri_names() -> None:
    uri = "pkcs11:token=The%20ops%3B;serial=1;manufacturer=m;model=n;object=%C3%A4;id=%01%ff;slot-id=3;type=private"
    found = parse(f"{uri}?{MODULE}&pin-source=file:///run/pin")
    assert found == TokenKey(
        token="The ops;",
        serial="1",
        manufacturer="m",
        model="n",
        object="\u00e4",
        id=b"\x01\xff",
        slot=3,
        module="/usr/lib/m.so",
        pin_file="/run/pin",
    )
    assert all(getattr(found, one.name) for one in fields(found))  # nothing that this test forgot
    assert str(found) == "pkcs11:token=The ops;;serial=1;manufacturer=m;model=n;object=\u00e4;id=01ff;slot-id=3"


@pytest.mark.parametrize("source", ["/run/pin", "file:/run/pin", "file:///run/pin", "%2Frun%2Fpin"])
def test_the_file_with_the_pin(source: str) -> None:
    assert parse(f"pkcs11:id=%01?{MODULE}&pin-source={source}").pin_file == "/run/pin"


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("pkcs11:", "names no key"),
        ("pkcs11:token=a", "names no key"),
        ("pkcs11:object=", "names no key"),
        ("pkcs11:id=", "names no key"),
        ("pkcs11:object=a;object=b", "object stands twice"),
        ("pkcs11:object=a;x-vendor=b", "x-vendor is not known here"),
        ("pkcs11:object=a;token", "token is not known here"),
        ("pkcs11:object=a;type=public", "type can only be private"),
        ("pkcs11:object=a;slot-id=x", "slot-id must be a number"),
        ("pkcs11:object=a;slot-id=99999999999999999999", "slot-id must be a number"),
        ("pkcs11:object=%ff", "object is not text"),
        ("pkcs11:object=a%1b", "object is not text"),
    ],
)
def test_what_is_wrong_with_a_uri(uri: str, problem: str) -> None:
    with pytest.raises(Rejected) as refused:
        parse(f"{uri}?{MODULE}")
    assert problem in str(refused.value)


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("", "?module-path=/PATH is needed"),
        ("module-path=m.so", "?module-path=/PATH is needed"),
        ("module-name=m", "module-name is not known here"),
        (f"{MODULE}&pin-source=|cat%20pin", "pin-source must be a file"),
        (f"{MODULE}&pin-source=", "pin-source must be a file"),
        (f"{MODULE}&pin-value=73917391", "a PIN does not belong on a command line"),
    ],
)
def test_what_is_wrong_with_its_query(query: str, problem: str) -> None:
    with pytest.raises(Rejected) as refused:
        parse(f"pkcs11:object=a?{query}")
    assert problem in str(refused.value)
    assert "73917391" not in str(refused.value)


def test_all_is_said_at_once() -> None:
    with pytest.raises(Rejected) as refused:
        parse("pkcs11:type=cert;slot-id=-1?pin-value=1")
    assert str(refused.value).count(";") == 4
