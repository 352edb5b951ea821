-- Which customer owns which game, by partition of customers, so that one partition can be compared and mended alone. A snapshot
-- is gathered under a generation of its own while the one that shown names goes on serving; rows of any other generation are
-- leftovers to be swept. What the tables before held is taken over when the copy is opened, since SQL cannot tell a
-- customer's partition.
CREATE TABLE owned (
    generation         INTEGER NOT NULL,
    customer_partition INTEGER NOT NULL,
    customer_id        TEXT    NOT NULL,
    game_id            TEXT    NOT NULL,
    since_revision     INTEGER NOT NULL,
    PRIMARY KEY (generation, customer_partition, customer_id, game_id)
) WITHOUT ROWID;

-- Within a transaction, rows that are to go are marked by a revision below 0, and found again by this: SQLite looks up many whole
-- keys well when it inserts them, but not when it deletes them.
CREATE INDEX owned_gone ON owned (generation) WHERE since_revision < 0;

-- What the copy shows: its generation, and the revision of the arbiter's store. At most one row; none before the first
-- snapshot is complete. It changes in the same transaction as the rows.
CREATE TABLE shown (
    one         INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    generation  INTEGER NOT NULL,
    store_id    BLOB    NOT NULL CHECK (length(store_id) = 16),
    incarnation INTEGER NOT NULL,
    revision    INTEGER NOT NULL
);
