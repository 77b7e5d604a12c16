--[[ Reads how long ago each instance of some services was heard of.

  KEYS  the presence of each service
  ARGV  1 again
  Result  {'ok', for each service {ms, ms, …}, the latest first; empty where its key is none}
  Atomic  the whole. Writes nothing.
  Repeat  does no harm.
]]
--@include queue

local now, heard = clock(), {}
for place, presence in ipairs(KEYS) do
  heard[place] = {}
  local entries = misfit(presence, 'zset') and {} or rcall('ZREVRANGE', presence, 0, -1, 'WITHSCORES')
  for at = 2, #entries, 2 do table.insert(heard[place], now - entries[at]) end
end
return {'ok', heard}
