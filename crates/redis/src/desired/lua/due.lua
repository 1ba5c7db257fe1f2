-- Says of streams when others may look whether they are free.
-- KEYS: due. ARGV: what to do, milliseconds, names.
--   put: they should run, and are free if nobody said otherwise · hold: a node runs them, for so long if it does not say so again ·
--   free: nobody runs them · gone: they should not run.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local what, most = ARGV[1], tonumber(ARGV[2])
for i = 3, #ARGV do
  if what == 'put' then
    redis.call('ZADD', KEYS[1], 'NX', 0, ARGV[i])
  elseif what == 'hold' then
    redis.call('ZADD', KEYS[1], 'XX', now + most, ARGV[i])
  elseif what == 'free' then
    redis.call('ZADD', KEYS[1], 'XX', 0, ARGV[i])
  else
    redis.call('ZREM', KEYS[1], ARGV[i])
  end
end
-- The server's clock was set back: nothing is held for longer than that.
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. (now + most), '+inf', 'LIMIT', 0, 100)) do
  redis.call('ZADD', KEYS[1], now + most, name)
end
return 1
