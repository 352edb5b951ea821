CREATE TABLE ticket (
    ticket_id INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id BLOB NOT NULL UNIQUE,
    title TEXT NOT NULL
);

-- The position is taken by the one writer that SQLite lets in, and given back when its transaction fails: there is no gap, and
-- no reply appears behind one that is seen already.
CREATE TABLE reply (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id BLOB NOT NULL UNIQUE,
    ticket_id INTEGER NOT NULL REFERENCES ticket (ticket_id),
    author TEXT NOT NULL,
    text TEXT NOT NULL
);

CREATE INDEX reply_by_ticket ON reply (ticket_id, position);
