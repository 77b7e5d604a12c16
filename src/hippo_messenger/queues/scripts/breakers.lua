--[[ Counts the workers whose breaker is open.

  KEYS  for each service: its open breakers
  ARGV  1 again
  Result  {'ok', for each service: how many} or a refusal (include/queue.lua)
  Atomic  the whole. Writes nothing; a key of the wrong type counts as empty.
  Repeat  does no harm.
]]
--@include queue

local refused = refusal(nil)
if refused then return refused end
local now, found = whole(clock()), {}
for at, breakers in ipairs(KEYS) do
  found[at] = misfit(breakers, 'zset') and 0 or rcall('ZCOUNT', breakers, now, '+inf')
end
return {'ok', found}
