-- Taking a partition, and settling. Touches every table but `migrations`, `workers` and `deployment`.
--
-- Rows arrive as JSON arrays in temp.chunks, a few thousand a row, and each table is then written by one statement
-- in the order of its primary key. So the interpreter lock is needed a few times a table and not once a row, and
-- each page of a large table is changed once.

-- name: create_chunks
CREATE TEMP TABLE chunks (destination TEXT NOT NULL, body TEXT NOT NULL)

-- name: clear_chunks
DELETE FROM temp.chunks

-- name: add_chunk
INSERT INTO temp.chunks (destination, body) VALUES (:destination, :body)

-- name: add_partition
INSERT INTO partitions (partition, epoch, owner, position, log_identity, log_time_us, facts)
VALUES (:partition, 0, '', 0, :log_identity, 0, '{}')
ON CONFLICT (partition) DO NOTHING

-- name: add_heartbeat
INSERT INTO heartbeats (partition, epoch, heartbeat) VALUES (:partition, 0, 0) ON CONFLICT (partition) DO NOTHING

-- name: heartbeat
SELECT heartbeat FROM heartbeats WHERE partition = :partition

-- name: take_partition
UPDATE partitions SET epoch = epoch + 1, owner = :owner, address = :address, log_identity = :log_identity
WHERE partition = :partition

-- name: take_heartbeat
UPDATE heartbeats SET epoch = (SELECT epoch FROM partitions WHERE partition = :partition) WHERE partition = :partition

-- name: checkpoint
SELECT partition, epoch, position, log_identity, log_time_us, facts FROM partitions WHERE partition = :partition

-- name: fence
UPDATE partitions SET position = :position, log_time_us = :log_time_us, facts = :facts
WHERE partition = :partition AND epoch = :epoch AND position = :position_before

-- name: write_tallies
INSERT INTO tallies (tenant, metric, period, subject, value, reached)
SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5
FROM temp.chunks, json_each(chunks.body)
WHERE destination = 'tallies'
ORDER BY 1, 4, 3, 2
ON CONFLICT (tenant, subject, period, metric) DO UPDATE SET value = excluded.value, reached = excluded.reached

-- name: write_awards
INSERT INTO awards (tenant, badge, level, subject, holder, time_us, sequence, revoked)
SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, value->>7
FROM temp.chunks, json_each(chunks.body)
WHERE destination = 'awards'
ORDER BY 1, 4, 2, 3
ON CONFLICT (tenant, subject, badge, level) DO UPDATE SET
  holder = excluded.holder, time_us = excluded.time_us, sequence = excluded.sequence, revoked = excluded.revoked

-- name: write_streaks
INSERT INTO streaks (tenant, streak, subject, current, longest, last, runs)
SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6
FROM temp.chunks, json_each(chunks.body)
WHERE destination = 'streaks'
ORDER BY 1, 3, 2
ON CONFLICT (tenant, subject, streak) DO UPDATE SET
  current = excluded.current, longest = excluded.longest, last = excluded.last, runs = excluded.runs

-- name: write_attributes
INSERT INTO attributes (tenant, kind, attribute, subject, value)
SELECT value->>0, value->>1, value->>2, value->>3, value->>4
FROM temp.chunks, json_each(chunks.body)
WHERE destination = 'attributes'
ORDER BY 1, 4, 2, 3
ON CONFLICT (tenant, subject, kind, attribute) DO UPDATE SET value = excluded.value

-- name: write_applied
INSERT INTO applied_events (partition, tenant, event_id, state, until_us, effects)
SELECT :partition, value->>0, value->>1, value->>2, value->>3, value->>4
FROM temp.chunks, json_each(chunks.body)
WHERE destination = 'applied'
ORDER BY 2, 3
ON CONFLICT (tenant, event_id) DO UPDATE SET
  partition = excluded.partition, state = excluded.state, until_us = excluded.until_us, effects = excluded.effects

