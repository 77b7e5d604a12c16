--[[ Sets what all workers of a queue may do together, where BullMQ's setGlobalRateLimit and setGlobalConcurrency have it.

  KEYS  block of the queue
  ARGV  1 again  2 how many jobs in a period ('' is no limit)  3 the period (ms)  4 how many at a time ('' is no limit)
  Result  {'ok'} or a refusal (include/queue.lua)
  Atomic  the whole. A worker that waits is woken where more may be taken now, and a period that has begun
          lasts no longer than the new one.
  Repeat  does no harm.
]]
--@include queue

local BY_HAND = 2 ^ 53 - 1 -- what BullMQ's `rateLimit` writes to stop a queue for some time

local queue = queue_at(1)
local refused = refusal(queue_misfit(queue))
if refused then return refused end
local function set(fields)
  if fields[2] == '' then return end
  rcall('HSET', queue.meta, unpack(fields))
end
local function clear(value, ...)
  if value == '' then rcall('HDEL', queue.meta, ...) end
end
-- A period that has begun under another limit ends by the new one, or workers would wait for what is left of the old.
local function shorten_period(period)
  local begun = tonumber(rcall('GET', queue.limiter))
  if not period or not begun or begun >= BY_HAND then return end
  local left = rcall('PTTL', queue.limiter)
  if left < 0 or left > period then rcall('PEXPIRE', queue.limiter, whole(period)) end
end
-- A full Redis refuses what sets, so that comes first.
set({'max', ARGV[2], 'duration', ARGV[3]})
set({'concurrency', ARGV[4]})
clear(ARGV[2], 'max', 'duration')
clear(ARGV[4], 'concurrency')
shorten_period(tonumber(ARGV[3]))
metas[queue.base] = read_settings(queue) -- they have changed
if some_wait(queue) then mark_available(queue, read_meta(queue)) end
return {'ok'}
