-- Texts are sorted by their bytes, as in SQLite.
CREATE TABLE notes (
    id TEXT COLLATE "C" PRIMARY KEY, iss TEXT COLLATE "C" NOT NULL, sub TEXT COLLATE "C" NOT NULL, username TEXT NOT NULL,
    text TEXT NOT NULL, created_at TEXT COLLATE "C" NOT NULL);
CREATE INDEX notes_in_order ON notes (iss, sub, created_at, id);
