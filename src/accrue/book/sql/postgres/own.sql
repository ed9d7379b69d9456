-- Who has which partition, and what the deployment is. Touches `partitions`, `heartbeats` and `deployment`.

-- name: owners
SELECT partition, owner, partitions.epoch, heartbeat, address FROM partitions JOIN heartbeats USING (partition)
ORDER BY partition

-- name: beat
-- $1 partition, $2 epoch
UPDATE heartbeats SET heartbeat = heartbeat + 1 WHERE partition = $1 AND epoch = $2

-- name: release
-- $1 partition, $2 epoch
UPDATE partitions SET owner = '', address = '' WHERE partition = $1 AND epoch = $2

-- name: found
-- $1 partitions, $2 log_identity, $3 created_us. Waits for somebody who is doing the same.
INSERT INTO deployment (number, partitions, log_identity, created_us) VALUES (1, $1, $2, $3)
ON CONFLICT (number) DO NOTHING

-- name: deployment
SELECT partitions, log_identity FROM deployment

-- name: checkpoints
SELECT partition, log_identity FROM partitions ORDER BY partition
