"""The tables, as a list of migrations: number n brings a store from version n to n + 1. Never edited, only appended.

`$SERIAL` stands for the dialect's rising primary key.
"""

from __future__ import annotations

_FIRST = """
CREATE TABLE sites (site TEXT PRIMARY KEY, labels TEXT NOT NULL, atlas TEXT, generation BIGINT NOT NULL,
    created_ms BIGINT NOT NULL);
CREATE TABLE shipping (hardware_id TEXT PRIMARY KEY, node TEXT NOT NULL UNIQUE,
    site TEXT NOT NULL REFERENCES sites (site), name TEXT NOT NULL, address TEXT NOT NULL, proof TEXT NOT NULL,
    code_hash TEXT, code_used_ms BIGINT, code_tries BIGINT NOT NULL DEFAULT 0, created_ms BIGINT NOT NULL,
    UNIQUE (site, name));
CREATE TABLE devices (node TEXT PRIMARY KEY, hardware_id TEXT NOT NULL, site TEXT NOT NULL, name TEXT NOT NULL,
    address TEXT NOT NULL, status TEXT NOT NULL, signing TEXT NOT NULL, signing_kid TEXT NOT NULL,
    sealing TEXT NOT NULL, sealing_kid TEXT NOT NULL, hostname TEXT NOT NULL, hardware TEXT NOT NULL,
    enrolled_ms BIGINT NOT NULL);
CREATE INDEX devices_site ON devices (site);
CREATE TABLE enrolments (id $SERIAL, node TEXT NOT NULL, hardware_id TEXT NOT NULL, status TEXT NOT NULL,
    reason TEXT NOT NULL, signing TEXT NOT NULL, signing_kid TEXT NOT NULL, sealing TEXT NOT NULL,
    sealing_kid TEXT NOT NULL, hostname TEXT NOT NULL, hardware TEXT NOT NULL, source TEXT NOT NULL,
    first_ms BIGINT NOT NULL, last_ms BIGINT NOT NULL, tries BIGINT NOT NULL,
    UNIQUE (node, signing_kid, sealing_kid));
CREATE TABLE operators (name TEXT PRIMARY KEY, key TEXT NOT NULL, kid TEXT NOT NULL, scopes TEXT NOT NULL,
    command_key TEXT, command_kid TEXT, site TEXT, created_ms BIGINT NOT NULL, revoked_ms BIGINT);
CREATE TABLE jtis (client TEXT NOT NULL, jti TEXT NOT NULL, expires_ms BIGINT NOT NULL, PRIMARY KEY (client, jti));
CREATE INDEX jtis_expires ON jtis (expires_ms);
CREATE TABLE revocations (subject TEXT PRIMARY KEY, before_ms BIGINT NOT NULL);
CREATE TABLE login_codes (code_hash TEXT PRIMARY KEY, operator TEXT NOT NULL, expires_ms BIGINT NOT NULL);
CREATE TABLE sessions (id_hash TEXT PRIMARY KEY, operator TEXT NOT NULL, csrf TEXT NOT NULL,
    created_ms BIGINT NOT NULL, expires_ms BIGINT NOT NULL);
CREATE TABLE runs (id $SERIAL, node TEXT NOT NULL, stream TEXT NOT NULL, run TEXT NOT NULL, settled TEXT NOT NULL,
    rejected BIGINT NOT NULL DEFAULT 0, first_ms BIGINT NOT NULL, last_ms BIGINT NOT NULL,
    UNIQUE (node, stream, run));
CREATE TABLE gaps (id $SERIAL, node TEXT NOT NULL, stream TEXT NOT NULL, run TEXT NOT NULL, first BIGINT NOT NULL,
    last BIGINT NOT NULL, kind TEXT NOT NULL, at_ms BIGINT NOT NULL);
CREATE INDEX gaps_node ON gaps (node, id);
CREATE TABLE dead_letters (id $SERIAL, node TEXT NOT NULL, stream TEXT NOT NULL, run TEXT NOT NULL,
    seq BIGINT NOT NULL, at_ms BIGINT NOT NULL, problem TEXT NOT NULL, body TEXT NOT NULL);
CREATE INDEX dead_letters_node ON dead_letters (node, id);
CREATE TABLE node_latest (node TEXT NOT NULL, kind TEXT NOT NULL, site TEXT NOT NULL, run TEXT NOT NULL,
    seq BIGINT NOT NULL, t BIGINT NOT NULL, received_ms BIGINT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (node, kind));
CREATE TABLE deployments (site TEXT NOT NULL, app TEXT NOT NULL, node TEXT NOT NULL, run TEXT NOT NULL,
    seq BIGINT NOT NULL, t BIGINT NOT NULL, received_ms BIGINT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (site, app));
CREATE TABLE synthetics (site TEXT NOT NULL, scenario TEXT NOT NULL, step TEXT NOT NULL, node TEXT NOT NULL,
    run TEXT NOT NULL, seq BIGINT NOT NULL, t BIGINT NOT NULL, received_ms BIGINT NOT NULL,
    seconds DOUBLE PRECISION NOT NULL, body TEXT NOT NULL, PRIMARY KEY (site, scenario, step));
CREATE TABLE history (id $SERIAL, site TEXT NOT NULL, node TEXT NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL,
    t BIGINT NOT NULL, received_ms BIGINT NOT NULL, body TEXT NOT NULL);
CREATE INDEX history_subject ON history (site, kind, key, id);
CREATE INDEX history_age ON history (kind, received_ms);
CREATE TABLE alerts (id $SERIAL, site TEXT NOT NULL, node TEXT NOT NULL, code TEXT NOT NULL, severity TEXT NOT NULL,
    text TEXT NOT NULL, source TEXT NOT NULL, first_ms BIGINT NOT NULL, last_ms BIGINT NOT NULL,
    count BIGINT NOT NULL, UNIQUE (site, node, code, source));
CREATE TABLE commands (node TEXT NOT NULL, sequence BIGINT NOT NULL, site TEXT NOT NULL,
    command_id TEXT NOT NULL UNIQUE, verb TEXT NOT NULL, signed TEXT NOT NULL, by_whom TEXT NOT NULL,
    created_ms BIGINT NOT NULL, expires_ms BIGINT NOT NULL, outcome TEXT, detail TEXT NOT NULL DEFAULT '',
    answered_ms BIGINT, PRIMARY KEY (node, sequence));
CREATE TABLE audit (id $SERIAL, at_ms BIGINT NOT NULL, actor TEXT NOT NULL, source TEXT NOT NULL,
    action TEXT NOT NULL, target TEXT NOT NULL, outcome TEXT NOT NULL, detail TEXT NOT NULL)
"""

