-- A node says that it is there.
-- KEYS: nodes, node. ARGV: name, boot, milliseconds after which it is lost, milliseconds after which it is forgotten, what it says of itself.
-- Answers: 1, or 0 where another process has its name.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ttl, remember = tonumber(ARGV[3]), tonumber(ARGV[4])
local held = redis.call('GET', KEYS[2])
if held and string.sub(held, 1, #ARGV[2] + 1) ~= ARGV[2] .. '|' then
  local last = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or 0)
  if last <= now and now - last < ttl then
    return 0
  end
end
redis.call('SET', KEYS[2], ARGV[2] .. '|' .. ARGV[5], 'PX', remember)
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - remember)
-- The server's clock was set back.
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf')) do
  redis.call('ZADD', KEYS[1], now, name)
end
return 1
