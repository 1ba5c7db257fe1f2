-- Says that the keys that were put back are all there are, if nobody has begun anew meanwhile.
-- KEYS: at, stamps. ARGV: salt, version, stamp. Answers: 1, or 0 where somebody was faster.
if redis.call('HGET', KEYS[1], 'salt') then
  return 0
end
redis.call('HSET', KEYS[1], 'salt', ARGV[1], 'version', ARGV[2], 'floor', ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[3])
return 1
