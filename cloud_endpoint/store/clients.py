"""SQL of those who log in: operators, used assertion ids, revocations, one-time login codes."""

from __future__ import annotations

from collections.abc import Mapping

from agents.core.errors import Rejected
from agents.core.jose import Jwk, canonical, thumbprint
from cloud_endpoint.records import OperatorRecord
from cloud_endpoint.store.port import Row, Tx
from cloud_endpoint.store.text import dump, record

TOKEN_SECONDS = 600


def add_operator(
    tx: Tx, name: str, key: Jwk, scopes: list[str], *, command_key: Jwk | None = None, site: str | None = None
) -> OperatorRecord:
    """Registers an operator; raises Rejected when the name is taken by another key."""
    public = canonical(key)
    command = None if command_key is None else canonical(command_key)
    if command is not None and command["kty"] != "OKP":
        raise Rejected("a command key must be on Ed25519", path="$.command_key")
    known = operator(tx, name)
    if known is not None and known.revoked_ms is None and known.key != public:
        raise Rejected(f"there is an operator {name!r} with another key: revoke it first", path="$.name")
    tx.execute(
        "INSERT INTO operators (name, key, kid, scopes, command_key, command_kid, site, created_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET key = excluded.key, kid = excluded.kid,"
        " scopes = excluded.scopes, command_key = excluded.command_key, command_kid = excluded.command_kid,"
        " site = excluded.site, revoked_ms = NULL",
        (
            name,
            dump(public),
            thumbprint(public),
            dump(sorted(scopes)),
            None if command is None else dump(command),
            None if command is None else thumbprint(command),
            site,
            tx.now_ms,
        ),
    )
    if known is not None and (known.scopes != sorted(scopes) or known.site != site):
        revoke(tx, f"op:{name}")  # tokens that still carry the old rights end here
    tx.notify("operators")
    found = operator(tx, name)
    assert found is not None
    return found


def operator(tx: Tx, name: str) -> OperatorRecord | None:
    """One operator, revoked or not."""
    rows = tx.execute("SELECT * FROM operators WHERE name = ?", (name,))
    return _operator(rows[0]) if rows else None


def operators(tx: Tx) -> list[OperatorRecord]:
    """All of them by name."""
    return [_operator(row) for row in tx.execute("SELECT * FROM operators ORDER BY name")]


def command_keys(tx: Tx) -> dict[str, Jwk]:
    """The command keys of operators who are not revoked, by thumbprint."""
    found = [o for o in operators(tx) if o.command_key is not None and o.revoked_ms is None]
    return {thumbprint(o.command_key): o.command_key for o in found if o.command_key is not None}


def ended_command_kids(tx: Tx) -> set[str]:
    """Thumbprints of the command keys of operators who are revoked, and of nobody else."""
    found = [o for o in operators(tx) if o.command_key is not None]
    here = {thumbprint(o.command_key) for o in found if o.command_key is not None and o.revoked_ms is None}
    return {thumbprint(o.command_key) for o in found if o.command_key is not None} - here


def revoke_operator(tx: Tx, name: str) -> bool:
    """Ends an operator's rights, sessions and tokens. False when there is none."""
    known = operator(tx, name)
    if known is None or known.revoked_ms is not None:
        return False
    tx.execute("UPDATE operators SET revoked_ms = ? WHERE name = ?", (tx.now_ms, name))
    tx.execute("DELETE FROM sessions WHERE operator = ?", (name,))
    tx.execute("DELETE FROM login_codes WHERE operator = ?", (name,))
    revoke(tx, f"op:{name}")
    tx.notify("operators")
    return True


def revoke(tx: Tx, subject: str) -> None:
    """Access tokens of `subject` issued until now are refused from now on."""
    tx.execute(
        "INSERT INTO revocations (subject, before_ms) VALUES (?, ?)"
        " ON CONFLICT (subject) DO UPDATE SET before_ms = excluded.before_ms",
        (subject, tx.now_ms),
    )
    tx.notify("revocations")


def revocations(tx: Tx) -> Mapping[str, int]:
    """Subject -> Unix ms: its tokens from before that moment are refused. Only those that still matter."""
    oldest = tx.now_ms - (TOKEN_SECONDS + 120) * 1000
    rows = tx.execute("SELECT subject, before_ms FROM revocations WHERE before_ms > ?", (oldest,))
    return {row["subject"]: row["before_ms"] for row in rows}


def use_jti(tx: Tx, client: str, jti: str, expires_ms: int) -> bool:
    """Takes an assertion's id; False when it was used before."""
    rows = tx.execute(
        "INSERT INTO jtis (client, jti, expires_ms) VALUES (?, ?, ?)"
        " ON CONFLICT (client, jti) DO NOTHING RETURNING jti",
        (client, jti, expires_ms),
    )
    return bool(rows)


def add_login_code(tx: Tx, code_hash: str, operator_name: str, seconds: int = 60) -> None:
    """Stores the hash of a one-time login code."""
    tx.execute(
        "INSERT INTO login_codes (code_hash, operator, expires_ms) VALUES (?, ?, ?)",
        (code_hash, operator_name, tx.now_ms + seconds * 1000),
    )


def take_login_code(tx: Tx, code_hash: str) -> str | None:
    """Burns a login code; the operator's name, None when it is unknown, used or too old."""
    rows = tx.execute("DELETE FROM login_codes WHERE code_hash = ? RETURNING operator, expires_ms", (code_hash,))
    if not rows or rows[0]["expires_ms"] <= tx.now_ms:
        return None
    name: str = rows[0]["operator"]
    known = operator(tx, name)
    return name if known is not None and known.revoked_ms is None else None


def _operator(row: Row) -> OperatorRecord:
    return record(OperatorRecord, row, "key", "scopes", "command_key")
