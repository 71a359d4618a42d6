-- The search index: one row for each message that is found by its words, made from it and gone with it.
-- What its words are tells store/indexing.py; how they are spelled here, store/postgres/terms.py: each begins with a tag
-- of its user, so that a search reads no other user's.

CREATE TABLE search_entries (
    user_key    uuid NOT NULL,
    message_key bigint NOT NULL,
    session_key bigint NOT NULL,
    seq         bigint NOT NULL,
    created_at  bigint NOT NULL,
    version     integer NOT NULL,                 -- INDEX_VERSION of what made it
    terms       tsvector NOT NULL,
    PRIMARY KEY (user_key, message_key),
    FOREIGN KEY (user_key, message_key) REFERENCES messages ON DELETE CASCADE
);
-- Every scan reads all that waits to be put in, a millisecond for a megabyte: so it is kept short.
CREATE INDEX search_entries_by_term ON search_entries USING gin (terms) WITH (gin_pending_list_limit = 256);
-- What is frequent with one user is rare with all: the planner is better off with the same guess for each term.
ALTER TABLE search_entries ALTER COLUMN terms SET STATISTICS 0;

-- Of which version all entries are; INDEX_VERSION of another program makes them anew (store/postgres/keeping.py).
INSERT INTO meta (name, value) VALUES ('index_version', '2');

-- How far that is; no row of a user whose entries are all of that version.
CREATE TABLE search_rebuilds (
    user_key    uuid PRIMARY KEY REFERENCES users,
    version     integer NOT NULL,
    message_key bigint NOT NULL                   -- done up to this message
);

-- Vectors of messages, made in the background from their text. A vector goes with its message, and with any change of
-- the text it was made from, whatever statement does it.

-- One row: which model's vectors are here.
CREATE TABLE vector_model (
    only_one   integer PRIMARY KEY CHECK (only_one = 1),
    model      text NOT NULL,                     -- what makes them: another model's are never compared with these
    generation bigint NOT NULL                    -- counts the changes of model; vectors of an older one are stale
);

CREATE TABLE vector_progress (
    user_key   uuid PRIMARY KEY REFERENCES users,
    generation bigint NOT NULL,
    upto       bigint NOT NULL,                   -- messages up to this key have their vector, or need none
    changes    bigint NOT NULL DEFAULT 0          -- of messages that were there already: what was read of them is void
);

-- A user's keys always grow: what a reader has not seen yet is what lies above its last.
CREATE TABLE vectors (
    user_key    uuid NOT NULL,
    vector_key  bigint NOT NULL,
    message_key bigint NOT NULL,
    session_key bigint NOT NULL,
    generation  bigint NOT NULL,
    vector      bytea NOT NULL,                   -- its first quarter holds the signs (semantic/vectors.py)
    PRIMARY KEY (user_key, vector_key),
    UNIQUE (user_key, message_key),
    FOREIGN KEY (user_key, message_key) REFERENCES messages ON DELETE CASCADE
);

CREATE FUNCTION vector_is_void() RETURNS trigger LANGUAGE plpgsql AS '
BEGIN
    DELETE FROM vectors WHERE user_key = NEW.user_key AND message_key = NEW.message_key;
    UPDATE vector_progress SET upto = least(upto, NEW.message_key - 1), changes = changes + 1
        WHERE user_key = NEW.user_key;
    RETURN NULL;
END';

CREATE OR REPLACE TRIGGER vectors_of_changed_messages AFTER UPDATE OF text, session_key ON messages
    FOR EACH ROW EXECUTE FUNCTION vector_is_void();

CREATE OR REPLACE TRIGGER vectors_of_changed_calls AFTER UPDATE OF arguments ON tool_calls
    FOR EACH ROW WHEN (NEW.message_key IS NOT NULL) EXECUTE FUNCTION vector_is_void();
