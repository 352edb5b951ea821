-- The one row that every transaction begins with: a compare-and-set of it is the fence against a second writer and
-- makes revisions free of gaps. leader_id names the process that committed the newest epoch.
CREATE TABLE head (
    singleton   INTEGER PRIMARY KEY CHECK (singleton = 1),
    store_id    BLOB    NOT NULL CHECK (length(store_id) = 16),
    incarnation INTEGER NOT NULL,
    epoch       INTEGER NOT NULL,
    leader_id   BLOB    CHECK (length(leader_id) = 16),
    revision    INTEGER NOT NULL
) STRICT;

INSERT INTO head (singleton, store_id, incarnation, epoch, revision) VALUES (1, randomblob(16), 1, 0, 0);

-- What is owned now. valid_from is the revision since which it is.
CREATE TABLE entitlement (
    customer_id   TEXT    NOT NULL,
    game_id       TEXT    NOT NULL,
    valid_from    INTEGER NOT NULL,
    granted_at_ms INTEGER NOT NULL,
    reason        INTEGER NOT NULL,
    actor         TEXT    NOT NULL,
    order_id      TEXT    NOT NULL,
    PRIMARY KEY (customer_id, game_id)
) STRICT, WITHOUT ROWID;

-- What was owned before. It was so from valid_from up to, but not at, valid_to.
CREATE TABLE entitlement_past (
    customer_id   TEXT    NOT NULL,
    game_id       TEXT    NOT NULL,
    valid_from    INTEGER NOT NULL,
    valid_to      INTEGER NOT NULL CHECK (valid_to >= valid_from),
    granted_at_ms INTEGER NOT NULL,
    reason        INTEGER NOT NULL,
    actor         TEXT    NOT NULL,
    order_id      TEXT    NOT NULL,
    ended_at_ms   INTEGER NOT NULL,
    end_reason    INTEGER NOT NULL,
    end_actor     TEXT    NOT NULL,
    end_order_id  TEXT    NOT NULL,
    PRIMARY KEY (customer_id, game_id, valid_from)
) STRICT, WITHOUT ROWID;

-- Every request with its outcome, so that a repeat has no second effect. content_hash tells other content apart.
CREATE TABLE request (
    request_id    BLOB    NOT NULL PRIMARY KEY CHECK (length(request_id) = 16),
    content_hash  BLOB    NOT NULL CHECK (length(content_hash) = 32),
    revision      INTEGER NOT NULL,
    outcome       BLOB    NOT NULL,
    decided_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Every commit, one row for each batch.
CREATE TABLE change_log (
    last_revision  INTEGER NOT NULL PRIMARY KEY,
    first_revision INTEGER NOT NULL,
    commits        BLOB    NOT NULL
) STRICT;
