-- A family has its current refresh token itself: the used ones are known by their signature (src/refresh_token.rs), so that
-- a refresh adds no row. Those that were there have ended: a log-in gives new ones.
DROP TABLE refresh_tokens;
ALTER TABLE families ADD COLUMN refresh_digest TEXT;
CREATE INDEX families_by_client ON families (client_id);
CREATE INDEX families_by_user ON families (user);
CREATE INDEX families_by_expiry ON families (expires_at);
CREATE INDEX codes_by_expiry ON codes (expires_at);
CREATE INDEX sessions_by_user ON sessions (user);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);
CREATE INDEX devices_by_expiry ON devices (expires_at);
CREATE INDEX consents_by_age ON consents (given_at);
CREATE INDEX assertions_by_expiry ON assertions (expires_at);
