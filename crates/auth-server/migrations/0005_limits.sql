-- Failed log-ins in a row. A counter is a known browser, by the digest of its device cookie, or one of 65,536 for names in all
-- other browsers. Times are in milliseconds.
CREATE TABLE failures (
    counter TEXT PRIMARY KEY, times INTEGER NOT NULL, last_ms INTEGER NOT NULL);
CREATE INDEX failures_by_age ON failures (last_ms);
-- Registrations of the last hour.
CREATE TABLE registrations (
    address TEXT NOT NULL, registered_at INTEGER NOT NULL);
CREATE INDEX registrations_by_address ON registrations (address, registered_at);
CREATE INDEX registrations_by_age ON registrations (registered_at);
