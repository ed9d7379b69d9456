-- Where some subjects stand. Answers {what it is, position, members, rows}, and for each row {its place, the place of the
-- first row that has its scores, its dense number, member, score}, places from 0.
--
-- ARGV[4...]   the subjects

local subjects = {}
for i = 4, #ARGV do
  subjects[#subjects + 1] = ARGV[i]
end
local prefixes = is_plain and {} or redis.call('HMGET', KEYS[4], unpack(subjects))
local found, last = {}, -1
for i, subject in ipairs(subjects) do
  local member = member_of(prefixes[i], subject)
  local place = member and redis.call('ZRANK', ORDER, member)
  if place then
    local score = redis.call('ZSCORE', ORDER, member)
    local first = STYLE == 'ordinal' and place or first_of(place, score, member)
    found[#found + 1] = {place, first, 0, member, score}
    last = math.max(last, place)
  end
end
if STYLE == 'dense' and last >= 0 then
  local numbers = dense_to(last)
  for _, row in ipairs(found) do
    row[3] = numbers[row[1] + 1]
  end
end
return {what, position, members, found}
