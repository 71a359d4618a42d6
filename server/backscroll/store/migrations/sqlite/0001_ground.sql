-- The ground: everything that a session is made of, and the index over it.
-- Rows are joined by integers. An id that is a UUID is 16 bytes, any other id is its text.
-- Times are UTC milliseconds. JSON columns hold only what no other column holds.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE users (
    user_key    INTEGER PRIMARY KEY,
    user_id     TEXT NOT NULL UNIQUE,
    last_number INTEGER NOT NULL DEFAULT 0   -- of sessions; never goes back
) STRICT;

-- Keys that cursors remember are AUTOINCREMENT: a key is never given twice.
CREATE TABLE sessions (
    session_key      INTEGER PRIMARY KEY AUTOINCREMENT,
    user_key         INTEGER NOT NULL REFERENCES users,
    session_id       ANY NOT NULL,
    number           INTEGER NOT NULL,
    title            TEXT,
    renamed          INTEGER NOT NULL DEFAULT 0,  -- by the user: no transcript names it again
    opening          TEXT,                    -- first words of the first user message
    project          TEXT,
    source           TEXT NOT NULL,
    agent            TEXT,                    -- of the newest run that named one
    state            TEXT NOT NULL DEFAULT '{}',
    metadata         TEXT NOT NULL DEFAULT '{}',
    metrics          TEXT NOT NULL DEFAULT '{}',   -- sums over the runs
    archived         INTEGER NOT NULL DEFAULT 0,
    parent_key       INTEGER REFERENCES sessions,  -- of a fork
    fork_seq         INTEGER,                      -- the last shared message
    messages         INTEGER NOT NULL DEFAULT 0,
    history_messages INTEGER NOT NULL DEFAULT 0,
    runs             INTEGER NOT NULL DEFAULT 0,
    tool_calls       INTEGER NOT NULL DEFAULT 0,
    last_seq         INTEGER NOT NULL DEFAULT 0,
    last_run_index   INTEGER NOT NULL DEFAULT 0,
    last_message_key INTEGER NOT NULL DEFAULT 0,
    system_digest    BLOB,                    -- of the newest system message received
    summary_error    TEXT,
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,
    last_activity_at INTEGER NOT NULL,        -- time of the newest message, as its source tells it
    UNIQUE (user_key, session_id),
    UNIQUE (user_key, number)
) STRICT;
CREATE INDEX sessions_by_activity ON sessions (user_key, last_activity_at, session_key);
CREATE INDEX sessions_by_project ON sessions (user_key, project, last_activity_at);
CREATE INDEX sessions_by_newest_message ON sessions (user_key, last_message_key);
CREATE INDEX sessions_by_parent ON sessions (parent_key) WHERE parent_key IS NOT NULL;

CREATE TABLE runs (
    run_key        INTEGER PRIMARY KEY,
    user_key       INTEGER NOT NULL REFERENCES users,
    session_key    INTEGER NOT NULL REFERENCES sessions,
    run_id         ANY NOT NULL,
    run_index      INTEGER NOT NULL,
    parent_run_id  ANY,
    status         TEXT NOT NULL,
    agent          TEXT,
    model          TEXT,
    metrics        TEXT,
    metadata       TEXT,
    history_count  INTEGER NOT NULL DEFAULT 0,  -- messages of the newest sending that were history
    history_digest BLOB,
    first_seq      INTEGER,
    last_seq       INTEGER,
    started_at     INTEGER,
    ended_at       INTEGER,
    created_at     INTEGER NOT NULL,
    UNIQUE (user_key, run_id),
    UNIQUE (session_key, run_index)
) STRICT;
CREATE INDEX runs_top_level ON runs (session_key, run_index) WHERE parent_run_id IS NULL;

CREATE TABLE messages (
    message_key  INTEGER PRIMARY KEY AUTOINCREMENT,
    session_key  INTEGER NOT NULL REFERENCES sessions,
    run_key      INTEGER NOT NULL REFERENCES runs,
    seq          INTEGER NOT NULL,
    role         TEXT NOT NULL,
    from_history INTEGER NOT NULL DEFAULT 0,
    text         TEXT NOT NULL,
    reasoning    TEXT,
    tool_call_id TEXT,
    tool_name    TEXT,
    is_error     INTEGER NOT NULL DEFAULT 0,
    payload      TEXT,
    created_at   INTEGER NOT NULL,
    UNIQUE (session_key, seq)
) STRICT;

