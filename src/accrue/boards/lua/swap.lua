-- What was staged becomes the board.
--
-- KEYS[1]     {tenant}:mark                     hash: epoch, number, step, position, log
-- KEYS[2]     {tenant}:boards                   hash: board/period -> what it is (JSON)
-- KEYS[3,4]   {tenant}:order:..., :rows:...
-- KEYS[5,6]   {tenant}:new-order:..., :new-rows:...
-- ARGV[4]     board/period
-- ARGV[5]     what it is (JSON)
-- ARGV[6]     how many members were staged

local refusal = refused()
if refusal then
  return refusal
end

if redis.call('ZCARD', KEYS[5]) ~= tonumber(ARGV[6]) then
  return redis.error_reply('LOST something else is held')
end
redis.call('UNLINK', KEYS[3], KEYS[4])
for i = 3, 4 do
  if redis.call('EXISTS', KEYS[i + 2]) == 1 then
    redis.call('RENAME', KEYS[i + 2], KEYS[i])
    redis.call('PERSIST', KEYS[i])
  end
end
redis.call('HSET', KEYS[2], ARGV[4], ARGV[5])
redis.call('HINCRBY', KEYS[1], 'step', 1)
return 1
