--[[ Takes one service out of the registry; its queue and the jobs in it stay.

  KEYS  registry; its counters; its version; the broker queue's job counter; presence of the service
  ARGV  1 again  2 service
  Result  {'ok', 1 if it was registered, else 0} or a refusal (include/queue.lua)
  Atomic  the whole. Registrations of this service that are still on their way are older than this, and change nothing.
  Repeat  does no harm.
]]
--@include queue

local registry, counters, version, job_counter, presence = unpack(KEYS)
local service = ARGV[2]
local refused = refusal(misfit(registry, 'hash') or misfit(counters, 'hash') or misfit(version, 'string')
  or counter_misfit(job_counter) or misfit(presence, 'zset'))
if refused then return refused end

if ARGV[1] == '1' and rcall('HEXISTS', registry, service) == 0 then return {'ok', 1} end
rcall('HSET', counters, service, string.format('%.0f', rcall('INCR', job_counter)))
rcall('DEL', presence)
local was_there = rcall('HDEL', registry, service)
if was_there == 1 then
  local current = version_at(version)
  rcall('SET', version, string.format('%.0f', current > 0 and current + 1 or clock()))
end
return {'ok', was_there}
