-- What is read into the store, what hooks told, what the user decided.

CREATE TABLE imports (
    user_key    uuid NOT NULL REFERENCES users,
    path        text NOT NULL,
    host        text NOT NULL,
    file_id     text NOT NULL,                    -- device and inode
    size_bytes  bigint NOT NULL,
    modified_ns bigint NOT NULL,
    "offset"    bigint NOT NULL,                  -- where to read on
    kept        bigint NOT NULL,
    skipped     text NOT NULL,                    -- {reason: lines}
    failed      text NOT NULL,                    -- [[line, error]]
    settled     text NOT NULL,                    -- of these, what is before the offset
    imported_at bigint NOT NULL,
    PRIMARY KEY (user_key, path)
);
CREATE INDEX imports_by_file ON imports (user_key, file_id);

CREATE TABLE syncs (
    user_key uuid PRIMARY KEY REFERENCES users,
    ended_at bigint NOT NULL,
    error    text                                 -- why the last one did not come to its end; null where it did
);

-- A fact keeps its words only until it is told: then they are the message's, and scrubbed with it.
CREATE TABLE facts (
    user_key     uuid NOT NULL REFERENCES users,
    fact_key     bigint NOT NULL,
    fact_id      text NOT NULL,                   -- by the host's own ids: the same event is heard once
    source       text NOT NULL,
    session_id   text NOT NULL,                   -- the host's own
    kind         text NOT NULL,
    turn         text,                            -- the host's id of the turn: prompt, turn or generation
    tool_call_id text,
    tool_name    text,
    arguments    text,
    text         text,                            -- scrubbed already, as all that is stored
    digest       bytea,                           -- of the words as they came, spaces aside
    is_error     integer NOT NULL DEFAULT 0,
    duration_ms  bigint,
    at           bigint NOT NULL,
    project      text,
    model        text,
    run_id       text,                            -- the run that its turn was found to be
    told         integer NOT NULL DEFAULT 0,      -- it was merged, or dropped by policy: never again
    message_key  bigint,                          -- the message that tells it
    tried        bigint NOT NULL DEFAULT 0,
    heard_at     bigint NOT NULL,
    PRIMARY KEY (user_key, fact_key),
    UNIQUE (user_key, fact_id)
);
CREATE INDEX facts_by_session ON facts (user_key, session_id, source);
CREATE INDEX facts_waiting ON facts (user_key, tried) WHERE told = 0;
CREATE INDEX facts_by_message ON facts (user_key, message_key) WHERE message_key IS NOT NULL;

CREATE TABLE captures (
    user_key    uuid NOT NULL REFERENCES users,
    host        text NOT NULL,                    -- `unknown` and `unreadable` are counted too
    payloads    bigint NOT NULL,
    event       text,                             -- of the last one
    captured_at bigint NOT NULL,
    PRIMARY KEY (user_key, host)
);

CREATE TABLE named_transcripts (
    user_key uuid NOT NULL REFERENCES users,
    path     text NOT NULL,
    named_at bigint NOT NULL,
    PRIMARY KEY (user_key, path)
);

-- Nothing that is written from `since` until before `until` is ever read. A user's pauses do not overlap.
CREATE TABLE pauses (
    user_key uuid NOT NULL REFERENCES users,
    since    bigint NOT NULL,
    until    bigint,                              -- null while nobody has resumed
    measured integer NOT NULL DEFAULT 0,          -- whether paused_files was completed after its end
    PRIMARY KEY (user_key, since)
);

-- Files of hosts that write no times: how long each was when a pause began and when it ended.
CREATE TABLE paused_files (
    user_key    uuid NOT NULL REFERENCES users,
    path        text NOT NULL,
    since       bigint NOT NULL,                  -- of the pause
    beginning   text NOT NULL,                    -- a digest of the first line: another file may take the name
    began_bytes bigint NOT NULL,
    ended_bytes bigint,                           -- null until the pause is over; what lies between is never read
    PRIMARY KEY (user_key, path, since)
);

-- Runs that an import left out, whole or in part, and why. Digests are keyed: no id can be read here.
CREATE TABLE left_out (
    user_key uuid NOT NULL REFERENCES users,
    session  bytea NOT NULL,
    run      bytea NOT NULL,
    source   text NOT NULL,
    reason   text NOT NULL,
    rules    text NOT NULL,                       -- the exclusions of that time; empty where a pause was the reason
    messages bigint NOT NULL,
    PRIMARY KEY (user_key, session, run)
);
