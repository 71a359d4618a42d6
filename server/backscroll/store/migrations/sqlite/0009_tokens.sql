-- Access tokens of the HTTP server. The secret is in none of them: what is kept is its SHA-256.
-- A token is found by what it carries itself, a tag of its user and its id, so it need not join to users.
CREATE TABLE access_tokens (
    user_tag    BLOB NOT NULL CHECK (length(user_tag) = 16),   -- SHA-256 of user_id, its first half
    token_id    TEXT NOT NULL UNIQUE,
    user_id     TEXT NOT NULL,
    secret_hash BLOB NOT NULL CHECK (length(secret_hash) = 32),
    scopes      TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER,                                        -- null: never
    revoked_at  INTEGER,
    PRIMARY KEY (user_tag, token_id)
) STRICT, WITHOUT ROWID;
