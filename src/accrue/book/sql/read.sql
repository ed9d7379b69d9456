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
SELECT CAST(json_group_array(json_array(tenant, board, period, place, rank, subject, scores)) AS BLOB)
FROM (
  SELECT * FROM board_results
  WHERE tenant = :tenant AND board = :board AND period = :period AND place > :place
  ORDER BY place
  LIMIT :rows
)

-- name: programs
SELECT CAST(json_group_array(json_array(tenant, version, sequence, text, tzdata, semantics)) AS BLOB)
FROM (
  SELECT * FROM programs WHERE partition = :partition ORDER BY sequence, tenant, version LIMIT -1
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