-- name: delete_expired_applied
DELETE FROM applied_events WHERE partition = :partition AND until_us <= :log_time_us

-- name: write_programs
INSERT INTO programs (partition, tenant, version, sequence, text, tzdata, semantics, time_us, source)
SELECT :partition, value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, value->>7
FROM temp.chunks, json_each(chunks.body)
WHERE destination = 'programs'
ON CONFLICT (tenant, version) DO UPDATE SET
  partition = excluded.partition, sequence = excluded.sequence, text = excluded.text,
  tzdata = excluded.tzdata, semantics = excluded.semantics, time_us = excluded.time_us, source = excluded.source

-- name: write_periods
-- When a period was first seen stays, and it closes once. A row that would not change is not written.
INSERT INTO periods (partition, tenant, period, first_seen_us, closed)
SELECT :partition, value->>0, value->>1, value->>2, value->>3
FROM temp.chunks, json_each(chunks.body)
WHERE destination = 'periods'
ORDER BY 2, 3
ON CONFLICT (tenant, period) DO UPDATE SET closed = excluded.closed
WHERE periods.closed = 0 AND excluded.closed <> 0

-- name: write_results
INSERT INTO board_results (tenant, board, period, place, rank, subject, scores, dense)
SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, value->>7
FROM temp.chunks, json_each(chunks.body)
WHERE destination = 'results'
ORDER BY 1, 2, 3, 4
ON CONFLICT (tenant, board, period, place) DO UPDATE SET
  rank = excluded.rank, subject = excluded.subject, scores = excluded.scores, dense = excluded.dense

-- name: write_late
INSERT INTO late_tallies (tenant, period, metric, subject, reached)
SELECT value->>0, value->>1, value->>2, value->>3, value->>4
FROM temp.chunks, json_each(chunks.body)
WHERE destination = 'late'
ORDER BY 1, 2, 3, 4
ON CONFLICT (tenant, period, metric, subject) DO UPDATE SET reached = excluded.reached

-- name: write_failed
INSERT INTO failed_events (tenant, sequence, event_id, reason, body, type, time_us, stamp)
SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, value->>7
FROM temp.chunks, json_each(chunks.body)
WHERE destination = 'failed'
ON CONFLICT (tenant, sequence) DO UPDATE SET
  event_id = excluded.event_id, reason = excluded.reason, body = excluded.body,
  type = excluded.type, time_us = excluded.time_us, stamp = excluded.stamp

-- name: delete_failed
-- What was replayed or dropped: neither changes what happened, it only ends the waiting.
DELETE FROM failed_events WHERE (tenant, sequence) IN (
  SELECT value->>0, value->>1 FROM temp.chunks, json_each(chunks.body) WHERE destination = 'failed_gone'
)

-- name: write_conflicts
INSERT INTO conflicts (tenant, sequence, event_id, body)
SELECT value->>0, value->>1, value->>2, value->>3
FROM temp.chunks, json_each(chunks.body)
WHERE destination = 'conflicts'
ON CONFLICT (tenant, sequence) DO UPDATE SET event_id = excluded.event_id, body = excluded.body

-- name: write_repeat
INSERT INTO repeats (partition, index_name, bucket, run, entries, expires_us, data)
VALUES (:partition, :index_name, :bucket, :run, :entries, :expires_us, :data)
ON CONFLICT (partition, index_name, bucket, run) DO UPDATE SET
  entries = excluded.entries, expires_us = excluded.expires_us, data = excluded.data

-- name: delete_expired_repeats
DELETE FROM repeats WHERE partition = :partition AND expires_us <= :log_time_us

-- name: write_segment
-- The archive is only ever added to: a segment that is there already is an error.
INSERT INTO archive_segments (partition, first_position, last_position, events, digest, previous, data)
VALUES (:partition, :first, :last, :events, :digest, :previous, :data)
