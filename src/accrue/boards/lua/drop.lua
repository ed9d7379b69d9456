-- Forget one board.
--
-- KEYS[1]     {tenant}:mark                     hash: epoch, number, step, position, log
-- KEYS[2]     {tenant}:boards                   hash: board/period -> what it is (JSON)
-- KEYS[3,4]   {tenant}:order:..., :rows:...
-- ARGV[4]     board/period

local refusal = refused()
if refusal then
  return refusal
end

redis.call('UNLINK', KEYS[3], KEYS[4])
redis.call('HDEL', KEYS[2], ARGV[4])
redis.call('HINCRBY', KEYS[1], 'step', 1)
return 1
