-- Set some members of some boards, drop others, and move the mark when this is the last call of a publication.
--
-- KEYS[1]      {tenant}:mark                     hash: epoch, number, step, position, log
-- KEYS[2]      {tenant}:boards                   hash: board/period -> what it is (JSON)
-- KEYS[3,4]    {tenant}:order:..., :rows:...     of the first board; KEYS[5,6] of the second, and so on
-- ARGV[4]      the position that all boards are complete up to then, or '' when more calls follow
-- ARGV[5]      MessagePack, for each board: [field, what it is, is it new, is it plain, subjects, prefixes, scores,
--              removed]. A plain board has no prefixes and no rows: its members are the subjects.

local refusal = refused()
if refusal then
  return refusal
end

local function whole_member(prefix, subject)
  return prefix .. ':' .. subject
end

local function set_plain(order, subjects, scores)
  local set = {}
  for i, subject in ipairs(subjects) do
    set[2 * i - 1], set[2 * i] = scores[i], subject
  end
  redis.call('ZADD', order, unpack(set))
end

local function set(order, rows, subjects, prefixes, scores)
  local before = redis.call('HMGET', rows, unpack(subjects))
  local gone, changed, placed = {}, {}, {}
  for i, subject in ipairs(subjects) do
    local prefix = prefixes[i]
    if before[i] ~= prefix then
      if before[i] then
        gone[#gone + 1] = whole_member(before[i], subject)
      end
      changed[#changed + 1] = subject
      changed[#changed + 1] = prefix
    end
    placed[2 * i - 1], placed[2 * i] = scores[i], whole_member(prefix, subject)
  end
  if #gone > 0 then
    redis.call('ZREM', order, unpack(gone))
  end
  if #changed > 0 then
    redis.call('HSET', rows, unpack(changed))
  end
  redis.call('ZADD', order, unpack(placed))
end

local function remove(order, rows, is_plain, removed)
  if is_plain then
    redis.call('ZREM', order, unpack(removed))
    return
  end
  local before, gone = redis.call('HMGET', rows, unpack(removed)), {}
  for i, subject in ipairs(removed) do
    if before[i] then
      gone[#gone + 1] = whole_member(before[i], subject)
    end
  end
  if #gone > 0 then
    redis.call('ZREM', order, unpack(gone))
    redis.call('HDEL', rows, unpack(removed))
  end
end

for i, change in ipairs(cmsgpack.unpack(ARGV[5])) do
  local order, rows = KEYS[2 * i + 1], KEYS[2 * i + 2]
  local field, what, is_new, is_plain, subjects, prefixes, scores, removed = unpack(change)
  if is_new then
    redis.call('UNLINK', order, rows)
    redis.call('HSET', KEYS[2], field, what)
  elseif redis.call('HGET', KEYS[2], field) ~= what then
    return redis.error_reply('LOST something else is held')
  end
  if #subjects > 0 then
    if is_plain then
      set_plain(order, subjects, scores)
    else
      set(order, rows, subjects, prefixes, scores)
    end
  end
  if #removed > 0 then
    remove(order, rows, is_plain, removed)
  end
end

redis.call('HINCRBY', KEYS[1], 'step', 1)
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[1], 'position', ARGV[4])
end
return 1
