-- Renews leases that are still held by who holds them.
-- KEYS: epochs, then for each: lease, places of the owner (the lease again where there is no owner).
-- ARGV: milliseconds, then for each: node, boot and epoch, epoch, name, most streams of the owner ('' where there is none).
-- Answers for each: 1, or 0 where it is lost.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ttl = tonumber(ARGV[1])
local answer = {}
for i = 1, (#KEYS - 1) / 2 do
  local lease, places = KEYS[2 * i], KEYS[2 * i + 1]
  local value, epoch, name, most = ARGV[4 * i - 2], ARGV[4 * i - 1], ARGV[4 * i], ARGV[4 * i + 1]
  local held = redis.call('GET', lease)
  local is_ours = held == value
  if is_ours then
    redis.call('PEXPIRE', lease, ttl)
  elseif not held then
    -- It ran out, or the server has lost it: whoever had it last may have it again.
    local last = redis.call('HGET', KEYS[1], name)
    if not last or tonumber(last) <= tonumber(epoch) then
      redis.call('HSET', KEYS[1], name, epoch)
      redis.call('SET', lease, value, 'PX', ttl)
      is_ours = true
    end
  end
  if is_ours and most ~= '' then
    redis.call('ZREMRANGEBYSCORE', places, '-inf', now)
    if not redis.call('ZSCORE', places, name) and redis.call('ZCARD', places) >= tonumber(most) then
      redis.call('DEL', lease)
      is_ours = false
    else
      redis.call('ZADD', places, now + ttl, name)
      redis.call('PEXPIRE', places, ttl)
    end
  end
  answer[i] = is_ours and 1 or 0
end
return answer
