-- What it takes to decide a failed event again, and where a program came from. As in SQLite; no book in PostgreSQL is
-- old enough to hold rows without it.

ALTER TABLE failed_events ADD COLUMN type text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE failed_events ADD COLUMN time_us bigint NOT NULL DEFAULT -1;
ALTER TABLE failed_events ADD COLUMN stamp text NOT NULL DEFAULT '{}';

-- `time_us` is when a program was taken; `source` is `file`, `sent` or `replay`.
ALTER TABLE programs ADD COLUMN time_us bigint NOT NULL DEFAULT 0;
ALTER TABLE programs ADD COLUMN source text NOT NULL DEFAULT 'file';
