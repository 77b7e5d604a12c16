--[[ Brings delayed jobs nearer, as if so much time had passed for them: for tests only.

  KEYS  for each queue: delayed; marker
  ARGV  1 by how much (ms)
  Result  how many jobs were moved, or an error naming a key of the wrong type, and then nothing was moved
  Atomic  the whole. The next ticks of job schedulers stay where they are: only delays and retries are moved.
  Repeat  moves them once more.
]]
for _, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'zset' and kind ~= 'none' then
    return redis.error_reply('WRONGTYPE expected a zset at ' .. key .. ', got a ' .. kind)
  end
end
-- BullMQ's score of a delayed job: the time at which it is due (ms), and 12 bits for the order within that.
local by = tonumber(ARGV[1]) * 0x1000
local moved = 0
for at = 1, #KEYS, 2 do
  local delayed, marker = KEYS[at], KEYS[at + 1]
  local before = moved
  local jobs = redis.call('ZRANGE', delayed, 0, -1, 'WITHSCORES')
  for place = 1, #jobs, 2 do
    if not string.find(jobs[place], '^repeat:') then
      redis.call('ZADD', delayed, string.format('%.0f', math.max(jobs[place + 1] - by, 0)), jobs[place])
      moved = moved + 1
    end
  end
  -- Whoever waits on the queue looks anew: jobs that are due now wake the others.
  if moved > before then redis.call('ZADD', marker, 0, '0') end
end
return moved
