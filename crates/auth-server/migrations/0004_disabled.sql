-- A person who is disabled cannot log in, and keeps everything else.
ALTER TABLE users ADD COLUMN disabled INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN last_log_in INTEGER;
