--[[ Reads when the next job of some schedulers is due.

  KEYS  repeat (the schedulers)
  ARGV  1 again  then for each scheduler: its id
  Result  {'ok', now (ms), for each: when its next job is due (ms), '' where it is gone} or a refusal (include/queue.lua)
  Atomic  the whole. Writes nothing.
  Repeat  does no harm.
]]
--@include queue

local refused = refusal(misfit(KEYS[1], 'zset'))
if refused then return refused end
local due = {}
for at = 2, #ARGV do due[at - 1] = rcall('ZSCORE', KEYS[1], ARGV[at]) or '' end
return {'ok', clock(), due}
