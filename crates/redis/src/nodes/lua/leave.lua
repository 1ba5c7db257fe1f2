-- A node leaves. KEYS: nodes, node. ARGV: name, boot.
local held = redis.call('GET', KEYS[2])
if held and string.sub(held, 1, #ARGV[2] + 1) == ARGV[2] .. '|' then
  redis.call('DEL', KEYS[2])
  redis.call('ZREM', KEYS[1], ARGV[1])
end
return 1
