-- The first schema of the book. Tables, columns and steps are those of SQLite; what is PostgreSQL's own is said here.
--
-- Times are integer microseconds since 1970-01-01 UTC (`_us`). Amounts are scaled integers, never floats.
-- A sequence is an event's place in its partition: position * 2^20 + its index in the record.
-- Text is ordered by its bytes (COLLATE "C"), so that two books order alike wherever they are.
-- Tables whose rows are updated over and over leave room in their pages (fillfactor), so that a new version of a row
-- finds place beside the old one and no index has to change: a settlement of 100,000 tallies takes a third of the time.

CREATE TABLE partitions (
  partition     bigint NOT NULL PRIMARY KEY,
  epoch         bigint NOT NULL,
  owner         text   NOT NULL,
  position      bigint NOT NULL,
  log_identity  text   NOT NULL,
  log_time_us   bigint NOT NULL,
  facts         text   NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE partitions IS 'How far the book has come in each partition of the log, and who may write: the '
  'checkpoint and the fence. `facts` is JSON text of the fold''s own.';

CREATE TABLE tallies (
  tenant   text COLLATE "C" NOT NULL,
  metric   text COLLATE "C" NOT NULL,
  period   text COLLATE "C" NOT NULL,
  subject  text COLLATE "C" NOT NULL,
  value    bigint NOT NULL,
  reached  bigint NOT NULL,
  PRIMARY KEY (tenant, subject, period, metric)
) WITH (fillfactor = 50);
COMMENT ON TABLE tallies IS 'What each subject has of each metric in each period. `reached` is the sequence of the '
  'event that last changed it. Metrics with a dot in the name are the engine''s own. Keyed by subject, because loads are.';

-- For boards: all subjects of a metric in a period, in order. Updates never touch it: only new rows pay for it.
CREATE INDEX tallies_by_metric ON tallies (tenant, metric, period, subject);

CREATE TABLE awards (
  tenant    text COLLATE "C" NOT NULL,
  badge     text COLLATE "C" NOT NULL,
  level     text COLLATE "C" NOT NULL,
  subject   text COLLATE "C" NOT NULL,
  holder    text COLLATE "C" NOT NULL,
  time_us   bigint NOT NULL,
  sequence  bigint NOT NULL,
  revoked   bigint NOT NULL,
  PRIMARY KEY (tenant, subject, badge, level)
);
COMMENT ON TABLE awards IS 'What was earned once: a badge and its level, for `subject`, held by `holder`. `revoked` is '
  '1 when taken back.';

CREATE INDEX awards_by_holder ON awards (tenant, holder);
CREATE INDEX awards_by_sequence ON awards (tenant, sequence, subject, badge, level);

CREATE TABLE streaks (
  tenant   text COLLATE "C" NOT NULL,
  streak   text COLLATE "C" NOT NULL,
  subject  text COLLATE "C" NOT NULL,
  current  bigint NOT NULL,
  longest  bigint NOT NULL,
  last     bigint NOT NULL,
  runs     text   NOT NULL,
  PRIMARY KEY (tenant, subject, streak)
) WITH (fillfactor = 50);
COMMENT ON TABLE streaks IS 'Consecutive qualifying periods or events: how many now, the most ever, the last one '
  'counted. `runs` is JSON text of the streak''s own.';

CREATE TABLE attributes (
  tenant     text COLLATE "C" NOT NULL,
  kind       text COLLATE "C" NOT NULL,
  attribute  text COLLATE "C" NOT NULL,
  subject    text COLLATE "C" NOT NULL,
  value      text NOT NULL,
  PRIMARY KEY (tenant, subject, kind, attribute)
) WITH (fillfactor = 70);
COMMENT ON TABLE attributes IS 'Small facts about a subject (`kind` is user or object) that rules set and conditions '
  'read. `value` is JSON.';

CREATE TABLE programs (
  tenant     text COLLATE "C" NOT NULL,
  version    bigint NOT NULL,
  partition  bigint NOT NULL,
  sequence   bigint NOT NULL,
  text       text   NOT NULL,
  tzdata     text   NOT NULL,
  semantics  bigint NOT NULL,
  PRIMARY KEY (tenant, version)
);
COMMENT ON TABLE programs IS 'Every version of a tenant''s rules file, whole, in effect from `sequence` on.';

CREATE TABLE periods (
  tenant         text COLLATE "C" NOT NULL,
  period         text COLLATE "C" NOT NULL,
  partition      bigint NOT NULL,
  first_seen_us  bigint NOT NULL,
  closed         bigint NOT NULL,
  PRIMARY KEY (tenant, period)
);
COMMENT ON TABLE periods IS 'The periods that hold tallies. `closed` is the sequence of the record that closed it, 0 '
  'while it is open.';

CREATE TABLE board_results (
  tenant   text COLLATE "C" NOT NULL,
  board    text COLLATE "C" NOT NULL,
  period   text COLLATE "C" NOT NULL,
  place    bigint NOT NULL,
  rank     bigint NOT NULL,
  subject  text COLLATE "C" NOT NULL,
  scores   text   NOT NULL,
  PRIMARY KEY (tenant, board, period, place)
);
COMMENT ON TABLE board_results IS 'The final standings of closed periods. `scores` is a JSON array of scaled integers.';

CREATE TABLE failed_events (
  tenant    text COLLATE "C" NOT NULL,
  sequence  bigint NOT NULL,
  event_id  text NOT NULL,
  reason    text COLLATE "C" NOT NULL,
  body      text NOT NULL,
  PRIMARY KEY (tenant, sequence)
);
COMMENT ON TABLE failed_events IS 'Events on which a rule failed, whole, with the reason. None of their effects was '
  'applied.';

CREATE TABLE conflicts (
  tenant    text COLLATE "C" NOT NULL,
  sequence  bigint NOT NULL,
  event_id  text NOT NULL,
  body      text NOT NULL,
  PRIMARY KEY (tenant, sequence)
);
COMMENT ON TABLE conflicts IS 'Events that came with the id of an earlier one and another body. The first one stands.';

CREATE TABLE repeats (
  partition   bigint NOT NULL,
  index_name  text COLLATE "C" NOT NULL,
  bucket      bigint NOT NULL,
  run         bigint NOT NULL,
  entries     bigint NOT NULL,
  expires_us  bigint NOT NULL,
  data        bytea  NOT NULL,
  PRIMARY KEY (partition, index_name, bucket, run)
);
COMMENT ON TABLE repeats IS 'The index of event ids already counted, in sorted runs of `entries`. Dropped once log time '
  'is past expires_us.';

CREATE INDEX repeats_by_expiry ON repeats (partition, expires_us);

-- Hashes and compressed segments do not become smaller by compressing them.
ALTER TABLE repeats ALTER COLUMN data SET STORAGE EXTERNAL;

CREATE TABLE archive_segments (
  partition       bigint NOT NULL,
  first_position  bigint NOT NULL,
  last_position   bigint NOT NULL,
  events          bigint NOT NULL,
  digest          bytea  NOT NULL,
  previous        bytea  NOT NULL,
  data            bytea  NOT NULL,
  PRIMARY KEY (partition, first_position)
);
COMMENT ON TABLE archive_segments IS 'The raw records `first_position..last_position` of a partition, compressed. '
  '`digest` covers the content and `previous`, the digest of the segment before it, so that nothing can be changed or '
  'left out unseen.';

ALTER TABLE archive_segments ALTER COLUMN data SET STORAGE EXTERNAL;
