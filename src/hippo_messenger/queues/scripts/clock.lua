--[[ Tells the time.

  KEYS  the layout's version, which says which node of a cluster is asked
  ARGV  1 again
  Result  {'ok', now (ms)} or a refusal (include/queue.lua)
  Atomic  the whole. Writes nothing.
  Repeat  does no harm.
]]
--@include queue

local refused = refusal(misfit(KEYS[1], 'string'))
if refused then return refused end
return {'ok', clock()}
