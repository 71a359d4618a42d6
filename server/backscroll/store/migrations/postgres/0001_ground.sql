-- The ground on Postgres. Every key begins with the user, so that the tables shard by user: `user_key` is made
-- from the user's id alone (ids.user_tag), and no statement has to look it up.
-- Keys within a user come from counters on the user's row. Whoever writes for a user holds that row until COMMIT, so
-- keys grow in the order of commits: what a cursor remembers as "up to here" stays true.
-- Times are UTC milliseconds. JSON is text: what was said comes back as it was said, key by key.

CREATE TABLE meta (
    name  text PRIMARY KEY,
    value bytea NOT NULL
);

CREATE TABLE users (
    user_key         uuid PRIMARY KEY,
    user_id          text NOT NULL,
    changes          bigint NOT NULL DEFAULT 0,   -- grows with every write: what others watch
    last_number      bigint NOT NULL DEFAULT 0,   -- of sessions; never goes back
    last_session_key bigint NOT NULL DEFAULT 0,
    last_run_key     bigint NOT NULL DEFAULT 0,
    last_message_key bigint NOT NULL DEFAULT 0,
    last_call_key    bigint NOT NULL DEFAULT 0,
    last_media_key   bigint NOT NULL DEFAULT 0,
    last_fact_key    bigint NOT NULL DEFAULT 0,
    last_vector_key  bigint NOT NULL DEFAULT 0
);

CREATE TABLE sessions (
    user_key         uuid NOT NULL REFERENCES users,
    session_key      bigint NOT NULL,
    session_id       text NOT NULL,
    number           bigint NOT NULL,
    title            text,
    renamed          integer NOT NULL DEFAULT 0,  -- by the user: no transcript names it again
    opening          text,                        -- first words of the first user message
    project          text,
    source           text NOT NULL,
    agent            text,                        -- of the newest run that named one
    state            text NOT NULL DEFAULT '{}',
    metadata         text NOT NULL DEFAULT '{}',
    metrics          text NOT NULL DEFAULT '{}',  -- sums over the runs
    archived         integer NOT NULL DEFAULT 0,
    parent_key       bigint,                      -- of a fork
    fork_seq         bigint,                      -- the last shared message
    messages         bigint NOT NULL DEFAULT 0,
    history_messages bigint NOT NULL DEFAULT 0,
    runs             bigint NOT NULL DEFAULT 0,
    tool_calls       bigint NOT NULL DEFAULT 0,
    last_seq         bigint NOT NULL DEFAULT 0,
    last_run_index   bigint NOT NULL DEFAULT 0,
    last_message_key bigint NOT NULL DEFAULT 0,
    system_digest    bytea,                       -- of the newest system message received
    summary_error    text,
    created_at       bigint NOT NULL,
    updated_at       bigint NOT NULL,
    last_activity_at bigint NOT NULL,             -- time of the newest message, as its source tells it
    PRIMARY KEY (user_key, session_key),
    UNIQUE (user_key, session_id),
    UNIQUE (user_key, number),
    FOREIGN KEY (user_key, parent_key) REFERENCES sessions (user_key, session_key)
);
CREATE INDEX sessions_by_activity ON sessions (user_key, last_activity_at, session_key);
CREATE INDEX sessions_by_project ON sessions (user_key, project, last_activity_at);
CREATE INDEX sessions_by_newest_message ON sessions (user_key, last_message_key);
CREATE INDEX sessions_by_parent ON sessions (user_key, parent_key) WHERE parent_key IS NOT NULL;

CREATE TABLE runs (
    user_key       uuid NOT NULL,
    run_key        bigint NOT NULL,
    session_key    bigint NOT NULL,
    run_id         text NOT NULL,
    run_index      bigint NOT NULL,
    parent_run_id  text,
    status         text NOT NULL,
    agent          text,
    model          text,
    metrics        text,
    metadata       text,
    history_count  bigint NOT NULL DEFAULT 0,     -- messages of the newest sending that were history
    history_digest bytea,
    first_seq      bigint,
    last_seq       bigint,
    started_at     bigint,
    ended_at       bigint,
    created_at     bigint NOT NULL,
    source         text NOT NULL DEFAULT '',      -- how it came; empty: as its session
    imported       integer NOT NULL DEFAULT 0,
    opening        bytea,                         -- the first bytes of the digest of what was said first
    PRIMARY KEY (user_key, run_key),
    UNIQUE (user_key, run_id),
    UNIQUE (user_key, session_key, run_index),
    FOREIGN KEY (user_key, session_key) REFERENCES sessions ON DELETE CASCADE
);
CREATE INDEX runs_top_level ON runs (user_key, session_key, run_index) WHERE parent_run_id IS NULL;
CREATE INDEX runs_by_opening ON runs (user_key, session_key, imported, source, opening) WHERE opening IS NOT NULL;

CREATE TABLE messages (
    user_key     uuid NOT NULL,
    message_key  bigint NOT NULL,
    session_key  bigint NOT NULL,
    run_key      bigint NOT NULL,
    seq          bigint NOT NULL,
    role         text NOT NULL,
    from_history integer NOT NULL DEFAULT 0,
    text         text NOT NULL,
    reasoning    text,
    tool_call_id text,
    tool_name    text,
    is_error     integer NOT NULL DEFAULT 0,
    payload      text,
    created_at   bigint NOT NULL,
    PRIMARY KEY (user_key, message_key),
    UNIQUE (user_key, session_key, seq),
    FOREIGN KEY (user_key, session_key) REFERENCES sessions ON DELETE CASCADE
);

