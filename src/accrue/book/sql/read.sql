-- Everything that reads the book. Changes nothing.
--
-- Rows come out as JSON arrays, thousands in one value, because the interpreter lock has to be taken back for
-- every row that Python fetches: a value is one row. CAST to BLOB hands the bytes over as they are.

-- name: load_tallies
-- :chunks is an array of arrays of subjects; the answer has one value for each of them.
WITH answer (packed) AS MATERIALIZED (SELECT (
  SELECT json_group_array(json_array(t.tenant, t.metric, t.period, t.subject, t.value, t.reached))
  FROM json_each(chunk.value) AS asked CROSS JOIN tallies AS t
  WHERE t.tenant = :tenant AND t.subject = asked.value
    AND t.period IN (SELECT value FROM json_each(:periods))
)
FROM json_each(:chunks) AS chunk)
SELECT CAST(packed AS BLOB) FROM answer WHERE packed <> '[]'

-- name: load_awards
WITH answer (packed) AS MATERIALIZED (SELECT (
  SELECT json_group_array(
    json_array(a.tenant, a.badge, a.level, a.subject, a.holder, a.time_us, a.sequence, a.revoked))
  FROM json_each(chunk.value) AS asked CROSS JOIN awards AS a
  WHERE a.tenant = :tenant AND a.subject = asked.value
)
FROM json_each(:chunks) AS chunk)
SELECT CAST(packed AS BLOB) FROM answer WHERE packed <> '[]'

-- name: load_streaks
WITH answer (packed) AS MATERIALIZED (SELECT (
  SELECT json_group_array(json_array(s.tenant, s.streak, s.subject, s.current, s.longest, s.last, s.runs))
  FROM json_each(chunk.value) AS asked CROSS JOIN streaks AS s
  WHERE s.tenant = :tenant AND s.subject = asked.value
)
FROM json_each(:chunks) AS chunk)
SELECT CAST(packed AS BLOB) FROM answer WHERE packed <> '[]'

-- name: load_attributes
WITH answer (packed) AS MATERIALIZED (SELECT (
  SELECT json_group_array(json_array(a.tenant, a.kind, a.attribute, a.subject, a.value))
  FROM json_each(chunk.value) AS asked CROSS JOIN attributes AS a
  WHERE a.tenant = :tenant AND a.subject = asked.value
)
FROM json_each(:chunks) AS chunk)
SELECT CAST(packed AS BLOB) FROM answer WHERE packed <> '[]'

-- name: applied_of
SELECT CAST(json_group_array(json_array(tenant, event_id, state, until_us, effects)) AS BLOB)
FROM (
  SELECT a.* FROM json_each(:event_ids) AS asked CROSS JOIN applied_events AS a
  WHERE a.tenant = :tenant AND a.event_id = asked.value
  LIMIT -1
)

-- name: awaited
SELECT CAST(json_group_array(json_array(tenant, event_id, state, until_us, effects)) AS BLOB)
FROM (
  SELECT * FROM applied_events
  WHERE partition = :partition AND state = 'awaited'
  ORDER BY tenant, event_id
  LIMIT -1
)

-- name: holdings
SELECT CAST(json_group_array(
  json_array(tenant, badge, level, subject, holder, time_us, sequence, revoked)) AS BLOB)
FROM (
  -- Without statistics the planner would rather walk all of the tenant's awards.
  SELECT * FROM awards INDEXED BY awards_by_holder
  WHERE tenant = :tenant AND holder = :holder AND revoked = 0
  ORDER BY time_us, sequence, subject, badge, level
  LIMIT -1
)

-- name: tallies_after
SELECT CAST(json_group_array(json_array(tenant, metric, period, subject, value, reached)) AS BLOB)
FROM (
  SELECT * FROM tallies
  WHERE tenant = :tenant AND metric = :metric AND period = :period AND subject > :subject
  ORDER BY subject
  LIMIT :rows
)

-- name: awards_after
SELECT CAST(json_group_array(
  json_array(tenant, badge, level, subject, holder, time_us, sequence, revoked)) AS BLOB)
FROM (
  SELECT * FROM awards
  WHERE tenant = :tenant AND revoked = 0
    AND (sequence, subject, badge, level) > (:sequence, :subject, :badge, :level)
  ORDER BY sequence, subject, badge, level
  LIMIT :rows
)

