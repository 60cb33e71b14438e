-- A person is a `sub` that stays, and has a name. What belongs to the person has the `sub` as its `user`.
ALTER TABLE users RENAME TO users_by_name;
CREATE TABLE users (
    sub TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, hash TEXT NOT NULL, roles TEXT NOT NULL);
INSERT INTO users (sub, name, hash, roles) SELECT 'user_' || name, name, hash, roles FROM users_by_name;
DROP TABLE users_by_name;
UPDATE sessions SET user = 'user_' || user;
UPDATE families SET user = 'user_' || user;
UPDATE consents SET user = 'user_' || user;
CREATE TABLE devices (
    digest TEXT PRIMARY KEY, sub TEXT NOT NULL, expires_at INTEGER NOT NULL);
CREATE INDEX devices_by_sub ON devices (sub);
