-- Up to this revision everything that is owned is in its table. What was granted after it may be in the log alone.
ALTER TABLE head ADD COLUMN flushed_to INTEGER NOT NULL DEFAULT 0;

UPDATE head SET flushed_to = revision;
