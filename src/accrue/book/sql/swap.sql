-- Readying a rebuilt book to take the place of the live one. Touches `partitions`.

-- name: raise_epoch
-- Whoever claimed the old book with a lower epoch stays fenced by the new one.
UPDATE partitions SET epoch = max(epoch, :epoch)
