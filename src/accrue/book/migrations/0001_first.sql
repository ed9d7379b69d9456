-- The first schema of the book.
--
-- Times are integer microseconds since 1970-01-01 UTC (`_us`). Amounts are scaled integers, never floats.
-- A sequence is an event's place in its partition: position * 2^20 + its index in the record.
-- What a table is for stands inside its statement, so that `.schema` in the sqlite3 shell shows it.

CREATE TABLE partitions (
  -- How far the book has come in each partition of the log, and who may write: the checkpoint and the fence.
  -- `facts` is JSON text of the fold's own.
  partition     INTEGER NOT NULL PRIMARY KEY,
  epoch         INTEGER NOT NULL,
  owner         TEXT    NOT NULL,
  position      INTEGER NOT NULL,
  log_identity  TEXT    NOT NULL,
  log_time_us   INTEGER NOT NULL,
  facts         TEXT    NOT NULL
) STRICT;

CREATE TABLE tallies (
  -- What each subject has of each metric in each period. `reached` is the sequence of the event that last
  -- changed it. Metrics with a dot in the name are the engine's own. Keyed by subject, because loads are.
  tenant   TEXT    NOT NULL,
  metric   TEXT    NOT NULL,
  period   TEXT    NOT NULL,
  subject  TEXT    NOT NULL,
  value    INTEGER NOT NULL,
  reached  INTEGER NOT NULL,
  PRIMARY KEY (tenant, subject, period, metric)
) STRICT, WITHOUT ROWID;

-- For boards: all subjects of a metric in a period, in order. The primary key's columns are part of every index
-- of such a table, so `subject` follows by itself. Updates never touch it: only new rows pay for it.
CREATE INDEX tallies_by_metric ON tallies (tenant, metric, period);

CREATE TABLE awards (
  -- What was earned once: a badge and its level, for `subject`, held by `holder`. `revoked` is 1 when taken back.
  tenant    TEXT    NOT NULL,
  badge     TEXT    NOT NULL,
  level     TEXT    NOT NULL,
  subject   TEXT    NOT NULL,
  holder    TEXT    NOT NULL,
  time_us   INTEGER NOT NULL,
  sequence  INTEGER NOT NULL,
  revoked   INTEGER NOT NULL,
  PRIMARY KEY (tenant, subject, badge, level)
) STRICT, WITHOUT ROWID;

CREATE INDEX awards_by_holder ON awards (tenant, holder);
CREATE INDEX awards_by_sequence ON awards (tenant, sequence);

CREATE TABLE streaks (
  -- Consecutive qualifying periods or events: how many now, the most ever, the last one counted.
  -- `runs` is JSON text of the streak's own.
  tenant   TEXT    NOT NULL,
  streak   TEXT    NOT NULL,
  subject  TEXT    NOT NULL,
  current  INTEGER NOT NULL,
  longest  INTEGER NOT NULL,
  last     INTEGER NOT NULL,
  runs     TEXT    NOT NULL,
  PRIMARY KEY (tenant, subject, streak)
) STRICT, WITHOUT ROWID;

CREATE TABLE attributes (
  -- Small facts about a subject (`kind` is user or object) that rules set and conditions read. `value` is JSON.
  tenant     TEXT NOT NULL,
  kind       TEXT NOT NULL,
  attribute  TEXT NOT NULL,
  subject    TEXT NOT NULL,
  value      TEXT NOT NULL,
  PRIMARY KEY (tenant, subject, kind, attribute)
) STRICT, WITHOUT ROWID;

CREATE TABLE programs (
  -- Every version of a tenant's rules file, whole, in effect from `sequence` on.
  tenant     TEXT    NOT NULL,
  version    INTEGER NOT NULL,
  partition  INTEGER NOT NULL,
  sequence   INTEGER NOT NULL,
  text       TEXT    NOT NULL,
  tzdata     TEXT    NOT NULL,
  semantics  INTEGER NOT NULL,
  PRIMARY KEY (tenant, version)
) STRICT;

CREATE TABLE periods (
  -- The periods that hold tallies. `closed` is the sequence of the record that closed it, 0 while it is open.
  tenant         TEXT    NOT NULL,
  period         TEXT    NOT NULL,
  partition      INTEGER NOT NULL,
  first_seen_us  INTEGER NOT NULL,
  closed         INTEGER NOT NULL,
  PRIMARY KEY (tenant, period)
) STRICT, WITHOUT ROWID;

CREATE TABLE board_results (
  -- The final standings of closed periods. `scores` is a JSON array of scaled integers.
  tenant   TEXT    NOT NULL,
  board    TEXT    NOT NULL,
  period   TEXT    NOT NULL,
  place    INTEGER NOT NULL,
  rank     INTEGER NOT NULL,
  subject  TEXT    NOT NULL,
  scores   TEXT    NOT NULL,
  PRIMARY KEY (tenant, board, period, place)
) STRICT, WITHOUT ROWID;

CREATE TABLE failed_events (
  -- Events on which a rule failed, whole, with the reason. None of their effects was applied.
  tenant    TEXT    NOT NULL,
  sequence  INTEGER NOT NULL,
  event_id  TEXT    NOT NULL,
  reason    TEXT    NOT NULL,
  body      TEXT    NOT NULL,
  PRIMARY KEY (tenant, sequence)
) STRICT;

CREATE TABLE conflicts (
  -- Events that came with the id of an earlier one and another body. The first one stands.
  tenant    TEXT    NOT NULL,
  sequence  INTEGER NOT NULL,
  event_id  TEXT    NOT NULL,
  body      TEXT    NOT NULL,
  PRIMARY KEY (tenant, sequence)
) STRICT;

CREATE TABLE repeats (
  -- The index of event ids already counted, in sorted runs of `entries`. Dropped once log time is past expires_us.
  partition   INTEGER NOT NULL,
  index_name  TEXT    NOT NULL,
  bucket      INTEGER NOT NULL,
  run         INTEGER NOT NULL,
  entries     INTEGER NOT NULL,
  expires_us  INTEGER NOT NULL,
  data        BLOB    NOT NULL,
  PRIMARY KEY (partition, index_name, bucket, run)
) STRICT;

CREATE INDEX repeats_by_expiry ON repeats (partition, expires_us);

CREATE TABLE archive_segments (
  -- The raw records `first_position..last_position` of a partition, compressed. `digest` covers the content and
  -- `previous`, the digest of the segment before it, so that nothing can be changed or left out unseen.
  partition       INTEGER NOT NULL,
  first_position  INTEGER NOT NULL,
  last_position   INTEGER NOT NULL,
  events          INTEGER NOT NULL,
  digest          BLOB    NOT NULL,
  previous        BLOB    NOT NULL,
  data            BLOB    NOT NULL,
  PRIMARY KEY (partition, first_position)
) STRICT;
