-- What every script knows of a queue: its keys, the types they must have, Redis' clock, and BullMQ's few rules
-- about markers and events. Nothing here writes before it has been asked to.
-- In all scripts: a loop that turns once for a job counts, since `ipairs` calls a function for every turn.
local rcall, rpcall = redis.call, redis.pcall
local copy_to, EVERYWHERE, REPLICAS = redis.set_repl, redis.REPL_ALL, redis.REPL_REPLICA

local QUEUE_KEYS = {
  'wait', 'active', 'prioritized', 'delayed', 'completed', 'failed', 'events', 'marker', 'meta', 'id', 'pc',
  'stalled', 'limiter', 'paused',
}
local USUAL_TYPES = {
  wait = 'list', active = 'list', completed = 'zset', failed = 'zset', events = 'stream', marker = 'zset',
}
local RARE_TYPES = {prioritized = 'zset', delayed = 'zset', stalled = 'set', paused = 'none'}
local LAYOUT = 1 -- the version of all that is under a prefix; it moves when an older process would do harm to it
local SLICE = 1000 -- `unpack` puts its values on Lua's stack, which has room for some thousands
local STREAM_SLACK = 100 -- so many events, or a tenth of what may stand in a stream, are let come before it is trimmed again
local READ_SLICE = 31 -- so many arguments, its name too, Redis makes again of those of the last command, if that wrote nothing

-- The queue whose block of keys starts at KEYS[first], in the order of QUEUE_KEYS; made at once, since a table that grows
-- is made anew several times.
local function queue_at(first)
  local wait = KEYS[first]
  return {base = string.sub(wait, 1, -5), wait = wait, active = KEYS[first + 1], prioritized = KEYS[first + 2],
    delayed = KEYS[first + 3], completed = KEYS[first + 4], failed = KEYS[first + 5], events = KEYS[first + 6],
    marker = KEYS[first + 7], meta = KEYS[first + 8], id = KEYS[first + 9], pc = KEYS[first + 10],
    stalled = KEYS[first + 11], limiter = KEYS[first + 12], paused = KEYS[first + 13]}
end

-- A count as somebody may have written it: a whole number that every command takes, or nil. What Lua takes for a number
-- besides ('nan', 'inf', '0x10', '1e9', '-1') would make a command raise.
local function counted(text)
  return text and string.match(text, '^%d+$') and #text <= 15 and tonumber(text) or nil
end

-- A whole number as text. What Redis makes of a number takes as long as a short command, since it may be a fraction; so
-- numbers go to the commands of a usual event as text. `%d` takes half the time of `%.0f`, but on a server of 32 bits it
-- knows none beyond them.
local texts = {}
local function whole(number)
  local text = texts[number]
  if not text then
    text = string.format(math.abs(number) < 2 ^ 31 and '%d' or '%.0f', number)
    texts[number] = text
  end
  return text
end

