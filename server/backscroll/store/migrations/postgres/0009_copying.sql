-- What a copy from another database brought, so that it can go on where it was broken off, and bring what is newer:
-- the digest of each session as it was when it came. A session that is not as it came was changed here.
CREATE TABLE copied (
    user_key   uuid NOT NULL REFERENCES users,
    session_id text NOT NULL,
    digest     bytea NOT NULL,
    copied_at  bigint NOT NULL,
    PRIMARY KEY (user_key, session_id)
);

-- Under which exclusions the ledger was last looked through, and when retention was last applied.
ALTER TABLE users ADD COLUMN rules text;
ALTER TABLE users ADD COLUMN retained_at bigint;
