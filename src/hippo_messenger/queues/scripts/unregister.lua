--[[ Takes one service out of the registry, with its repeat job, and notes that this was meant; its queue and the jobs in it
  stay.

  KEYS  registry; its counters; its version; the broker queue's job counter; presence of the service;
        the changes of its registration; the services that were unregistered;
        the broker queue's repeat (the schedulers), delayed and events
  ARGV  1 again  2 service  3 id of its scheduler  4 events stream
  Result  {'ok', 1 if it was registered, else 0} or a refusal (include/queue.lua)
  Atomic  the whole. Registrations of this service that are still on their way are older than this, and change nothing.
  Repeat  does no harm.
]]
--@include queue

local registry, counters, version, job_counter, presence, changes, unregistered = unpack(KEYS, 1, 7)
local schedulers, delayed, events = unpack(KEYS, 8, 10)
local service, scheduler = ARGV[2], ARGV[3]
local refused = refusal(misfit(registry, 'hash') or misfit(counters, 'hash') or misfit(version, 'string')
  or counter_misfit(job_counter) or misfit(presence, 'zset') or misfit(unregistered, 'hash')
  or misfit(schedulers, 'zset') or misfit(delayed, 'zset') or misfit(events, 'stream'))
if refused then return refused end

if ARGV[1] == '1' and rcall('HEXISTS', registry, service) == 0 then return {'ok', 1} end
rcall('HSET', counters, service, string.format('%.0f', rcall('INCR', job_counter)))
rcall('HSET', unregistered, service, whole(clock()))
rcall('DEL', presence, changes)
local was_there = rcall('HDEL', registry, service)
if was_there == 1 then
  local current = version_at(version)
  rcall('SET', version, string.format('%.0f', current > 0 and current + 1 or clock()))
end

-- As BullMQ's removeJobScheduler.
local due = rcall('ZSCORE', schedulers, scheduler)
if due then
  local job = 'repeat:' .. scheduler .. ':' .. due
  if rcall('ZREM', delayed, job) == 1 then
    local key = string.sub(delayed, 1, -#'delayed' - 1) .. job
    rcall('DEL', key, key .. ':logs', key .. ':dependencies', key .. ':processed', key .. ':failed',
      key .. ':unsuccessful')
    emit({events = events}, {stream = ARGV[4] == '1', emitted = 0}, 'removed', 'jobId', job, 'prev', 'delayed')
  end
  rcall('ZREM', schedulers, scheduler)
  rcall('DEL', schedulers .. ':' .. scheduler)
end
return {'ok', was_there}
