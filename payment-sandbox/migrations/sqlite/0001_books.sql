-- The books of the provider. Times are milliseconds since the Unix epoch by this provider's clock.
CREATE TABLE payment (
    payment_id      TEXT    NOT NULL PRIMARY KEY,
    state           TEXT    NOT NULL CHECK (state IN ('authorized', 'declined', 'captured', 'voided', 'refunded')),
    -- The amount is unset for a payment that was voided before it was seen.
    currency        TEXT,
    minor_units     INTEGER CHECK (minor_units >= 0),
    order_id        TEXT    NOT NULL,
    decline_message TEXT    NOT NULL,
    updated_unix_ms INTEGER NOT NULL,
    -- How the payment's token asked the sandbox to behave, and the hash of what was authorized; both unset for a
    -- payment that was voided before it was seen.
    behavior        TEXT    CHECK (behavior IN ('approve', 'decline', 'slow', 'lose')),
    content         BLOB
) WITHOUT ROWID;

-- The first outcome of every call under its request id, with the payment as it was then.
CREATE TABLE call (
    request_id      TEXT    NOT NULL PRIMARY KEY,
    operation       TEXT    NOT NULL CHECK (operation IN ('capture', 'void', 'refund')),
    payment_id      TEXT    NOT NULL,
    refusal         TEXT    CHECK (refusal IN ('unknown', 'state')),
    -- The columns below are unset when the payment was unknown; all but the state when the call was refused.
    state           TEXT,
    currency        TEXT,
    minor_units     INTEGER,
    order_id        TEXT,
    decline_message TEXT,
    updated_unix_ms INTEGER
) WITHOUT ROWID;
