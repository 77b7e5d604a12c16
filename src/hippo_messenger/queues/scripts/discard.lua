--[[ Removes dead letters for good, as BullMQ's removeJob does, and notes in a record how many and why.

  KEYS  block of the queue; the sorted set of its rejected events; the record of what was discarded
  ARGV  1 again  2 events stream  3 the act that this call is a part of  4 reason  then for each letter: id, score
  Result  {'ok', how many this act has discarded so far, how many were ever} or a refusal (include/queue.lua)
  Atomic  the whole. Works in a full Redis, for that is when room is to be made.
  Repeat  does no harm: what the lost call has removed is counted already.
]]
--@include queue
--@include unique
--@include family
--@include remove
--@include finish
--@include letter

local FIRST, PARAMETERS, MOST_RECORDS = 5, 2, 1000
local queue, rejected, record = queue_at(1), KEYS[15], KEYS[16]
local refused = refusal(queue_misfit(queue) or misfit(rejected, 'zset') or misfit(record, 'list'))
if refused then return refused end
local act, reason, now = ARGV[3], ARGV[4], clock()
local meta = read_meta(queue)
meta.stream = ARGV[2] == '1'

-- The newest entry of the record: {at, act, reason, count, total}.
local function newest_entry()
  local fine, entry = pcall(cjson.decode, rcall('LINDEX', record, 0) or '')
  if not fine or type(entry) ~= 'table' then return {count = 0, total = 0} end
  return {act = entry.act, count = counted(tostring(entry.count)) or 0, total = counted(tostring(entry.total)) or 0}
end

local function free_its_unique(id)
  local unique = rpcall('HGET', queue.base .. id, 'deid')
  local key = type(unique) == 'string' and queue.base .. 'de:' .. unique
  if key and rpcall('GET', key) == id then rcall('DEL', key) end
end

local function note(entry, removed)
  local count = (entry.act == act and entry.count or 0) + removed
  local text = cjson.encode({at = now, act = act, reason = reason, count = count, total = entry.total + removed})
  if entry.act == act then rcall('LSET', record, 0, text) else rcall('LPUSH', record, text) end
  rcall('LTRIM', record, 0, MOST_RECORDS - 1)
  return count, entry.total + removed
end

local leaving, entry = {}, newest_entry()
for at = FIRST, #ARGV, PARAMETERS do
  if is_letter(queue, ARGV[at], ARGV[at + 1]) then leaving[#leaving + 1] = ARGV[at] end
end
if #leaving == 0 then return {'ok', entry.act == act and entry.count or 0, entry.total} end

local removed = 0
for _, id in ipairs(leaving) do
  if rcall('ZREM', queue.failed, id) == 1 then
    removed = removed + 1
    rcall('ZREM', rejected, id)
    free_its_unique(id)
    drop_finished(queue, meta, 'failed', {id})
    emit(queue, meta, 'removed', 'jobId', id, 'prev', 'failed')
  end
end
trim_events(queue, meta)
local count, total = note(entry, removed)
return {'ok', count, total}
