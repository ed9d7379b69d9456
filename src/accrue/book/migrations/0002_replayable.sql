-- What it takes to decide a failed event again, and where a program came from.
--
-- A rule reads the event's time and what ingest stamped on it, so both are kept with a failed event; `time_us` is -1
-- where an earlier version did not keep them. `type` is there to be counted by.

ALTER TABLE failed_events ADD COLUMN type TEXT NOT NULL DEFAULT '';
ALTER TABLE failed_events ADD COLUMN time_us INTEGER NOT NULL DEFAULT -1;
ALTER TABLE failed_events ADD COLUMN stamp TEXT NOT NULL DEFAULT '{}';
UPDATE failed_events SET type = coalesce(body->>'type', '');

-- `time_us` is when a program was taken, 0 where that was not kept; `source` is `file`, `sent` or `replay`.
ALTER TABLE programs ADD COLUMN time_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE programs ADD COLUMN source TEXT NOT NULL DEFAULT 'file';
