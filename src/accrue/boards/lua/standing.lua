-- Where rows stand. Reading begins with this.
--
-- KEYS[1]   {tenant}:mark          hash: epoch, number, step, position, log
-- KEYS[2]   {tenant}:boards        hash: board/period -> what it is (JSON)
-- KEYS[3]   {tenant}:order:...     sorted set: (prefix ':') subject, best first; the score is that of the first metric
-- KEYS[4]   {tenant}:rows:...      hash: subject -> prefix; a plain board has none
-- ARGV[1]   board/period
-- ARGV[2]   how equal rows are numbered: ordinal, competition or dense
-- ARGV[3]   a larger board is not numbered densely

local ORDER, STYLE = KEYS[3], ARGV[2]
local FURTHER_SCORE_WIDTH = 14

local what = redis.call('HGET', KEYS[2], ARGV[1])
if not what then
  return false
end
local position = redis.call('HGET', KEYS[1], 'position')
local members = redis.call('ZCARD', ORDER)
if STYLE == 'dense' and members > tonumber(ARGV[3]) then
  return redis.error_reply('DENSE ' .. members)
end
local described = cjson.decode(what)
local width = (#described.order - 1) * FURTHER_SCORE_WIDTH  -- of all scores but the first, at the head of a member
local is_plain = #described.order == 1 and described.ties == 'id'

local function member_of(prefix, subject)
  if is_plain then
    return subject
  end
  return prefix and prefix .. ':' .. subject
end

-- The place, from 0, of the first row whose scores are all those of the row at `place`.
local function first_of(place, score, member)
  local low, high = redis.call('ZCOUNT', ORDER, '-inf', '(' .. score), place
  if width == 0 then
    return low
  end
  local scores = string.sub(member, 1, width)
  while low < high do
    local middle = math.floor((low + high) / 2)
    local found = redis.call('ZRANGE', ORDER, middle, middle)[1]
    if string.sub(found, 1, width) == scores then
      high = middle
    else
      low = middle + 1
    end
  end
  return low
end

-- For each row from the top to `place`: how many different scores there are down to it.
local function dense_to(place)
  local rows, numbers, number = redis.call('ZRANGE', ORDER, 0, place, 'WITHSCORES'), {}, 0
  local above
  for i = 1, #rows, 2 do
    local scores = string.sub(rows[i], 1, width) .. rows[i + 1]
    if scores ~= above then
      number, above = number + 1, scores
    end
    numbers[#numbers + 1] = number
  end
  return numbers
end

