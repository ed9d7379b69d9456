-- Everything that reads the book. Changes nothing.
--
-- Who is asked for comes as one JSON array: making an array of the driver's out of thousands of names would hold up
-- the event loop. LATERAL with OFFSET 0 makes the planner look up one name after the other by the primary key; left to
-- itself it reads the whole tenant while it has no statistics of a table, a thousand times as slow.

-- name: checkpoint
-- $1 partition
SELECT partition, epoch, position, log_identity, log_time_us, facts FROM partitions WHERE partition = $1

-- name: load_tallies
-- $1 tenant, $2 subjects (JSON), $3 periods
SELECT found.* FROM json_array_elements_text($2::json) AS asked (subject) CROSS JOIN LATERAL (
  SELECT tenant, metric, period, subject, value, reached FROM tallies
  WHERE tenant = $1 AND subject = asked.subject AND period = ANY ($3::text[])
  OFFSET 0
) AS found

-- name: load_awards
-- $1 tenant, $2 subjects (JSON)
SELECT found.* FROM json_array_elements_text($2::json) AS asked (subject) CROSS JOIN LATERAL (
  SELECT tenant, badge, level, subject, holder, time_us, sequence, revoked FROM awards
  WHERE tenant = $1 AND subject = asked.subject
  OFFSET 0
) AS found

-- name: load_streaks
-- $1 tenant, $2 subjects (JSON)
SELECT found.* FROM json_array_elements_text($2::json) AS asked (subject) CROSS JOIN LATERAL (
  SELECT tenant, streak, subject, current, longest, last, runs FROM streaks
  WHERE tenant = $1 AND subject = asked.subject
  OFFSET 0
) AS found

-- name: load_attributes
-- $1 tenant, $2 subjects (JSON)
SELECT found.* FROM json_array_elements_text($2::json) AS asked (subject) CROSS JOIN LATERAL (
  SELECT tenant, kind, attribute, subject, value FROM attributes
  WHERE tenant = $1 AND subject = asked.subject
  OFFSET 0
) AS found

-- name: applied_of
-- $1 tenant, $2 event ids (JSON)
SELECT found.* FROM json_array_elements_text($2::json) AS asked (event_id) CROSS JOIN LATERAL (
  SELECT tenant, event_id, state, until_us, effects FROM applied_events
  WHERE tenant = $1 AND event_id = asked.event_id
  OFFSET 0
) AS found

-- name: awaited_after
-- $1 partition, $2 tenant, $3 event_id, $4 rows
SELECT tenant, event_id, state, until_us, effects FROM applied_events
WHERE partition = $1 AND state = 'awaited' AND (tenant, event_id) > ($2, $3)
ORDER BY tenant, event_id
LIMIT $4

-- name: holdings
-- $1 tenant, $2 holder
SELECT tenant, badge, level, subject, holder, time_us, sequence, revoked FROM awards
WHERE tenant = $1 AND holder = $2 AND revoked = 0
ORDER BY time_us, sequence, subject, badge, level

-- name: tallies_after
-- $1 tenant, $2 metric, $3 period, $4 subject, $5 rows
SELECT tenant, metric, period, subject, value, reached FROM tallies
WHERE tenant = $1 AND metric = $2 AND period = $3 AND subject > $4
ORDER BY subject
LIMIT $5

-- name: awards_after
-- $1 tenant, $2 sequence, $3 subject, $4 badge, $5 level, $6 rows
SELECT tenant, badge, level, subject, holder, time_us, sequence, revoked FROM awards
WHERE tenant = $1 AND revoked = 0 AND (sequence, subject, badge, level) > ($2, $3, $4, $5)
ORDER BY sequence, subject, badge, level
LIMIT $6

-- name: results_after
-- $1 tenant, $2 board, $3 period, $4 place, $5 rows
SELECT tenant, board, period, place, rank, subject, scores, dense FROM board_results
WHERE tenant = $1 AND board = $2 AND period = $3 AND place > $4
ORDER BY place
LIMIT $5

