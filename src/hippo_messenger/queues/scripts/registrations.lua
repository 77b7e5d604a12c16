--[[ Reads every registration, at one version.

  KEYS  registry; its version
  ARGV  1 again
  Result  {'ok', version, {service, registration, service, registration, …}} or a refusal (include/queue.lua)
  Atomic  the whole. Writes nothing.
  Repeat  does no harm.
]]
--@include queue

local registry, version = KEYS[1], KEYS[2]
local refused = refusal(misfit(registry, 'hash') or misfit(version, 'string'))
if refused then return refused end
return {'ok', version_at(version), rcall('HGETALL', registry)}
