-- The catalogue that purchase gave last, so that titles are shown after a start without purchase. At most one row; none where the
-- catalogue is a file. It changes in the same transaction as the games.
CREATE TABLE catalog (
    one               INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    hash              TEXT    NOT NULL,
    -- When purchase said that it is the current one.
    confirmed_unix_ms INTEGER NOT NULL
);

-- The games of that catalogue. One that is no longer sold has no price.
CREATE TABLE catalog_game (
    game_id           TEXT    NOT NULL PRIMARY KEY,
    title             TEXT    NOT NULL,
    price_minor_units INTEGER,
    currency          TEXT,
    release_year      INTEGER,
    required_age      INTEGER NOT NULL
) WITHOUT ROWID;
