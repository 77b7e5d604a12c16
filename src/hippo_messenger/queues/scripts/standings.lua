--[[ Reads how some queues stand, and how long ago each one's service was heard of.

  KEYS  for each queue: its presence, then its block
  ARGV  1 again
  Result  {'ok', for each queue {ms since it was heard of or -1, waiting, active, delayed, completed, failed}}
  Atomic  the whole. Writes nothing; a key of the wrong type counts as empty.
  Repeat  does no harm.
]]
--@include queue

local BLOCK = 15

local function size(key, wanted)
  if misfit(key, wanted) then return 0 end
  return rcall(wanted == 'list' and 'LLEN' or 'ZCARD', key)
end

local now, standings = clock(), {}
for first = 1, #KEYS, BLOCK do
  local presence, queue = KEYS[first], queue_at(first + 1)
  local last = misfit(presence, 'zset') and {} or rcall('ZREVRANGE', presence, 0, 0, 'WITHSCORES')
  standings[#standings + 1] = {
    last[2] and now - last[2] or -1,
    size(queue.wait, 'list') + size(queue.prioritized, 'zset'),
    size(queue.active, 'list'),
    size(queue.delayed, 'zset'),
    size(queue.completed, 'zset'),
    size(queue.failed, 'zset'),
  }
end
return {'ok', standings}
