-- Gives a lease back.
-- KEYS: lease[, places of the owner]. ARGV: node, boot and epoch, name. Answers: 1, or 0 where it was another's.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1])
if KEYS[2] then
  redis.call('ZREM', KEYS[2], ARGV[2])
end
return 1
