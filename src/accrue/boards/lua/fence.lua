-- Every write begins with this: does the caller still hold what it left?
--
-- KEYS[1]     {tenant}:mark    hash: epoch, number, step, position, log
-- ARGV[1-3]   epoch, number and step of the caller's turn

local function refused()
  local held = redis.call('HMGET', KEYS[1], 'epoch', 'number', 'step')
  if held[1] == ARGV[1] and held[2] == ARGV[2] and held[3] == ARGV[3] then
    return nil
  end
  if held[1] and tonumber(held[1]) > tonumber(ARGV[1]) then
    return redis.error_reply('FENCED ' .. held[1])
  end
  return redis.error_reply('LOST something else is held')
end

