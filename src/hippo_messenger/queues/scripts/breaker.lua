--[[ Notes that the breaker of one worker is open, or that it is not.

  KEYS  the service's open breakers
  ARGV  1 again  2 worker  3 how long (ms) that is remembered, 0 forgets it
  Result  {'ok'} or a refusal (include/queue.lua)
  Atomic  the whole.
  Repeat  does no harm: what is noted already stays as it is.
]]
--@include queue

local breakers, worker, remembered = KEYS[1], ARGV[2], tonumber(ARGV[3])
local refused = refusal(misfit(breakers, 'zset'))
if refused then return refused end
local now = clock()
rcall('ZREMRANGEBYSCORE', breakers, '-inf', whole(now))
if remembered == 0 then
  rcall('ZREM', breakers, worker)
elseif ARGV[1] ~= '1' or not rcall('ZSCORE', breakers, worker) then
  rcall('ZADD', breakers, whole(now + remembered), worker)
  rcall('PEXPIRE', breakers, ARGV[3])
end
return {'ok'}