_FLOORS = """
CREATE TABLE command_floors (node TEXT PRIMARY KEY, sequence BIGINT NOT NULL)
"""

_FAILED_LOGINS = """
CREATE TABLE failed_logins (source TEXT PRIMARY KEY, audit_id BIGINT NOT NULL, since_ms BIGINT NOT NULL,
    tries BIGINT NOT NULL DEFAULT 1)
"""

_EPOCHS = """
ALTER TABLE sites ADD COLUMN epoch BIGINT NOT NULL DEFAULT 1;
ALTER TABLE sites ADD COLUMN election TEXT NOT NULL DEFAULT 'cloud';
ALTER TABLE sites ADD COLUMN epoch_authorisation TEXT NOT NULL DEFAULT '';
CREATE TABLE init_grants (site TEXT NOT NULL, epoch BIGINT NOT NULL, node TEXT NOT NULL, kid TEXT NOT NULL,
    granted_ms BIGINT NOT NULL, PRIMARY KEY (site, epoch));
CREATE TABLE voters (site TEXT NOT NULL, epoch BIGINT NOT NULL, node TEXT NOT NULL, kid TEXT NOT NULL,
    PRIMARY KEY (site, epoch, node))
"""

_ENDORSEMENT = """
ALTER TABLE shipping ADD COLUMN ek_hash TEXT NOT NULL DEFAULT '';
ALTER TABLE devices ADD COLUMN ek_hash TEXT NOT NULL DEFAULT '';
CREATE TABLE ek_challenges (node TEXT NOT NULL, signing_kid TEXT NOT NULL, sealing_kid TEXT NOT NULL,
    ek_hash TEXT NOT NULL, answer_hash TEXT NOT NULL, made_ms BIGINT NOT NULL, expires_ms BIGINT NOT NULL,
    PRIMARY KEY (node, signing_kid))
"""

_TRUST = """
CREATE TABLE shipping_entries (site TEXT NOT NULL, node TEXT NOT NULL, sequence BIGINT NOT NULL, kids TEXT NOT NULL,
    signed TEXT NOT NULL, bound TEXT, put_ms BIGINT NOT NULL, PRIMARY KEY (site, node));
CREATE TABLE operators_documents (generation BIGINT PRIMARY KEY, signed TEXT NOT NULL, put_ms BIGINT NOT NULL)
"""

_ACCEPTANCES = """
CREATE TABLE acceptances (id $SERIAL, site TEXT NOT NULL, epoch BIGINT NOT NULL, accepted BIGINT NOT NULL,
    checked_ms BIGINT NOT NULL, put_ms BIGINT NOT NULL, signed_by TEXT NOT NULL, kid TEXT NOT NULL,
    signed TEXT NOT NULL, UNIQUE (site, checked_ms))
"""

_ORDERS = """
CREATE TABLE site_orders (site TEXT NOT NULL, kind TEXT NOT NULL, epoch BIGINT NOT NULL, number BIGINT NOT NULL,
    signed TEXT NOT NULL, put_ms BIGINT NOT NULL, PRIMARY KEY (site, kind))
"""

_REBUILDS = """
ALTER TABLE sites ADD COLUMN restore TEXT NOT NULL DEFAULT 'false';
ALTER TABLE init_grants ADD COLUMN begun TEXT NOT NULL DEFAULT '';
ALTER TABLE init_grants ADD COLUMN begun_ms BIGINT NOT NULL DEFAULT 0
"""

_WIPES = """
CREATE TABLE wipe_grants (site TEXT PRIMARY KEY, node TEXT NOT NULL, command_id TEXT NOT NULL,
    granted_ms BIGINT NOT NULL);
CREATE TABLE wipe_refusals (node TEXT PRIMARY KEY, command_id TEXT NOT NULL, why TEXT NOT NULL);
CREATE INDEX commands_by_verb ON commands (verb, created_ms)
"""

MIGRATIONS: tuple[str, ...] = (
    _FIRST,
    _FLOORS,
    _FAILED_LOGINS,
    _EPOCHS,
    _ENDORSEMENT,
    _TRUST,
    _ACCEPTANCES,
    _ORDERS,
    _REBUILDS,
    _WIPES,
)


def statements(migration: str, serial: str) -> list[str]:
    """The single statements of one migration in a dialect."""
    return [part.strip().replace("$SERIAL", serial) for part in migration.split(";") if part.strip()]
