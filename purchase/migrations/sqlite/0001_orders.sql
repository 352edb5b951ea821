-- Orders, one row each. Ids are UUIDs as text: version 7 grows with time, and so does its text, byte by byte.
CREATE TABLE orders (
    order_id             TEXT PRIMARY KEY,
    -- Grows by one with each change: a writer that saw another version changes nothing.
    version              INTEGER NOT NULL,
    state                TEXT NOT NULL
        CHECK (state IN ('created', 'authorized', 'granted', 'voiding', 'completed', 'refused')),
    request_id           TEXT NOT NULL UNIQUE,
    -- Of what the request asks for, so that other content under its id is told apart.
    content_hash         BLOB NOT NULL,
    customer_id          TEXT NOT NULL,
    game_id              TEXT NOT NULL,
    -- The price that the order keeps; none where the game was not to be bought.
    currency             TEXT,
    price_minor_units    INTEGER,
    catalog_hash         TEXT NOT NULL,
    -- What the steps need, made before the first of them. There is no payment where there is nothing to pay.
    payment_id           TEXT,
    capture_request_id   TEXT,
    void_request_id      TEXT,
    -- Until the authorization is settled, and no longer.
    payment_token        TEXT,
    grant_request_id     TEXT NOT NULL,
    -- W3C trace context of the request.
    traceparent          TEXT,
    refusal_reason       TEXT,
    -- The commit of the grant, or the one at which the grant was refused.
    revision             INTEGER,
    revision_token       TEXT,
    created_unix_ms      INTEGER NOT NULL,
    changed_unix_ms      INTEGER NOT NULL,
    -- None while there is something left to be done.
    ended_unix_ms        INTEGER
);

-- What a restart looks for. It stays as small as the backlog is.
CREATE INDEX orders_unfinished ON orders (order_id) WHERE ended_unix_ms IS NULL;
