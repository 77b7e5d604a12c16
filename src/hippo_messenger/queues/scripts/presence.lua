--[[ Notes that one instance of a service is there, and says whether the registry still knows the service.

  KEYS  the service's presence; registry; the services that were unregistered
  ARGV  1 again  2 service  3 instance  4 how long (ms) an instance is remembered
  Result  {'ok', 'known', 'lost' or 'unregistered'} or a refusal (include/queue.lua); 'unregistered': somebody has taken
          the service out on purpose, and nothing is noted
  Repeat  does no harm.
]]
--@include queue

local presence, registry, unregistered = unpack(KEYS)
local refused = refusal(misfit(presence, 'zset') or misfit(registry, 'hash'))
if refused then return refused end
local is_known = rcall('HEXISTS', registry, ARGV[2]) == 1
if not is_known and rpcall('HEXISTS', unregistered, ARGV[2]) == 1 then return {'ok', 'unregistered'} end
local now = clock()
rcall('ZADD', presence, now, ARGV[3])
rcall('ZREMRANGEBYSCORE', presence, '-inf', now - ARGV[4])
rcall('PEXPIRE', presence, ARGV[4])
return {'ok', is_known and 'known' or 'lost'}
