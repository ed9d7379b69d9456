-- Readying a rebuilt book to take the place of the live one. Touches `partitions`, `heartbeats` and `deployment`.

-- name: raise_epoch
-- Whoever claimed the old book with a lower epoch stays fenced by the new one.
UPDATE partitions SET epoch = max(epoch, :epoch)

-- name: raise_heartbeat_epoch
UPDATE heartbeats SET epoch = max(epoch, :epoch)

-- name: attach
ATTACH DATABASE :live AS live

-- name: copy_deployment
-- It is the same deployment.
INSERT INTO deployment SELECT * FROM live.deployment WHERE TRUE ON CONFLICT (number) DO NOTHING

-- name: detach
DETACH DATABASE live
