-- Access tokens of the HTTP server. The secret is in none of them: what is kept is its SHA-256.
-- A token is found by what it carries itself, the key of its user and its id, so it need not join to users; and it may
-- be made for a user who has recorded nothing yet.
CREATE TABLE access_tokens (
    user_key    uuid NOT NULL,
    token_id    text NOT NULL,
    user_id     text NOT NULL,
    secret_hash bytea NOT NULL,
    scopes      text NOT NULL,
    created_at  bigint NOT NULL,
    expires_at  bigint,                           -- null: never
    revoked_at  bigint,
    PRIMARY KEY (user_key, token_id)
);
CREATE INDEX access_tokens_by_id ON access_tokens (token_id);
