-- How long ago nodes were heard of. KEYS: nodes. ARGV: names. Answers for each: milliseconds, or nothing for one that is not known.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ages = {}
for i, name in ipairs(ARGV) do
  local last = redis.call('ZSCORE', KEYS[1], name)
  ages[i] = last and string.format('%.0f', math.max(0, now - tonumber(last)))
end
return ages
