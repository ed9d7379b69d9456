-- A piece of a board. Answers {what it is, position, members, place of the first row, place of the first row that has
-- its scores, its dense number, member, score, member, score ...}, places from 0; false when the board is not here, and
-- 'NOBODY' as an error when the subject asked for is not on it.
--
-- ARGV[4]     how many rows
-- ARGV[5-7]   from, place    below, member, score    around, subject, rows before it

local limit, how = tonumber(ARGV[4]), ARGV[5]

-- By bytes: the comparison of Lua goes by the locale of the server.
local function is_less(left, right)
  for i = 1, math.min(#left, #right) do
    local one, other = string.byte(left, i), string.byte(right, i)
    if one ~= other then
      return one < other
    end
  end
  return #left < #right
end

-- The place of the first row below the row (member, score), which need not be there any more.
local function below(member, score)
  local place = redis.call('ZRANK', ORDER, member)
  if place and redis.call('ZSCORE', ORDER, member) == score then
    return place + 1
  end
  local low = redis.call('ZCOUNT', ORDER, '-inf', '(' .. score)
  local high = redis.call('ZCOUNT', ORDER, '-inf', score)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if is_less(member, redis.call('ZRANGE', ORDER, middle, middle)[1]) then
      high = middle
    else
      low = middle + 1
    end
  end
  return low
end

local start
if how == 'from' then
  start = tonumber(ARGV[6])
elseif how == 'below' then
  start = below(ARGV[6], ARGV[7])
else
  local prefix = not is_plain and redis.call('HGET', KEYS[4], ARGV[6])
  local member = member_of(prefix, ARGV[6])
  local place = member and redis.call('ZRANK', ORDER, member)
  if not place then
    return redis.error_reply('NOBODY of that name')
  end
  start = math.max(place - tonumber(ARGV[7]), 0)
  limit = limit - (tonumber(ARGV[7]) - (place - start))
end

local rows = {}
if limit > 0 and start < members then
  rows = redis.call('ZRANGE', ORDER, start, start + limit - 1, 'WITHSCORES')
end
local first, dense = start, 0
if #rows > 0 and STYLE ~= 'ordinal' then
  first = first_of(start, rows[2], rows[1])
  if STYLE == 'dense' then
    dense = dense_to(start)[start + 1]
  end
end
return {what, position, members, start, first, dense, rows}
