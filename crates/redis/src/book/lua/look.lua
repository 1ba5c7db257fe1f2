-- What changed since a node looked last.
-- KEYS: at, changed, keys, stamps. ARGV: the salt it knows, the last change it knows, the stamp of that, how many names at most.
-- Answers: {} for no keys at all; {salt} where the node has to read everything; {salt, version, stamp, floor, name, record or '', ...}.
local at = redis.call('HMGET', KEYS[1], 'salt', 'version', 'floor')
if not at[1] then
  return {}
end
local since = tonumber(ARGV[2])
local version, floor = tonumber(at[2] or 0), tonumber(at[3] or 0)
local is_known = at[1] == ARGV[1] and since <= version and since >= floor
if is_known and since > 0 then
  is_known = redis.call('ZRANGEBYSCORE', KEYS[4], since, since)[1] == ARGV[3]
end
if not is_known then
  return {at[1], tostring(floor)}
end
local names = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. since, '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[4])
local last = since
local answer = {at[1], '', '', tostring(floor)}
for i = 1, #names, 2 do
  answer[#answer + 1] = names[i]
  answer[#answer + 1] = redis.call('HGET', KEYS[3], names[i]) or ''
  last = tonumber(names[i + 1])
end
answer[2] = string.format('%.0f', last)
answer[3] = redis.call('ZRANGEBYSCORE', KEYS[4], last, last)[1] or ''
return answer
