-- Takes a lease that is free.
-- KEYS: lease, epochs, born[, places of the owner]. ARGV: node and boot, milliseconds, name, most streams of the owner.
-- Answers: {'ok', epoch}, {'held', who, milliseconds left}, {'young', milliseconds}, {'limit'}.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local me, ttl, name = ARGV[1] .. '|', tonumber(ARGV[2]), ARGV[3]
local held = redis.call('GET', KEYS[1])
if held then
  -- The answer to the same node was lost.
  if string.sub(held, 1, #me) == me then
    redis.call('PEXPIRE', KEYS[1], ttl)
    return {'ok', string.sub(held, #me + 1)}
  end
  return {'held', held, tostring(redis.call('PTTL', KEYS[1]))}
end
-- A server that has lost everything may have lost leases that are held: their holders say so before they end.
local born = tonumber(redis.call('GET', KEYS[3]) or now + ttl + 1)
if born > now then
  redis.call('SET', KEYS[3], string.format('%.0f', now))
  born = now
end
if now - born < ttl then
  return {'young', string.format('%.0f', born + ttl - now)}
end
if KEYS[4] then
  redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', now)
  if not redis.call('ZSCORE', KEYS[4], name) and redis.call('ZCARD', KEYS[4]) >= tonumber(ARGV[4]) then
    return {'limit'}
  end
end
-- The first change decides whether a full server takes the others, too.
local epoch = string.format('%.0f', redis.call('HINCRBY', KEYS[2], name, 1))
redis.call('SET', KEYS[1], me .. epoch, 'PX', ttl)
if KEYS[4] then
  redis.call('ZADD', KEYS[4], now + ttl, name)
  redis.call('PEXPIRE', KEYS[4], ttl)
end
return {'ok', epoch}
