-- Taking a partition, and settling. Touches every table but `migrations`, `workers` and `deployment`.
--
-- The rows of a settlement are first copied into temporary tables of the connection, `staged_<table>`, and each table is
-- then written by one statement in the order of its primary key, so that each page of a large index is changed once.
-- So the transaction itself sends no rows, and holds its locks no longer than the server needs.

-- name: stage
-- What is in braces is filled in by postgres_settle.py.
CREATE TEMPORARY TABLE {staged} AS SELECT {columns} FROM {table} WITH NO DATA

-- name: clear
TRUNCATE {staged}

-- name: add_partition
-- $1 partition, $2 log_identity
INSERT INTO partitions (partition, epoch, owner, position, log_identity, log_time_us, facts)
VALUES ($1, 0, '', 0, $2, 0, '{}')
ON CONFLICT (partition) DO NOTHING

-- name: add_heartbeat
-- $1 partition
INSERT INTO heartbeats (partition, epoch, heartbeat) VALUES ($1, 0, 0) ON CONFLICT (partition) DO NOTHING

-- name: held
-- $1 partition. Waits for a transaction that has the row, so what it says is the outcome.
SELECT partition, epoch, position, log_identity, log_time_us, facts FROM partitions WHERE partition = $1 FOR UPDATE

-- name: held_heartbeat
-- $1 partition
SELECT heartbeat FROM heartbeats WHERE partition = $1 FOR UPDATE

-- name: take_partition
-- $1 partition, $2 epoch, $3 owner, $4 address, $5 log_identity
UPDATE partitions SET epoch = $2, owner = $3, address = $4, log_identity = $5 WHERE partition = $1

-- name: take_heartbeat
-- $1 partition, $2 epoch
UPDATE heartbeats SET epoch = $2 WHERE partition = $1

-- name: fence
-- $1 partition, $2 epoch, $3 position before, $4 position, $5 log_time_us, $6 facts
UPDATE partitions SET position = $4, log_time_us = $5, facts = $6
WHERE partition = $1 AND epoch = $2 AND position = $3

-- name: write_tallies
INSERT INTO tallies (tenant, metric, period, subject, value, reached)
SELECT tenant, metric, period, subject, value, reached FROM staged_tallies
ORDER BY tenant, subject, period, metric
ON CONFLICT (tenant, subject, period, metric) DO UPDATE SET value = excluded.value, reached = excluded.reached

-- name: write_awards
INSERT INTO awards (tenant, badge, level, subject, holder, time_us, sequence, revoked)
SELECT tenant, badge, level, subject, holder, time_us, sequence, revoked FROM staged_awards
ORDER BY tenant, subject, badge, level
ON CONFLICT (tenant, subject, badge, level) DO UPDATE SET
  holder = excluded.holder, time_us = excluded.time_us, sequence = excluded.sequence, revoked = excluded.revoked

-- name: write_streaks
INSERT INTO streaks (tenant, streak, subject, current, longest, last, runs)
SELECT tenant, streak, subject, current, longest, last, runs FROM staged_streaks
ORDER BY tenant, subject, streak
ON CONFLICT (tenant, subject, streak) DO UPDATE SET
  current = excluded.current, longest = excluded.longest, last = excluded.last, runs = excluded.runs

-- name: write_attributes
INSERT INTO attributes (tenant, kind, attribute, subject, value)
SELECT tenant, kind, attribute, subject, value FROM staged_attributes
ORDER BY tenant, subject, kind, attribute
ON CONFLICT (tenant, subject, kind, attribute) DO UPDATE SET value = excluded.value

-- name: write_applied_events
-- $1 partition
INSERT INTO applied_events (partition, tenant, event_id, state, until_us, effects)
SELECT $1, tenant, event_id, state, until_us, effects FROM staged_applied_events
ORDER BY tenant, event_id
ON CONFLICT (tenant, event_id) DO UPDATE SET
  partition = excluded.partition, state = excluded.state, until_us = excluded.until_us, effects = excluded.effects

-- name: write_programs
-- $1 partition
INSERT INTO programs (partition, tenant, version, sequence, text, tzdata, semantics, time_us, source)
SELECT $1, tenant, version, sequence, text, tzdata, semantics, time_us, source FROM staged_programs
ON CONFLICT (tenant, version) DO UPDATE SET
  partition = excluded.partition, sequence = excluded.sequence, text = excluded.text,
  tzdata = excluded.tzdata, semantics = excluded.semantics, time_us = excluded.time_us, source = excluded.source

-- name: write_periods
-- $1 partition. When a period was first seen stays, and it closes once. A row that would not change is not written.
INSERT INTO periods (partition, tenant, period, first_seen_us, closed)
SELECT $1, tenant, period, first_seen_us, closed FROM staged_periods
ORDER BY tenant, period
ON CONFLICT (tenant, period) DO UPDATE SET closed = excluded.closed
WHERE periods.closed = 0 AND excluded.closed <> 0

-- name: write_board_results
INSERT INTO board_results (tenant, board, period, place, rank, subject, scores, dense)
SELECT tenant, board, period, place, rank, subject, scores, dense FROM staged_board_results
ORDER BY tenant, board, period, place
ON CONFLICT (tenant, board, period, place) DO UPDATE SET
  rank = excluded.rank, subject = excluded.subject, scores = excluded.scores, dense = excluded.dense

-- name: write_late_tallies
INSERT INTO late_tallies (tenant, period, metric, subject, reached)
SELECT tenant, period, metric, subject, reached FROM staged_late_tallies
ORDER BY tenant, period, metric, subject
ON CONFLICT (tenant, period, metric, subject) DO UPDATE SET reached = excluded.reached

-- name: write_failed_events
INSERT INTO failed_events (tenant, sequence, event_id, reason, body, type, time_us, stamp)
SELECT tenant, sequence, event_id, reason, body, type, time_us, stamp FROM staged_failed_events
ON CONFLICT (tenant, sequence) DO UPDATE SET
  event_id = excluded.event_id, reason = excluded.reason, body = excluded.body,
  type = excluded.type, time_us = excluded.time_us, stamp = excluded.stamp

-- name: delete_failed_events
-- What was replayed or dropped: neither changes what happened, it only ends the waiting.
DELETE FROM failed_events WHERE (tenant, sequence) IN (SELECT tenant, sequence FROM staged_failed_gone)

-- name: write_conflicts
INSERT INTO conflicts (tenant, sequence, event_id, body)
SELECT tenant, sequence, event_id, body FROM staged_conflicts
ON CONFLICT (tenant, sequence) DO UPDATE SET event_id = excluded.event_id, body = excluded.body

-- name: write_repeats
-- $1 partition
INSERT INTO repeats (partition, index_name, bucket, run, entries, expires_us, data)
SELECT $1, index_name, bucket, run, entries, expires_us, data FROM staged_repeats
ON CONFLICT (partition, index_name, bucket, run) DO UPDATE SET
  entries = excluded.entries, expires_us = excluded.expires_us, data = excluded.data

-- name: write_archive_segments
-- The archive is only ever added to: a segment that is there already is an error.
INSERT INTO archive_segments (partition, first_position, last_position, events, digest, previous, data)
SELECT partition, first_position, last_position, events, digest, previous, data FROM staged_archive_segments

-- name: delete_expired_repeats
-- $1 partition, $2 log_time_us
DELETE FROM repeats WHERE partition = $1 AND expires_us <= $2

-- name: delete_expired_applied
-- $1 partition, $2 log_time_us
DELETE FROM applied_events WHERE partition = $1 AND until_us <= $2
