-- Executions by number, which the keys of batches begin with.
CREATE TABLE executions (
    number      INTEGER PRIMARY KEY,
    id          BLOB    NOT NULL UNIQUE,
    workflow_id TEXT    NOT NULL,
    status      INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    ended_at    INTEGER,
    epoch       INTEGER NOT NULL,
    holder      INTEGER,
    -- The first event, but for the workflow.
    queued      BLOB    NOT NULL,
    workflow    INTEGER NOT NULL REFERENCES pieces
);
CREATE INDEX unfinished ON executions (id) WHERE ended_at IS NULL;
CREATE INDEX finished ON executions (ended_at) WHERE ended_at IS NOT NULL;

-- The events behind the first, as they were appended. The key is the execution's number, and in its last 24 bits the sequence of
-- the batch's first event: whatever runs at the same time is written side by side.
CREATE TABLE batches (
    key   INTEGER PRIMARY KEY,
    count INTEGER NOT NULL,
    body  BLOB    NOT NULL
);

-- Large values, each once, and which executions need them.
CREATE TABLE pieces (
    id    INTEGER PRIMARY KEY,
    hash  BLOB NOT NULL UNIQUE,
    bytes BLOB NOT NULL
);
CREATE TABLE uses (
    execution INTEGER NOT NULL,
    piece     INTEGER NOT NULL,
    PRIMARY KEY (execution, piece)
) WITHOUT ROWID;
CREATE INDEX users ON uses (piece);

CREATE TABLE requests (
    key        TEXT PRIMARY KEY,
    digest     TEXT    NOT NULL,
    execution  BLOB    NOT NULL,
    created_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX requested ON requests (execution);

CREATE TABLE holders (
    id            INTEGER PRIMARY KEY,
    host          TEXT    NOT NULL,
    process       INTEGER NOT NULL,
    process_began TEXT    NOT NULL,
    until         INTEGER NOT NULL
);

CREATE TABLE texts (
    name TEXT PRIMARY KEY,
    text TEXT NOT NULL
) WITHOUT ROWID;
