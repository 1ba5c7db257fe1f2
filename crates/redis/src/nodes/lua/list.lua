-- All nodes that are remembered. KEYS: nodes. Answers for each: name, milliseconds since it was heard of.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local all = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 2, #all, 2 do
  all[i] = string.format('%.0f', math.max(0, now - tonumber(all[i])))
end
return all
