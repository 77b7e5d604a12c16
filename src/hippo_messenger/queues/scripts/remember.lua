--[[ Writes back a registry that Redis has lost as a whole, as a broker remembers it, and the version of the layout.

  KEYS  registry; its version
  ARGV  1 again  then for each service: its name, registration (JSON)
  Result  {'ok', 1 if it was written, else 0} or a refusal (include/queue.lua)
  Atomic  the whole. Nothing is written where there is a registry or a version: then it was not lost, or is back already.
          The counters are left out: to its messenger a service counts as unknown until it has registered by itself.
  Repeat  does no harm.
]]
--@include queue

local registry, version = KEYS[1], KEYS[2]
local refused = refusal(misfit(registry, 'hash') or misfit(version, 'string'))
if refused then return refused end
if rcall('EXISTS', registry, version) > 0 or #ARGV < 3 then return {'ok', 0} end
rcall('SET', LAYOUT_KEY, LAYOUT)
for at = 2, #ARGV, 2 do rcall('HSET', registry, ARGV[at], ARGV[at + 1]) end
rcall('SET', version, string.format('%.0f', clock()))
return {'ok', 1}
