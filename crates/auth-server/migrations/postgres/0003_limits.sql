-- As migrations/0005_limits.sql.
CREATE TABLE failures (
    counter TEXT PRIMARY KEY, times BIGINT NOT NULL, last_ms BIGINT NOT NULL);
CREATE INDEX failures_by_age ON failures (last_ms);
CREATE TABLE registrations (
    address TEXT NOT NULL, registered_at BIGINT NOT NULL);
CREATE INDEX registrations_by_address ON registrations (address, registered_at);
CREATE INDEX registrations_by_age ON registrations (registered_at);