CREATE TABLE tool_calls (
    user_key     uuid NOT NULL,
    call_key     bigint NOT NULL,
    session_key  bigint NOT NULL,
    run_key      bigint NOT NULL,
    message_key  bigint,                          -- the assistant message; null where it was not stored
    result_key   bigint,                          -- the tool message; its text is the result
    ordinal      bigint NOT NULL,
    tool_call_id text NOT NULL,
    tool_name    text NOT NULL,
    arguments    text,
    status       text NOT NULL,
    duration_ms  bigint,
    called_at    bigint NOT NULL,
    from_history integer NOT NULL DEFAULT 0,      -- a copy in a stored history message: no call of its own
    PRIMARY KEY (user_key, call_key),
    FOREIGN KEY (user_key, session_key) REFERENCES sessions ON DELETE CASCADE
);
CREATE INDEX tool_calls_by_user ON tool_calls (user_key, called_at, call_key);
CREATE INDEX tool_calls_by_session ON tool_calls (user_key, session_key, called_at, call_key);
CREATE INDEX tool_calls_by_message ON tool_calls (user_key, message_key, ordinal) WHERE message_key IS NOT NULL;
CREATE INDEX tool_calls_open ON tool_calls (user_key, session_key, tool_call_id) WHERE status = 'pending';
CREATE INDEX tool_calls_by_result ON tool_calls (user_key, result_key) WHERE result_key IS NOT NULL;

-- What each run received, in order, whether it was stored or not: the memory of record_run.
CREATE TABLE digests (
    user_key  uuid NOT NULL,
    run_key   bigint NOT NULL,
    position  bigint NOT NULL,
    digest    bytea NOT NULL,
    seq       bigint NOT NULL,                    -- of the message; where it was not stored, the last one before it
    stored    integer NOT NULL,
    is_system integer NOT NULL,
    PRIMARY KEY (user_key, run_key, position),
    FOREIGN KEY (user_key, run_key) REFERENCES runs ON DELETE CASCADE
);

CREATE TABLE media (
    user_key   uuid NOT NULL REFERENCES users,
    media_key  bigint NOT NULL,
    sha256     bytea NOT NULL,                    -- of the bytes; of the URL where only that was given
    mime_type  text NOT NULL,
    size_bytes bigint NOT NULL,
    data       bytea,
    url        text,
    PRIMARY KEY (user_key, media_key),
    UNIQUE (user_key, sha256)
);

CREATE TABLE message_media (
    user_key    uuid NOT NULL,
    message_key bigint NOT NULL,
    ordinal     bigint NOT NULL,
    media_key   bigint NOT NULL,
    PRIMARY KEY (user_key, message_key, ordinal),
    FOREIGN KEY (user_key, message_key) REFERENCES messages ON DELETE CASCADE,
    FOREIGN KEY (user_key, media_key) REFERENCES media
);
CREATE INDEX message_media_by_media ON message_media (user_key, media_key);

CREATE TABLE summaries (
    user_key    uuid NOT NULL,
    session_key bigint NOT NULL,
    version     bigint NOT NULL,
    summary     text NOT NULL,
    topics      text NOT NULL,
    made_by     text NOT NULL,
    first_seq   bigint NOT NULL,
    last_seq    bigint NOT NULL,
    digest      bytea NOT NULL,
    created_at  bigint NOT NULL,
    PRIMARY KEY (user_key, session_key, version),
    FOREIGN KEY (user_key, session_key) REFERENCES sessions ON DELETE CASCADE
);

-- The ways in which a session's runs came, and the runs that came more than one way (store/meeting.py).
CREATE TABLE session_ways (
    user_key    uuid NOT NULL,
    session_key bigint NOT NULL,
    source      text NOT NULL,                    -- empty: the session's own
    imported    integer NOT NULL,
    PRIMARY KEY (user_key, session_key, source, imported),
    FOREIGN KEY (user_key, session_key) REFERENCES sessions ON DELETE CASCADE
);

CREATE TABLE tellings (
    user_key    uuid NOT NULL,
    run_id      text NOT NULL,
    run_key     bigint NOT NULL,
    session_key bigint NOT NULL,
    source      text NOT NULL,
    imported    integer NOT NULL,
    metrics     text NOT NULL,
    upto        bigint NOT NULL,                  -- of what was said in the run, system and tools aside: so much was told
    PRIMARY KEY (user_key, run_id),
    FOREIGN KEY (user_key, run_key) REFERENCES runs ON DELETE CASCADE
);
CREATE INDEX tellings_by_run ON tellings (user_key, run_key);
CREATE INDEX tellings_by_way ON tellings (user_key, session_key, source, imported, run_key);

-- What was deleted, so that no import brings it back. The digest is keyed: the id cannot be read here.
CREATE TABLE tombstones (
    user_key    uuid NOT NULL REFERENCES users,
    source      text NOT NULL,
    digest      bytea NOT NULL,
    deleted_at  bigint NOT NULL,
    said_before bigint,                           -- where set, only what was said before that moment stays out
    PRIMARY KEY (user_key, source, digest)
);

-- How many secrets of which kind were taken out of a user's texts, before they were stored or since. Never which.
CREATE TABLE redactions (
    user_key    uuid NOT NULL REFERENCES users,
    kind        text NOT NULL,
    count       bigint NOT NULL,
    redacted_at bigint NOT NULL,                  -- the newest of them
    PRIMARY KEY (user_key, kind)
);
