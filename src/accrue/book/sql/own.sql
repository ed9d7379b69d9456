-- Who has which partition, and what the deployment is. Touches `partitions`, `heartbeats` and `deployment`.

-- name: owners
SELECT partition, owner, partitions.epoch, heartbeat, address FROM partitions JOIN heartbeats USING (partition)
ORDER BY partition

-- name: beat
UPDATE heartbeats SET heartbeat = heartbeat + 1 WHERE partition = :partition AND epoch = :epoch

-- name: release
UPDATE partitions SET owner = '', address = '' WHERE partition = :partition AND epoch = :epoch

-- name: found
INSERT INTO deployment (number, partitions, log_identity, created_us)
VALUES (1, :partitions, :log_identity, :created_us)
ON CONFLICT (number) DO NOTHING

-- name: deployment
SELECT partitions, log_identity FROM deployment

-- name: checkpoints
SELECT partition, log_identity FROM partitions ORDER BY partition
