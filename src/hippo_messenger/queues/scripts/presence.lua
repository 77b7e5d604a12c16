--[[ Notes that one instance of a service is there, and says whether the registry still knows the service.

  KEYS  the service's presence; registry
  ARGV  1 again  2 service  3 instance  4 how long (ms) an instance is remembered
  Result  {'ok', 1 if the registry has the service} or a refusal (include/queue.lua)
  Repeat  does no harm.
]]
--@include queue

local presence, registry = KEYS[1], KEYS[2]
local refused = refusal(misfit(presence, 'zset') or misfit(registry, 'hash'))
if refused then return refused end
local now = clock()
rcall('ZADD', presence, now, ARGV[3])
rcall('ZREMRANGEBYSCORE', presence, '-inf', now - ARGV[4])
rcall('PEXPIRE', presence, ARGV[4])
return {'ok', rcall('HEXISTS', registry, ARGV[2])}
