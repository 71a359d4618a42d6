-- Vectors of messages, made in the background from their text: derived, and never another's source.
-- A vector goes with its message, and with any change of the text it was made from, whatever statement does it.

-- One row: which model's vectors are here, and how far.
CREATE TABLE vector_progress (
    only       INTEGER PRIMARY KEY CHECK (only = 1),
    model      TEXT NOT NULL,                 -- what makes them: another model's are never compared with these
    generation INTEGER NOT NULL,              -- counts the changes of model; vectors of an older one are stale
    upto       INTEGER NOT NULL,              -- messages up to this key have their vector, or need none
    changes    INTEGER NOT NULL DEFAULT 0     -- of messages that were there already: what was read of them is void
) STRICT;

-- A key is never given twice and always grows: what a reader has not seen yet is what lies above its last.
CREATE TABLE vectors (
    vector_key  INTEGER PRIMARY KEY AUTOINCREMENT,
    message_key INTEGER NOT NULL UNIQUE REFERENCES messages ON DELETE CASCADE,
    user_key    INTEGER NOT NULL,
    session_key INTEGER NOT NULL,
    generation  INTEGER NOT NULL,
    vector      BLOB NOT NULL                 -- its first quarter holds the signs (semantic/vectors.py)
) STRICT;

CREATE TRIGGER vectors_of_changed_messages AFTER UPDATE OF text, session_key ON messages BEGIN
    DELETE FROM vectors WHERE message_key = NEW.message_key;
    UPDATE vector_progress SET upto = min(upto, NEW.message_key - 1), changes = changes + 1;
END;

CREATE TRIGGER vectors_of_changed_calls AFTER UPDATE OF arguments ON tool_calls WHEN NEW.message_key IS NOT NULL BEGIN
    DELETE FROM vectors WHERE message_key = NEW.message_key;
    UPDATE vector_progress SET upto = min(upto, NEW.message_key - 1), changes = changes + 1;
END;