-- name: results_after
SELECT CAST(json_group_array(json_array(tenant, board, period, place, rank, subject, scores, dense)) AS BLOB)
FROM (
  SELECT * FROM board_results
  WHERE tenant = :tenant AND board = :board AND period = :period AND place > :place
  ORDER BY place
  LIMIT :rows
)

-- name: results_count
-- Places have no gaps, so the last one says it.
SELECT place FROM board_results
WHERE tenant = :tenant AND board = :board AND period = :period
ORDER BY place DESC
LIMIT 1

-- name: results_of
SELECT CAST(json_group_array(json_array(tenant, board, period, place, rank, subject, scores, dense)) AS BLOB)
FROM (
  SELECT r.* FROM json_each(:subjects) AS asked CROSS JOIN board_results AS r INDEXED BY board_results_by_subject
  WHERE r.tenant = :tenant AND r.board = :board AND r.period = :period AND r.subject = asked.value
  ORDER BY r.place
  LIMIT -1
)

-- name: late
-- :subjects is an array, or the text 'null' for everybody.
SELECT CAST(json_group_array(json_array(tenant, metric, period, subject, value, reached)) AS BLOB)
FROM (
  SELECT t.* FROM (
    SELECT DISTINCT subject FROM late_tallies
    WHERE tenant = :tenant AND period = :period AND metric IN (SELECT value FROM json_each(:metrics))
      AND (:subjects = 'null' OR subject IN (SELECT value FROM json_each(:subjects)))
    ORDER BY subject
    LIMIT :rows
  ) AS changed CROSS JOIN tallies AS t
  WHERE t.tenant = :tenant AND t.subject = changed.subject AND t.period = :period
    AND t.metric IN (SELECT value FROM json_each(:metrics))
  ORDER BY t.subject, t.metric
  LIMIT -1
)

-- name: programs
SELECT CAST(json_group_array(
  json_array(tenant, version, sequence, text, tzdata, semantics, time_us, source)) AS BLOB)
FROM (
  SELECT * FROM programs WHERE partition = :partition ORDER BY sequence, tenant, version LIMIT -1
)

-- name: versions
SELECT tenant, max(version) FROM programs GROUP BY tenant;

-- name: programs_of
SELECT CAST(json_group_array(
  json_array(tenant, version, sequence, text, tzdata, semantics, time_us, source)) AS BLOB)
FROM (
  SELECT * FROM programs WHERE tenant = :tenant ORDER BY version LIMIT -1
)

-- name: failed_after
SELECT CAST(json_group_array(json_array(tenant, sequence, event_id, reason, body, type, time_us, stamp)) AS BLOB)
FROM (
  SELECT * FROM failed_events
  WHERE tenant = :tenant AND sequence > :after AND :type IN ('', type)
  ORDER BY sequence
  LIMIT :rows
)

-- name: failed_counts
SELECT CAST(json_group_array(json_array(tenant, type, reason, parked)) AS BLOB)
FROM (
  SELECT tenant, type, reason, count(*) AS parked FROM failed_events
  WHERE tenant IN (SELECT tenant FROM programs WHERE partition = :partition)
  GROUP BY tenant, type, reason
  ORDER BY tenant, type, reason
  LIMIT -1
)

-- name: conflicts_after
SELECT CAST(json_group_array(json_array(tenant, sequence, event_id, body)) AS BLOB)
FROM (
  SELECT * FROM conflicts WHERE tenant = :tenant AND sequence > :after ORDER BY sequence LIMIT :rows
)

-- name: periods
SELECT CAST(json_group_array(json_array(tenant, period, first_seen_us, closed)) AS BLOB)
FROM (
  SELECT * FROM periods WHERE partition = :partition ORDER BY tenant, period LIMIT -1
)

-- name: repeat_after
SELECT index_name, bucket, run, entries, expires_us, data FROM repeats
WHERE partition = :partition AND (index_name, bucket, run) > (:index_name, :bucket, :run)
ORDER BY index_name, bucket, run
LIMIT 1

-- name: segment_after
SELECT partition, first_position, last_position, events, digest, previous, data FROM archive_segments
WHERE partition = :partition AND first_position > :first
ORDER BY first_position
LIMIT 1

-- name: segment_before
SELECT partition, first_position, last_position, events, digest, previous, data FROM archive_segments
WHERE partition = :partition AND first_position <= :position
ORDER BY first_position DESC
LIMIT 1
