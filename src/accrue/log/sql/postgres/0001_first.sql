-- The log in PostgreSQL, format 1. Changed only by a new numbered file, never here.

CREATE TABLE log_meta (
  -- One row: which log this is, and what it was founded with.
  one         boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (one),
  format      integer NOT NULL,
  identity    text    NOT NULL,
  partitions  integer NOT NULL
);

CREATE TABLE log_partitions (
  -- `last` is the last position handed out, `trimmed` the last one given up. Its row lock is the order of appends:
  -- a position becomes visible before the next one is handed out. Half empty pages make an update cheap.
  partition  integer PRIMARY KEY,
  last       bigint  NOT NULL DEFAULT 0,
  trimmed    bigint  NOT NULL DEFAULT 0
) WITH (fillfactor = 10);

CREATE TABLE log_records (
  -- `record` as core/record.py encodes it. Positions of a partition have no gaps.
  partition  integer NOT NULL,
  position   bigint  NOT NULL,
  record     bytea   NOT NULL,
  PRIMARY KEY (partition, position)
) WITH (autovacuum_vacuum_scale_factor = 0.02, toast.autovacuum_vacuum_scale_factor = 0.02);

-- Records live for minutes; compressing them would cost more than the room is worth.
ALTER TABLE log_records ALTER COLUMN record SET STORAGE EXTERNAL;