CREATE TABLE tool_calls (
    call_key     INTEGER PRIMARY KEY AUTOINCREMENT,
    user_key     INTEGER NOT NULL REFERENCES users,
    session_key  INTEGER NOT NULL REFERENCES sessions,
    run_key      INTEGER NOT NULL REFERENCES runs,
    message_key  INTEGER,                     -- the assistant message; null where it was not stored
    result_key   INTEGER,                     -- the tool message; its text is the result
    ordinal      INTEGER NOT NULL,
    tool_call_id TEXT NOT NULL,
    tool_name    TEXT NOT NULL,
    arguments    TEXT,
    status       TEXT NOT NULL,
    duration_ms  INTEGER,
    called_at    INTEGER NOT NULL,
    from_history INTEGER NOT NULL DEFAULT 0   -- a copy in a stored history message: no call of its own
) STRICT;
CREATE INDEX tool_calls_by_user ON tool_calls (user_key, called_at, call_key);
CREATE INDEX tool_calls_by_session ON tool_calls (session_key, called_at, call_key);
CREATE INDEX tool_calls_by_message ON tool_calls (message_key, ordinal) WHERE message_key IS NOT NULL;
CREATE INDEX tool_calls_open ON tool_calls (session_key, tool_call_id) WHERE status = 'pending';
CREATE INDEX tool_calls_by_result ON tool_calls (result_key) WHERE result_key IS NOT NULL;

-- What each run received, in order, whether it was stored or not: the memory of record_run.
CREATE TABLE digests (
    run_key   INTEGER NOT NULL REFERENCES runs,
    position  INTEGER NOT NULL,
    digest    BLOB NOT NULL,
    seq       INTEGER NOT NULL,               -- of the message; where it was not stored, the last one before it
    stored    INTEGER NOT NULL,
    is_system INTEGER NOT NULL,
    PRIMARY KEY (run_key, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE media (
    media_key  INTEGER PRIMARY KEY,
    user_key   INTEGER NOT NULL REFERENCES users,
    sha256     BLOB NOT NULL,                 -- of the bytes; of the URL where only that was given
    mime_type  TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    data       BLOB,
    url        TEXT,
    UNIQUE (user_key, sha256)
) STRICT;

CREATE TABLE message_media (
    message_key INTEGER NOT NULL REFERENCES messages,
    ordinal     INTEGER NOT NULL,
    media_key   INTEGER NOT NULL REFERENCES media,
    PRIMARY KEY (message_key, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX message_media_by_media ON message_media (media_key);

CREATE TABLE summaries (
    session_key INTEGER NOT NULL REFERENCES sessions,
    version     INTEGER NOT NULL,
    summary     TEXT NOT NULL,
    topics      TEXT NOT NULL,
    made_by     TEXT NOT NULL,
    first_seq   INTEGER NOT NULL,
    last_seq    INTEGER NOT NULL,
    digest      BLOB NOT NULL,
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (session_key, version)
) STRICT, WITHOUT ROWID;

-- What was deleted, so that no import brings it back. The digest is keyed: the id cannot be read here.
CREATE TABLE tombstones (
    user_key   INTEGER NOT NULL REFERENCES users,
    source     TEXT NOT NULL,
    digest     BLOB NOT NULL,
    deleted_at INTEGER NOT NULL,
    PRIMARY KEY (user_key, source, digest)
) STRICT, WITHOUT ROWID;

CREATE TABLE imports (
    user_key    INTEGER NOT NULL REFERENCES users,
    path        TEXT NOT NULL,
    host        TEXT NOT NULL,
    file_id     TEXT NOT NULL,                -- device and inode
    size_bytes  INTEGER NOT NULL,
    modified_ns INTEGER NOT NULL,
    offset      INTEGER NOT NULL,             -- where to read on
    kept        INTEGER NOT NULL,
    skipped     TEXT NOT NULL,                -- {reason: lines}
    failed      TEXT NOT NULL,                -- [[line, error]]
    settled     TEXT NOT NULL,                -- of these, what is before the offset
    imported_at INTEGER NOT NULL,
    PRIMARY KEY (user_key, path)
) STRICT, WITHOUT ROWID;

-- Contentless: the text is in messages, once. What is written here is indexing.py's pure function of
-- the row, and must be handed back to the letter to take a row out again.
CREATE VIRTUAL TABLE search_index USING fts5 (
    text, forms, scope,
    content = '', tokenize = 'unicode61 remove_diacritics 2'
);
-- Merging is done in bounded steps when nobody waits (maintenance.py).
INSERT INTO search_index (search_index, rank) VALUES ('automerge', 0);
