-- Batches of executions that were committed together. In the place of such a batch in `batches` stands an integer: the sheet, and in
-- the last 12 bits the byte at which it begins there.
CREATE TABLE sheets (
    id      INTEGER PRIMARY KEY,
    -- How many are still needed.
    batches INTEGER NOT NULL,
    bytes   BLOB    NOT NULL
);
CREATE INDEX spent ON sheets (id) WHERE batches <= 0;
