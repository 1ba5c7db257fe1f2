-- Offers a stream to a node: for a while, only that one takes it.
-- KEYS: offers. ARGV: name, node, milliseconds.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. '|' .. string.format('%.0f', now + ARGV[3]))
return 1
