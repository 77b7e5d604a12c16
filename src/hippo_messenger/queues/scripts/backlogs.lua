--[[ Reads how many jobs wait for each service that has a limit, and notes which event types are refused at `send` meanwhile.

  KEYS  registry:full; for each service: its wait, prioritized, delayed
  ARGV  1 again  2 for how long (ms) the note counts
        then for each service: its name, limit, number of event types that are refused when it is full, and these
  Result  {'ok', for each service how many jobs wait} or a refusal (include/queue.lua)
  Atomic  the whole. A queue that can't be read counts as empty: `route` says what is wrong with it. The note is JSON,
          event type -> names of services; there is none while nobody is full.
  Repeat  does no harm.
]]
--@include queue

local full = KEYS[1]
local refused = refusal()
if refused then return refused end

local function size(key, wanted)
  if misfit(key, wanted) then return 0 end
  return rcall(wanted == 'list' and 'LLEN' or 'ZCARD', key)
end

local cursor = 2
local function argument()
  cursor = cursor + 1
  return ARGV[cursor]
end

local sizes, note, some = {'ok'}, {}, false
for first = 2, #KEYS, 3 do
  local waiting = size(KEYS[first], 'list') + size(KEYS[first + 1], 'zset') + size(KEYS[first + 2], 'zset')
  local service, limit = argument(), tonumber(argument())
  for _ = 1, tonumber(argument()) do
    local event_type = argument()
    if waiting >= limit then
      note[event_type] = note[event_type] or {}
      table.insert(note[event_type], service)
      some = true
    end
  end
  sizes[#sizes + 1] = waiting
end
-- It is only advice to senders: what else stands there is left alone.
if misfit(full, 'string') then return sizes end
if some then rcall('SET', full, cjson.encode(note), 'PX', ARGV[2]) else rcall('DEL', full) end
return sizes
