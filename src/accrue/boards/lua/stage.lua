-- Put some members of a board beside it, where nobody reads. They go by themselves if nobody comes back for them.
--
-- KEYS[1]     {tenant}:mark              hash: epoch, number, step, position, log
-- KEYS[2,3]   {tenant}:new-order:..., :new-rows:...
-- ARGV[4]     '1' for the first call, which begins with nothing
-- ARGV[5]     seconds until they go
-- ARGV[6]     MessagePack: [is it plain, subjects, prefixes, scores]; a subject comes once

local refusal = refused()
if refusal then
  return refusal
end

if ARGV[4] == '1' then
  redis.call('UNLINK', KEYS[2], KEYS[3])
end
local is_plain, subjects, prefixes, scores = unpack(cmsgpack.unpack(ARGV[6]))
local rows, placed = {}, {}
for i, subject in ipairs(subjects) do
  placed[2 * i - 1] = scores[i]
  if is_plain then
    placed[2 * i] = subject
  else
    placed[2 * i] = prefixes[i] .. ':' .. subject
    rows[2 * i - 1], rows[2 * i] = subject, prefixes[i]
  end
end
if #placed > 0 then
  redis.call('ZADD', KEYS[2], unpack(placed))
  redis.call('EXPIRE', KEYS[2], ARGV[5])
end
if #rows > 0 then
  redis.call('HSET', KEYS[3], unpack(rows))
  redis.call('EXPIRE', KEYS[3], ARGV[5])
end
redis.call('HINCRBY', KEYS[1], 'step', 1)
return 1
