-- Take over the publishing of a tenant. Answers {epoch found, position found, boards as field, value, field, value ...};
-- the first two are false where nobody published yet.
--
-- KEYS[1]   {tenant}:mark      hash: epoch, number, step, position, log
-- KEYS[2]   {tenant}:boards    hash: board/period -> what it is (JSON)
-- ARGV      epoch, number, log

local held = redis.call('HMGET', KEYS[1], 'epoch', 'number', 'position', 'log')
if held[1] then
  if held[4] ~= ARGV[3] then
    return redis.error_reply('ANOTHER log')
  end
  local epoch, number = tonumber(held[1]), tonumber(held[2])
  if epoch > tonumber(ARGV[1]) then
    return redis.error_reply('FENCED ' .. held[1])
  end
  if epoch == tonumber(ARGV[1]) and number >= tonumber(ARGV[2]) then
    return redis.error_reply('LOST something else is held')
  end
end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'number', ARGV[2], 'step', '0', 'log', ARGV[3])
redis.call('HSETNX', KEYS[1], 'position', '0')
return {held[1], held[3], redis.call('HGETALL', KEYS[2])}
