-- Looking at a whole book without changing it. What is in braces is filled in by postgres_snapshot.py.

-- name: tables
-- $1 names
SELECT relname::text FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND relname = ANY ($1::text[])
ORDER BY relname

-- name: columns
-- $1 table. `place` is a column's place in the key, 0 outside it.
SELECT a.attname::text, a.atttypid = 'text'::regtype, coalesce(array_position(i.indkey::int2[], a.attnum), -1) + 1
FROM pg_attribute AS a JOIN pg_index AS i ON i.indrelid = a.attrelid AND i.indisprimary
WHERE a.attrelid = (SELECT oid FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relname = $1)
  AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum

-- name: ordered
SELECT {columns} FROM {table} ORDER BY {key}

-- name: bad_indexes
SELECT c.relname::text FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE c.relnamespace = current_schema()::regnamespace AND NOT (i.indisvalid AND i.indisready)
ORDER BY c.relname

-- name: bad_pages
-- Pages of this database whose checksum was found wrong when they were read; 0 where the server keeps none.
SELECT coalesce(checksum_failures, 0) FROM pg_stat_database WHERE datname = current_database()