-- name: results_count
-- $1 tenant, $2 board, $3 period. Places have no gaps, so the last one says it.
SELECT place FROM board_results
WHERE tenant = $1 AND board = $2 AND period = $3
ORDER BY place DESC
LIMIT 1

-- name: results_of
-- $1 tenant, $2 board, $3 period, $4 subjects (JSON)
SELECT found.* FROM json_array_elements_text($4::json) AS asked (subject) CROSS JOIN LATERAL (
  SELECT tenant, board, period, place, rank, subject, scores, dense FROM board_results
  WHERE tenant = $1 AND board = $2 AND period = $3 AND subject = asked.subject
  OFFSET 0
) AS found
ORDER BY place

-- name: late
-- $1 tenant, $2 period, $3 metrics, $4 subjects (JSON), or null for everybody, $5 rows
SELECT found.* FROM (
  SELECT DISTINCT subject FROM late_tallies
  WHERE tenant = $1 AND period = $2 AND metric = ANY ($3::text[])
    AND ($4::json IS NULL OR subject IN (SELECT json_array_elements_text($4::json)))
  ORDER BY subject
  LIMIT $5
) AS changed CROSS JOIN LATERAL (
  SELECT tenant, metric, period, subject, value, reached FROM tallies
  WHERE tenant = $1 AND subject = changed.subject AND period = $2 AND metric = ANY ($3::text[])
  OFFSET 0
) AS found
ORDER BY subject, metric

-- name: programs
-- $1 partition
SELECT tenant, version, sequence, text, tzdata, semantics, time_us, source FROM programs
WHERE partition = $1
ORDER BY sequence, tenant, version

-- name: programs_of
-- $1 tenant
SELECT tenant, version, sequence, text, tzdata, semantics, time_us, source FROM programs
WHERE tenant = $1
ORDER BY version

-- name: failed_after
-- $1 tenant, $2 sequence, $3 type, or '' for all, $4 rows
SELECT tenant, sequence, event_id, reason, body, type, time_us, stamp FROM failed_events
WHERE tenant = $1 AND sequence > $2 AND $3 IN ('', type)
ORDER BY sequence
LIMIT $4

-- name: failed_counts
-- $1 partition
SELECT tenant, type, reason, count(*) AS parked FROM failed_events
WHERE tenant IN (SELECT tenant FROM programs WHERE partition = $1)
GROUP BY tenant, type, reason
ORDER BY tenant, type, reason

-- name: conflicts_after
-- $1 tenant, $2 sequence, $3 rows
SELECT tenant, sequence, event_id, body FROM conflicts
WHERE tenant = $1 AND sequence > $2
ORDER BY sequence
LIMIT $3

-- name: periods_after
-- $1 partition, $2 tenant, $3 period, $4 rows
SELECT tenant, period, first_seen_us, closed FROM periods
WHERE partition = $1 AND (tenant, period) > ($2, $3)
ORDER BY tenant, period
LIMIT $4

-- name: repeat_after
-- $1 partition, $2 index_name, $3 bucket, $4 run
SELECT index_name, bucket, run, entries, expires_us, data FROM repeats
WHERE partition = $1 AND (index_name, bucket, run) > ($2, $3, $4)
ORDER BY index_name, bucket, run
LIMIT 1

-- name: segment_after
-- $1 partition, $2 first
SELECT partition, first_position, last_position, events, digest, previous, data FROM archive_segments
WHERE partition = $1 AND first_position > $2
ORDER BY first_position
LIMIT 1

-- name: segment_before
-- $1 partition, $2 position
SELECT partition, first_position, last_position, events, digest, previous, data FROM archive_segments
WHERE partition = $1 AND first_position <= $2
ORDER BY first_position DESC
LIMIT 1

-- name: versions
SELECT tenant, max(version) FROM programs GROUP BY tenant
