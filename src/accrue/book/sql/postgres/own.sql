-- Who has which partition, and what the deployment is. Touches `partitions`, `heartbeats`, `workers` and
-- `deployment`.

-- name: owners
SELECT partition, owner, partitions.epoch, heartbeat, address FROM partitions JOIN heartbeats USING (partition)
ORDER BY partition

-- name: beat
-- $1 partition, $2 epoch
UPDATE heartbeats SET heartbeat = heartbeat + 1 WHERE partition = $1 AND epoch = $2

-- name: release
-- $1 partition, $2 epoch
UPDATE partitions SET owner = '', address = '' WHERE partition = $1 AND epoch = $2

-- name: attend
-- $1 name, $2 room, $3 wary
INSERT INTO workers (name, heartbeat, room, wary) VALUES ($1, 1, $2, $3)
ON CONFLICT (name) DO UPDATE SET heartbeat = workers.heartbeat + 1, room = excluded.room, wary = excluded.wary

-- name: attending
SELECT name, heartbeat, room, wary FROM workers ORDER BY name

-- name: depart
-- $1 name
DELETE FROM workers WHERE name = $1

-- name: found
-- $1 partitions, $2 log_identity, $3 created_us. Waits for somebody who is doing the same.
INSERT INTO deployment (number, partitions, log_identity, created_us) VALUES (1, $1, $2, $3)
ON CONFLICT (number) DO NOTHING

-- name: deployment
SELECT partitions, log_identity FROM deployment

-- name: checkpoints
SELECT partition, log_identity FROM partitions ORDER BY partition
