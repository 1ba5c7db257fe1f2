-- Puts another record in the place of one, if nobody was faster.
-- KEYS: at, changed, keys, stamps, digests.
-- ARGV: salt, name, the record there is, the one to be ('' for none), a new stamp, how many changes are remembered,
-- how many digests come, those digests, and those that go.
-- Answers: {'ok'}, {'salt'}, {'changed'} or {'held', name}.
if redis.call('HGET', KEYS[1], 'salt') ~= ARGV[1] then
  return {'salt'}
end
local name, keep, coming = ARGV[2], tonumber(ARGV[6]), tonumber(ARGV[7])
if (redis.call('HGET', KEYS[3], name) or '') ~= ARGV[3] then
  return {'changed'}
end
for i = 8, 7 + coming do
  local holder = redis.call('HGET', KEYS[5], ARGV[i])
  if holder and holder ~= name then
    return {'held', holder}
  end
end
-- The first change decides whether a full server takes the others, too: so what only removes is always taken.
if ARGV[4] == '' then
  redis.call('HDEL', KEYS[3], name)
else
  redis.call('HSET', KEYS[3], name, ARGV[4])
end
for i = 8, 7 + coming do
  redis.call('HSET', KEYS[5], ARGV[i], name)
end
for i = 8 + coming, #ARGV do
  if redis.call('HGET', KEYS[5], ARGV[i]) == name then
    redis.call('HDEL', KEYS[5], ARGV[i])
  end
end
local version = redis.call('HINCRBY', KEYS[1], 'version', 1)
redis.call('ZADD', KEYS[2], version, name)
redis.call('ZADD', KEYS[4], version, ARGV[5])
local floor = version - keep
if floor > 0 then
  redis.call('HSET', KEYS[1], 'floor', floor)
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', floor)
  redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', '(' .. floor)
end
return {'ok'}