-- Milliseconds by Redis' clock, which is the same for everybody.
local function clock()
  local time = rcall('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Calls `act` with slices of a list, each short enough for `unpack`, or of `size`.
local function in_slices(values, act, size)
  size = size or SLICE
  for first = 1, #values, size do act(unpack(values, first, math.min(first + size - 1, #values))) end
end

-- What is wrong with a key, or nil.
local function misfit(key, wanted)
  local answer = rpcall('TYPE', key)
  if answer.err then return key .. ' is out of reach: ' .. answer.err end
  local held = answer.ok
  if held == 'none' or held == wanted then return nil end
  if wanted == 'none' then
    return key .. ' stands: a BullMQ 5 peer paused this queue by renaming it; resume it with BullMQ 6'
  end
  return key .. ' holds a ' .. held .. ', expected a ' .. wanted
end

-- What `read_texts` found under keys; what isn't in it has to be asked for.
local texts_read = {}

-- Reads some texts by one command. What is no text isn't there for it; to whoever asks for that alone it is an error.
local function read_texts(...)
  local keys, found = {...}, rpcall('MGET', ...)
  for at = 1, #found do texts_read[keys[at]] = found[at] end
end

-- A key's text, false where nothing stands, or an error reply. As it was before this script wrote anything.
local function text_at(key) return texts_read[key] or rpcall('GET', key) end

-- What is wrong with a key that is to hold text, or nil.
local function text_misfit(key)
  local text = text_at(key)
  return type(text) == 'table' and (misfit(key, 'string') or text.err) or nil
end

-- The registry's version; what is no number counts as lost.
local function version_at(key) return counted(text_at(key)) or 0 end

-- What is wrong with a key that INCR is to raise, or nil.
local function counter_misfit(key)
  local count = text_at(key)
  if type(count) == 'table' then return text_misfit(key) end
  if not count or count == '0' or string.match(count, '^[1-9]%d*$') and #count < 18 then return nil end
  return key .. ' holds ' .. string.sub(count, 1, 40) .. ', expected a counter'
end

local function first_misfit(queue, types)
  for name, wanted in pairs(types) do
    local found = misfit(queue[name], wanted)
    if found then return found end
  end
  return nil
end

-- By the bases of queues, as `queue_misfit` has found them: their settings and how long their events streams are, for
-- `read_meta`; and which have no job that is delayed, prioritized or stalled, so that no command has to look for one.
local metas, stream_lengths, is_plain = {}, {}, {}

local function read_settings(queue)
  return rpcall('HMGET', queue.meta, 'paused', 'concurrency', 'max', 'duration', 'opts.maxLenEvents')
end

-- Raises where one of the usual keys holds something else, or is out of reach: to ask how long it is costs less than to
-- ask what it is.
local function read_sizes(queue)
  rcall('LLEN', queue.wait)
  rcall('LLEN', queue.active)
  rcall('ZCARD', queue.completed)
  rcall('ZCARD', queue.failed)
  rcall('ZCARD', queue.marker)
  stream_lengths[queue.base] = rcall('XLEN', queue.events)
end

-- What is wrong with the usual keys, or nil.
local function usual_misfit(queue)
  local fine, fault = pcall(read_sizes, queue)
  if fine then return nil end
  return first_misfit(queue, USUAL_TYPES)
    or queue.base .. ' is out of reach: ' .. (type(fault) == 'table' and fault.err or tostring(fault))
end

-- What seldom stands.
local function rare_keys(queue)
  return queue.prioritized, queue.delayed, queue.stalled, queue.paused, queue.pc, queue.limiter
end

-- What is wrong with the keys of a queue, or nil. After this nothing written to them can raise.
local function queue_misfit(queue)
  local meta = read_settings(queue)
  if meta.err then return misfit(queue.meta, 'hash') or meta.err end
  local found = usual_misfit(queue) or counter_misfit(queue.id)
  if found then return found end
  metas[queue.base] = meta
  -- Asked for at once; where one of them is out of reach, each is asked for what it is.
  if is_plain[queue.base] then return nil end
  if rpcall('EXISTS', rare_keys(queue)) == 0 then
    is_plain[queue.base] = true
    return nil
  end
  return first_misfit(queue, RARE_TYPES) or counter_misfit(queue.pc) or counter_misfit(queue.limiter)
end

local PREFIX = string.match(KEYS[1], '^[^:]*:')
local LAYOUT_KEY = PREFIX .. 'layout'

-- The answer to a call that must not touch anything: {'newer', version found, version known} where a newer version of
-- this package keeps what is under the prefix, {'corrupt', what is wrong} where something is; or nil.
local function refusal(corrupt)
  local wrong = text_misfit(LAYOUT_KEY)
  if wrong then return {'corrupt', wrong} end
  local version = counted(text_at(LAYOUT_KEY))
  if version and version > LAYOUT then return {'newer', version, LAYOUT} end
  return corrupt and {'corrupt', corrupt} or nil
end

-- The settings of a queue that `queue_misfit` found nothing wrong with, and room for what a script has to remember of it.
-- maxed: global concurrency is reached; none_wait: all that waited was taken
local function read_meta(queue)
  local found = metas[queue.base]
  local meta = {
    paused = found[1] and true or false,
    concurrency = counted(found[2]),
    limit = counted(found[3]),
    limit_duration = counted(found[4]),
    max_events = counted(found[5]),
    stream_length = stream_lengths[queue.base], emitted = 0,
    maxed = false, stream = false, lined_up = false, added_waiting = false, added_delayed = false, finished = false,
    some_have_children = false, none_wait = false,
  }
  meta.maxed = meta.concurrency ~= nil and rcall('LLEN', queue.active) >= meta.concurrency
  return meta
end

-- Sets the length of the events stream if nobody has, as BullMQ does at the first write.
local function ensure_max_events(queue, meta)
  if not meta.max_events then
    meta.max_events = 10000
    rcall('HSET', queue.meta, 'opts.maxLenEvents', '10000')
  end
end

-- What is emitted goes to replicas, but not into the append-only file: half of that would be events. A Redis that was
-- killed has all jobs and their states, and begins its streams anew.
-- A stream whose last id is the highest takes no more; that must harm nobody.
local function emit(queue, meta, ...)
  if not meta.stream then return end
  meta.emitted = meta.emitted + 1
  copy_to(REPLICAS)
  rpcall('XADD', queue.events, '*', 'event', ...)
  copy_to(EVERYWHERE)
end

-- As BullMQ does with the first event of each call. Redis drops whole pieces of a stream only, so its length is never
-- exact; here some events more may come, which spares most calls a command.
local function trim_events(queue, meta)
  ensure_max_events(queue, meta)
  local slack = math.min(STREAM_SLACK, meta.max_events / 10)
  if not meta.stream or meta.stream_length + meta.emitted <= meta.max_events + slack then return end
  copy_to(REPLICAS)
  rcall('XTRIM', queue.events, 'MAXLEN', '~', whole(meta.max_events))
  copy_to(EVERYWHERE)
end

-- Wakes one idle worker, unless nothing may be taken.
local function mark_available(queue, meta)
  if not (meta.paused or meta.maxed) then rcall('ZADD', queue.marker, '0', '0') end
end

-- Whether there is a job to take, but for what pause and limits say.
local function some_wait(queue)
  return rcall('LLEN', queue.wait) > 0 or not is_plain[queue.base] and rcall('ZCARD', queue.prioritized) > 0
end

-- When the next delayed job is due (ms), or nil.
local function next_delayed(queue)
  if is_plain[queue.base] then return nil end
  local first = rcall('ZRANGEBYSCORE', queue.delayed, 0, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  return first[2] and math.min(tonumber(first[2]), 2 ^ 62) / 0x1000 or nil
end

local function mark_delayed(queue)
  local due = next_delayed(queue)
  if due then rcall('ZADD', queue.marker, due, '1') end
end

-- The score of a delayed job: its time in the upper bits, first come first served within one millisecond.
local function delayed_score(queue, due)
  local lowest, highest = due * 0x1000, (due + 1) * 0x1000 - 1
  local last = rcall('ZREVRANGEBYSCORE', queue.delayed, highest, lowest, 'WITHSCORES', 'LIMIT', 0, 1)
  if last[2] then return math.min(tonumber(last[2]) + 1, highest) end
  return lowest
end

local function add_delayed(queue, meta, id, due)
  is_plain[queue.base] = nil
  rcall('ZADD', queue.delayed, delayed_score(queue, due), id)
  emit(queue, meta, 'delayed', 'jobId', id, 'delay', due)
end

-- The priority of a job as its hash has it; what is none of BullMQ's counts as none.
local function priority_in(text)
  if text == '0' then return 0 end -- nearly always so
  local priority = counted(text)
  return priority and priority <= 0x200000 and priority or 0
end

local function add_prioritized(queue, id, priority)
  is_plain[queue.base] = nil
  rcall('ZADD', queue.prioritized, priority * 0x100000000 + rcall('INCR', queue.pc) % 0x100000000, id)
end

-- Whether anything stands under some keys; asked once for all, since that is rare.
local function some_exist(keys)
  local some = 0
  in_slices(keys, function(...) some = some + rcall('EXISTS', ...) end, READ_SLICE)
  return some > 0
end
