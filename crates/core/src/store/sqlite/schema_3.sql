-- The order in which events of all executions were stored. Each event has a position; a row tells of one transaction, by the position of
-- its last event. Its batches are three numbers each: the execution's, the sequence of the first event, and how many there are.
CREATE TABLE commits (
    position INTEGER PRIMARY KEY,
    batches  BLOB NOT NULL
);
-- The position of the first event; 0 of executions that are older than positions.
ALTER TABLE executions ADD COLUMN position INTEGER NOT NULL DEFAULT 0;
