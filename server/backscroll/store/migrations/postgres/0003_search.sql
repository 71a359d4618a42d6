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

-- How far the index is made anew (store/postgres/rebuilding.py); no row while nothing is to be done.
CREATE TABLE search_rebuilds (
    user_key    uuid PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    version     integer NOT NULL,
    message_key bigint NOT NULL                   -- done up to this message
);
