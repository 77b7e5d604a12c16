--[[ Notes that one instance of a service is there, and says whether the registry still knows the service.

  KEYS  the service's presence; registry; the services that were unregistered; the registry's counters
  ARGV  1 again  2 service  3 instance  4 how long (ms) an instance is remembered
  Result  {'ok', 'known', 'lost' or 'unregistered'} or a refusal (include/queue.lua); 'known': the registry has the service
          by its own word; 'unregistered': somebody has taken it out on purpose, and nothing is noted
  Repeat  does no harm.
]]
--@include queue

local presence, registry, unregistered, counters = unpack(KEYS)
local refused = refusal(misfit(presence, 'zset') or misfit(registry, 'hash') or misfit(counters, 'hash'))
if refused then return refused end
local is_known = rcall('HEXISTS', registry, ARGV[2]) == 1
if not is_known and rpcall('HEXISTS', unregistered, ARGV[2]) == 1 then return {'ok', 'unregistered'} end
local now = clock()
rcall('ZADD', presence, now, ARGV[3])
rcall('ZREMRANGEBYSCORE', presence, '-inf', now - ARGV[4])
rcall('PEXPIRE', presence, ARGV[4])
-- A broker may have written back what it knew of a lost registry; the service itself has the last word.
local is_its_own_word = is_known and rcall('HEXISTS', counters, ARGV[2]) == 1
return {'ok', is_its_own_word and 'known' or 'lost'}
