-- The one row that every transaction begins with: a compare-and-set of it is the fence against a second writer and
-- makes revisions free of gaps. leader_id names the process that committed the newest epoch.
CREATE TABLE head (
    singleton   SMALLINT PRIMARY KEY CHECK (singleton = 1),
    store_id    UUID     NOT NULL,
    incarnation BIGINT   NOT NULL,
    epoch       BIGINT   NOT NULL,
    leader_id   UUID,
    revision    BIGINT   NOT NULL,
    -- Request ids of a time before this one may have been forgotten. It only rises.
    trim_mark_ms BIGINT  NOT NULL DEFAULT 0
);

INSERT INTO head (singleton, store_id, incarnation, epoch, revision) VALUES (1, gen_random_uuid(), 1, 0, 0);

-- Who leads, and for how long at most after a renewal. It stands apart from head, so that a renewal never waits for a commit.
-- leader_id is NULL where the last leader ended in order. renewals tells one renewal from the next.
CREATE TABLE lease (
    singleton   SMALLINT PRIMARY KEY CHECK (singleton = 1),
    leader_id   UUID,
    duration_ms BIGINT NOT NULL,
    renewals    BIGINT NOT NULL
);

INSERT INTO lease (singleton, duration_ms, renewals) VALUES (1, 0, 0);

-- What is owned now. valid_from is the revision since which it is. Ids are compared by their bytes (collation "C"),
-- so that the order of pages is the same on every store.
CREATE TABLE entitlement (
    customer_id   TEXT COLLATE "C" NOT NULL,
    game_id       TEXT COLLATE "C" NOT NULL,
    valid_from    BIGINT   NOT NULL,
    granted_at_ms BIGINT   NOT NULL,
    reason        SMALLINT NOT NULL,
    actor         TEXT     NOT NULL,
    order_id      TEXT     NOT NULL,
    ends_at_ms    BIGINT,
    from_stock    BOOLEAN  NOT NULL,
    PRIMARY KEY (customer_id, game_id)
);

CREATE INDEX entitlement_by_end ON entitlement (ends_at_ms) WHERE ends_at_ms IS NOT NULL;

-- What was owned before. It was so from valid_from up to, but not at, valid_to.
CREATE TABLE entitlement_past (
    customer_id   TEXT COLLATE "C" NOT NULL,
    game_id       TEXT COLLATE "C" NOT NULL,
    valid_from    BIGINT   NOT NULL,
    valid_to      BIGINT   NOT NULL CHECK (valid_to >= valid_from),
    granted_at_ms BIGINT   NOT NULL,
    reason        SMALLINT NOT NULL,
    actor         TEXT     NOT NULL,
    order_id      TEXT     NOT NULL,
    ends_at_ms    BIGINT,
    from_stock    BOOLEAN  NOT NULL,
    ended_at_ms   BIGINT   NOT NULL,
    end_reason    SMALLINT NOT NULL,
    end_actor     TEXT     NOT NULL,
    end_order_id  TEXT     NOT NULL,
    PRIMARY KEY (customer_id, game_id, valid_from)
);

-- Every request with its outcome, so that a repeat has no second effect. content_hash tells other content apart.
CREATE TABLE request (
    request_id    UUID   NOT NULL PRIMARY KEY,
    content_hash  BYTEA  NOT NULL CHECK (length(content_hash) = 32),
    revision      BIGINT NOT NULL,
    outcome       BYTEA  NOT NULL,
    decided_at_ms BIGINT NOT NULL
);

-- Every commit, one row for each batch.
CREATE TABLE change_log (
    last_revision  BIGINT NOT NULL PRIMARY KEY,
    first_revision BIGINT NOT NULL,
    commits        BYTEA  NOT NULL
);

-- Games held for customers. A reservation is known by the request that opened it. Status: 1 open, 2 confirmed, 3 released,
-- 4 expired.
CREATE TABLE reservation (
    reservation_id UUID              NOT NULL PRIMARY KEY,
    customer_id    TEXT COLLATE "C"  NOT NULL,
    game_id        TEXT COLLATE "C"  NOT NULL,
    status         SMALLINT          NOT NULL CHECK (status BETWEEN 1 AND 4),
    expires_at_ms  BIGINT            NOT NULL,
    from_stock     BOOLEAN           NOT NULL,
    changed_at     BIGINT            NOT NULL,
    changed_at_ms  BIGINT            NOT NULL
);

CREATE INDEX reservation_open_by_customer ON reservation (customer_id) WHERE status = 1;
CREATE INDEX reservation_open_by_end ON reservation (expires_at_ms) WHERE status = 1;
CREATE INDEX reservation_closed_by_time ON reservation (changed_at_ms) WHERE status <> 1;

-- How many copies of a limited edition there are.
CREATE TABLE stock (
    game_id  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    total    BIGINT           NOT NULL,
    sold     BIGINT           NOT NULL CHECK (sold >= 0),
    reserved BIGINT           NOT NULL CHECK (reserved >= 0),
    CHECK (sold + reserved <= total)
);

-- What everything that is owned adds up to at a revision, so that a new process need not read it all: it folds the log after that.
CREATE TABLE digest_checkpoint (
    singleton SMALLINT PRIMARY KEY CHECK (singleton = 1),
    revision  BIGINT NOT NULL,
    sums      BYTEA NOT NULL
);

-- Who holds copies, as they told of themselves last.
CREATE TABLE copy (
    name                TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    version             TEXT  NOT NULL,
    revision            BIGINT NOT NULL,
    digest_state        SMALLINT NOT NULL,
    repaired_partitions BIGINT NOT NULL,
    last_seen_ms        BIGINT NOT NULL
);
