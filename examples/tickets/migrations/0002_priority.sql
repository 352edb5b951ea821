-- 1.0.0 goes on beside this: it names the columns that it reads and writes, and for this one there is a default.
ALTER TABLE ticket ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
