-- The facts of a change: what the change row says for people, said for a program that rebuilds the
-- image of any epoch. NULL in rows written before this column was there.
ALTER TABLE changes ADD COLUMN facts_json TEXT;
