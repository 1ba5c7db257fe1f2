-- Streams that nobody seems to run: some of them, where there are many.
-- KEYS: due, desired, offers. ARGV: how many at most, a part from 0 to 1 where to begin.
-- Answers: how many there are in the list of when to look, how many should run; then for each: name, and the node it is offered to or ''.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local most = tonumber(ARGV[1])
local count = redis.call('ZCOUNT', KEYS[1], '-inf', now)
local from = math.floor(math.max(0, count - most) * tonumber(ARGV[2]))
local answer = {tostring(redis.call('ZCARD', KEYS[1])), tostring(redis.call('HLEN', KEYS[2]))}
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', from, most)) do
  local offer = redis.call('HGET', KEYS[3], name) or ''
  local node, ends = string.match(offer, '^([^|]*)|(%d+)$')
  if not node or tonumber(ends) < now then
    node = ''
  end
  answer[#answer + 1] = name
  answer[#answer + 1] = node
end
return answer
