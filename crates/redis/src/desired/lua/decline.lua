-- A node does not take a stream that it was offered: others may. KEYS: offers. ARGV: name, node.
local offer = redis.call('HGET', KEYS[1], ARGV[1])
if offer and string.sub(offer, 1, #ARGV[2] + 1) == ARGV[2] .. '|' then
  redis.call('HDEL', KEYS[1], ARGV[1])
end
return 1
