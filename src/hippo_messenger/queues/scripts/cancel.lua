--[[ Removes a delayed event from the broker queue, and with it the direct copy that waits in its sender's own queue.

  KEYS  block of the broker queue; block of the sender's own queue; base of the duplicate window
  ARGV  1 again  2 events stream  3 window (ms)  4 id  5 digest of the direct copy
  Result  {'ok', 1 if it was removed, else 0: it is not delayed (any more)} or a refusal (include/queue.lua)
  Atomic  the whole.
  Repeat  does no harm, but finds nothing.
]]
--@include queue
--@include unique
--@include family
--@include remove
--@include finish
--@include window

local broker, own, seen = queue_at(1), queue_at(15), KEYS[29]
local id = ARGV[4]
local window, wrong = window_at(seen, tonumber(ARGV[3]), clock())
if window then wrong = select(2, first_seen(window, {ARGV[5]})) end
local refused = refusal(queue_misfit(broker) or queue_misfit(own) or wrong)
if refused then return refused end

local function remove_delayed(queue)
  if rcall('ZREM', queue.delayed, id) == 0 then return false end
  local meta = read_meta(queue)
  meta.stream = ARGV[2] == '1'
  remove_jobs(queue, {id})
  emit(queue, meta, 'removed', 'jobId', id, 'prev', 'delayed')
  return true
end

if not remove_delayed(broker) then return {'ok', 0} end
remove_delayed(own)
for _, set in ipairs(window.sets) do rcall('SREM', set, ARGV[5]) end
return {'ok', 1}
