-- For SQLite and PostgreSQL. Failed log-ins in a row: a counter is a known browser, by the digest of its device cookie, or one
-- of 65,536 for names in all other browsers. Times are in milliseconds.
CREATE TABLE failures (
    counter TEXT PRIMARY KEY, times BIGINT NOT NULL, last_ms BIGINT NOT NULL);
CREATE INDEX failures_by_age ON failures (last_ms);
-- Registrations of the last hour.
CREATE TABLE registrations (
    address TEXT NOT NULL, registered_at BIGINT NOT NULL);
CREATE INDEX registrations_by_address ON registrations (address, registered_at);
CREATE INDEX registrations_by_age ON registrations (registered_at);
