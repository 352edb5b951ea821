-- The one row that every transaction begins with: a compare-and-set of it is the fence against a second writer and
-- makes revisions free of gaps. leader_id names the process that committed the newest epoch.
CREATE TABLE head (
    singleton   INTEGER PRIMARY KEY CHECK (singleton = 1),
    store_id    BLOB    NOT NULL CHECK (length(store_id) = 16),
    incarnation INTEGER NOT NULL,
    epoch       INTEGER NOT NULL,
    leader_id   BLOB    CHECK (length(leader_id) = 16),
    revision    INTEGER NOT NULL,
    -- Request ids of a time before this one may have been forgotten. It only rises.
    trim_mark_ms INTEGER NOT NULL DEFAULT 0
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
    ends_at_ms    INTEGER,
    from_stock    INTEGER NOT NULL,
    PRIMARY KEY (customer_id, game_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX entitlement_by_end ON entitlement (ends_at_ms) WHERE ends_at_ms IS NOT NULL;

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
    ends_at_ms    INTEGER,
    from_stock    INTEGER NOT NULL,
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

-- Games held for customers. A reservation is known by the request that opened it. Status: 1 open, 2 confirmed, 3 released,
-- 4 expired.
CREATE TABLE reservation (
    reservation_id BLOB    NOT NULL PRIMARY KEY CHECK (length(reservation_id) = 16),
    customer_id    TEXT    NOT NULL,
    game_id        TEXT    NOT NULL,
    status         INTEGER NOT NULL CHECK (status BETWEEN 1 AND 4),
    expires_at_ms  INTEGER NOT NULL,
    from_stock     INTEGER NOT NULL,
    changed_at     INTEGER NOT NULL,
    changed_at_ms  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX reservation_open_by_customer ON reservation (customer_id) WHERE status = 1;
CREATE INDEX reservation_open_by_end ON reservation (expires_at_ms) WHERE status = 1;
CREATE INDEX reservation_closed_by_time ON reservation (changed_at_ms) WHERE status <> 1;

-- How many copies of a limited edition there are.
CREATE TABLE stock (
    game_id  TEXT    NOT NULL PRIMARY KEY,
    total    INTEGER NOT NULL,
    sold     INTEGER NOT NULL CHECK (sold >= 0),
    reserved INTEGER NOT NULL CHECK (reserved >= 0),
    CHECK (sold + reserved <= total)
) STRICT, WITHOUT ROWID;

-- What everything that is owned adds up to at a revision, so that a new process need not read it all: it folds the log after that.
CREATE TABLE digest_checkpoint (
    singleton INTEGER  PRIMARY KEY CHECK (singleton = 1),
    revision  INTEGER NOT NULL,
    sums      BLOB NOT NULL
) STRICT;

-- Who holds copies, as they told of themselves last.
CREATE TABLE copy (
    name                TEXT    NOT NULL PRIMARY KEY,
    version             TEXT   NOT NULL,
    revision            INTEGER NOT NULL,
    digest_state        INTEGER NOT NULL,
    repaired_partitions INTEGER NOT NULL,
    last_seen_ms        INTEGER NOT NULL
) STRICT;
