-- What migrations/0003_families.sql has come to. Columns that are sorted by are sorted by bytes, as in SQLite.
CREATE TABLE users (
    sub TEXT PRIMARY KEY, name TEXT COLLATE "C" NOT NULL UNIQUE, hash TEXT NOT NULL, roles TEXT NOT NULL);
CREATE TABLE clients (
    id TEXT PRIMARY KEY, secret_digest TEXT, metadata TEXT NOT NULL, created_at BIGINT NOT NULL, used_at BIGINT NOT NULL);
CREATE TABLE sessions (
    digest TEXT PRIMARY KEY, "user" TEXT NOT NULL, expires_at BIGINT NOT NULL);
-- SQLite has a rowid by itself: it says which came first.
CREATE TABLE devices (
    rowid BIGINT GENERATED ALWAYS AS IDENTITY, digest TEXT PRIMARY KEY, sub TEXT NOT NULL, expires_at BIGINT NOT NULL);
CREATE TABLE families (
    id TEXT PRIMARY KEY, client_id TEXT NOT NULL, "user" TEXT NOT NULL, scope TEXT NOT NULL, resource TEXT NOT NULL,
    revoked BOOLEAN NOT NULL DEFAULT FALSE, expires_at BIGINT NOT NULL, refresh_digest TEXT);
CREATE TABLE codes (
    digest TEXT PRIMARY KEY, family TEXT NOT NULL, redirect_uri TEXT NOT NULL, code_challenge TEXT NOT NULL,
    used BOOLEAN NOT NULL DEFAULT FALSE, expires_at BIGINT NOT NULL);
CREATE TABLE consents (
    "user" TEXT NOT NULL, client_id TEXT NOT NULL, resource TEXT NOT NULL, scope TEXT NOT NULL, given_at BIGINT NOT NULL,
    PRIMARY KEY ("user", client_id, resource));
CREATE TABLE assertions (
    digest TEXT PRIMARY KEY, expires_at BIGINT NOT NULL);
CREATE TABLE secrets (
    name TEXT PRIMARY KEY, value BYTEA NOT NULL);
CREATE INDEX devices_by_sub ON devices (sub);
CREATE INDEX devices_by_expiry ON devices (expires_at);
CREATE INDEX families_by_client ON families (client_id);
CREATE INDEX families_by_user ON families ("user");
CREATE INDEX families_by_expiry ON families (expires_at);
CREATE INDEX codes_by_expiry ON codes (expires_at);
CREATE INDEX sessions_by_user ON sessions ("user");
CREATE INDEX sessions_by_expiry ON sessions (expires_at);
CREATE INDEX consents_by_age ON consents (given_at);
CREATE INDEX assertions_by_expiry ON assertions (expires_at);
