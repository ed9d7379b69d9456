-- Looking at a schema before it is changed, and whose it is. Tables are looked for where new ones would be made.

-- name: surroundings
SELECT current_schema() AS schema, current_setting('server_encoding') AS encoding

-- name: record_columns
SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute
WHERE attrelid = (SELECT oid FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relname = 'migrations')
  AND attnum > 0 AND NOT attisdropped

-- name: taken_names
-- $1 names
SELECT relname::text FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relname = ANY ($1::text[])
ORDER BY relname

-- name: applied
SELECT number, digest FROM migrations ORDER BY number

-- name: lock
-- $1 number. Held until the connection ends; one for each schema.
SELECT pg_advisory_lock($1::integer, current_schema()::regnamespace::oid::bigint::bit(32)::integer)

-- name: be_patient
-- A lock that somebody's own transaction has on a table is waited for, but not for ever.
SET lock_timeout = '60s'

-- name: create_record
CREATE TABLE IF NOT EXISTS migrations (number bigint NOT NULL PRIMARY KEY, name text NOT NULL, digest text NOT NULL)

-- name: comment_record
COMMENT ON TABLE migrations IS
  'Which changes of the schema this book has had. `digest` is the SHA-256 of the change''s text.'

-- name: record
-- $1 number, $2 name, $3 digest
INSERT INTO migrations (number, name, digest) VALUES ($1, $2, $3)
