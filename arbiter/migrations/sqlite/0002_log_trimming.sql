-- A reader may resume after this revision or any later one: what was committed up to it may have left the log. It only rises.
ALTER TABLE head ADD COLUMN log_mark INTEGER NOT NULL DEFAULT 0;
