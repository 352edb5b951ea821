-- What tells the server's history of this store from another one's, as it was when the store was last led.
ALTER TABLE head ADD COLUMN lineage TEXT NOT NULL DEFAULT '';
