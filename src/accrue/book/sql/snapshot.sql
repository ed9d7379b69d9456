-- Looking at a whole book without changing it. What is in braces is filled in by sqlite_snapshot.py.

-- name: migrations
SELECT count(*) FROM migrations

-- name: tables
SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY name

-- name: columns
-- `pk` is a column's place in the key, 0 outside it.
SELECT name, type, pk FROM pragma_table_info(:table) ORDER BY cid

-- name: ordered
SELECT {columns} FROM {table} ORDER BY {key}

-- name: integrity
PRAGMA integrity_check({faults})
