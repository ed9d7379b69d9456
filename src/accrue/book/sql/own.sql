-- Who has which partition, and what the deployment is. Touches `partitions`, `heartbeats`, `workers` and
-- `deployment`.

-- name: owners
SELECT partition, owner, partitions.epoch, heartbeat, address FROM partitions JOIN heartbeats USING (partition)
ORDER BY partition

-- name: beat
UPDATE heartbeats SET heartbeat = heartbeat + 1 WHERE partition = :partition AND epoch = :epoch

-- name: release
UPDATE partitions SET owner = '', address = '' WHERE partition = :partition AND epoch = :epoch

-- name: attend
INSERT INTO workers (name, heartbeat, room, wary) VALUES (:name, 1, :room, :wary)
ON CONFLICT (name) DO UPDATE SET heartbeat = heartbeat + 1, room = excluded.room, wary = excluded.wary

-- name: attending
SELECT name, heartbeat, room, wary FROM workers ORDER BY name

-- name: depart
DELETE FROM workers WHERE name = :name

-- name: found
INSERT INTO deployment (number, partitions, log_identity, created_us)
VALUES (1, :partitions, :log_identity, :created_us)
ON CONFLICT (number) DO NOTHING

-- name: deployment
SELECT partitions, log_identity FROM deployment

-- name: checkpoints
SELECT partition, log_identity FROM partitions ORDER BY partition
