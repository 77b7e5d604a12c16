--[[ Reads how some queues stand, and how long ago each one's service was heard of.

  KEYS  for each queue: its presence, the changes of its registration, the sorted set of its rejected events, its block
  ARGV  1 again
  Result  {'ok', now (ms), for each queue {ms since it was heard of or -1, waiting, active, delayed, completed, failed,
          rejected events (among the failed), 1 if paused, ms since the job that is next was
          added or last redriven, or -1,
          for completed, then failed: BullMQ's count, prevTS, prevCount and newest point, '' where there is none,
          rate limit and its period (ms) and global concurrency, '' where there is none, {changes, the newest first}}}
  Atomic  the whole. Writes nothing; a key of the wrong type counts as empty.
  Repeat  does no harm.
]]
--@include queue
--@include records

local BLOCK = 17

local function size(key, wanted)
  if misfit(key, wanted) then return 0 end
  return rcall(wanted == 'list' and 'LLEN' or 'ZCARD', key)
end

local function records_in(queue, rejected)
  if size(queue.failed, 'zset') == 0 or size(rejected, 'zset') == 0 then return 0 end
  return count_records(queue, rejected)
end

local function next_job(queue)
  if size(queue.wait, 'list') > 0 then return rcall('LINDEX', queue.wait, -1) end
  if size(queue.prioritized, 'zset') > 0 then return rcall('ZRANGE', queue.prioritized, 0, 0)[1] end
  return nil
end

-- When a job was last redriven, or 0: one that failed days ago has not waited since then.
local function redriven_on(history)
  local fine, past = pcall(cjson.decode, history or '')
  local last = fine and type(past) == 'table' and past[#past]
  local time = type(last) == 'table' and last.redrivenOn
  return type(time) == 'number' and time > 0 and time or 0
end

local function age_of_next(queue, now)
  local id = next_job(queue)
  local found = id and rpcall('HMGET', queue.base .. id, 'timestamp', 'history') or {}
  local added = counted(found[1])
  return added and math.max(now - math.max(added, redriven_on(found[2])), 0) or -1
end

local function add_metrics(standing, queue, set)
  local key = queue.base .. 'metrics:' .. set
  local found = misfit(key, 'hash') and {} or rcall('HMGET', key, 'count', 'prevTS', 'prevCount')
  for at = 1, 3 do standing[#standing + 1] = found[at] or '' end
  standing[#standing + 1] = not misfit(key .. ':data', 'list') and rcall('LINDEX', key .. ':data', 0) or ''
end

local now, standings = clock(), {}
for first = 1, #KEYS, BLOCK do
  local presence, changes, rejected, queue = KEYS[first], KEYS[first + 1], KEYS[first + 2], queue_at(first + 3)
  local last = misfit(presence, 'zset') and {} or rcall('ZREVRANGE', presence, 0, 0, 'WITHSCORES')
  local standing = {
    last[2] and now - last[2] or -1,
    size(queue.wait, 'list') + size(queue.prioritized, 'zset'),
    size(queue.active, 'list'),
    size(queue.delayed, 'zset'),
    size(queue.completed, 'zset'),
    size(queue.failed, 'zset'),
    records_in(queue, rejected),
    not misfit(queue.meta, 'hash') and rcall('HEXISTS', queue.meta, 'paused') or 0,
    age_of_next(queue, now),
  }
  add_metrics(standing, queue, 'completed')
  add_metrics(standing, queue, 'failed')
  local limits = misfit(queue.meta, 'hash') and {} or rcall('HMGET', queue.meta, 'max', 'duration', 'concurrency')
  for at = 1, 3 do standing[#standing + 1] = limits[at] or '' end
  standing[#standing + 1] = misfit(changes, 'list') and {} or rcall('LRANGE', changes, 0, -1)
  standings[#standings + 1] = standing
end
return {'ok', now, standings}
