--[[ Writes one service's registration into the registry, unless a newer one stands there, and the version of the layout.

  KEYS  registry; its counters; its version; the broker queue's job counter; the changes of the service's registration;
        the services that were unregistered
  ARGV  1 again  2 service  3 registration (JSON)  4 number of the registration job that it came with
        5 who made it (JSON without line breaks)
  Result  {'ok', 'changed' | 'same' | 'older', registry version} or a refusal (include/queue.lua)
  Atomic  the whole. The version moves only when the registration changes.
  Repeat  does no harm.
]]
--@include queue

local registry, counters, version, job_counter, changes, unregistered = unpack(KEYS)
local CHANGES_KEPT, CHANGES_AGE = 8, 3600000
local service, registration, number = ARGV[2], ARGV[3], tonumber(ARGV[4])
local refused = refusal(misfit(registry, 'hash') or misfit(counters, 'hash') or misfit(version, 'string'))
if refused then return refused end

if rcall('GET', LAYOUT_KEY) ~= tostring(LAYOUT) then rcall('SET', LAYOUT_KEY, LAYOUT) end
local current = version_at(version)
local known = counted(rcall('HGET', counters, service)) or 0
-- A number that BullMQ's counter has not reached yet is left over from before the counter was lost.
local highest = tonumber(rpcall('GET', job_counter)) or 0
local standing = rcall('HGET', registry, service)
if known > number and known <= highest then return {'ok', 'older', current} end
rcall('HSET', counters, service, number)
if not misfit(unregistered, 'hash') then rcall('HDEL', unregistered, service) end
if standing == registration then return {'ok', 'same', current} end
rcall('HSET', registry, service, registration)
-- They are only looked at: what else stands there is left alone.
if not misfit(changes, 'list') then
  rcall('LPUSH', changes, whole(clock()) .. ' ' .. ARGV[5] .. '\n' .. registration)
  rcall('LTRIM', changes, 0, CHANGES_KEPT - 1)
  rcall('PEXPIRE', changes, CHANGES_AGE)
end
-- Where the version was lost it begins far from where any broker's cache may stand.
local moved = current > 0 and current + 1 or clock()
rcall('SET', version, moved)
return {'ok', 'changed', moved}
