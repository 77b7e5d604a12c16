--[[ Puts dead letters back into line, in the order given, as BullMQ's reprocessJob does when it resets both counters of
  attempts; and notes how they had failed in each job's `history`.

  KEYS  block of the queue; the sorted set of its rejected events; the lock of redriving; its progress
  ARGV  1 again  2 events stream  3 token  4 lease (ms)  5 how many letters were looked at so far  6 passed over so far
        then for each letter: id, score, new data or '' to keep it, new options or '' to keep them
  Result  {'ok', 'going', 'cancelled' or 'lost' (the redrive is somebody else's), how many are redriven so far,
          for each letter: 'redriven', 'gone', 'rejected' or why it can't be} or a refusal
          (include/queue.lua); only 'going' has done anything
  Atomic  the whole.
  Repeat  does no harm: what the lost call has put back no longer stands in `failed`, or with another score, and is
          counted already.
]]
--@include queue
--@include family
--@include letter

local FIRST, PARAMETERS, MOST_HISTORY = 7, 4, 20
local MOST_READ, MOST_TRACE = 65536, 4096 -- bytes
local queue, rejected, lock, progress = queue_at(1), KEYS[15], KEYS[16], KEYS[17]
local refused = refusal(queue_misfit(queue) or misfit(rejected, 'zset') or misfit(lock, 'string')
  or misfit(progress, 'hash'))
if refused then return refused end
local token, lease, now = ARGV[3], ARGV[4], clock()
local task, holder = rcall('HMGET', progress, 'token', 'cancel', 'redriven'), rcall('GET', lock)
local redriven = counted(task[3]) or 0
if task[1] ~= token or holder and holder ~= token then return {'ok', 'lost', redriven, {}} end
if task[2] then return {'ok', 'cancelled', redriven, {}} end
local meta = read_meta(queue)
meta.stream = ARGV[2] == '1'

-- The history with one failure more, the oldest of many left out.
local function lengthened(history, failure)
  local fine, past = pcall(cjson.decode, history or '[]')
  if not fine or type(past) ~= 'table' then past = {} end
  local kept = {}
  for at = math.max(#past - MOST_HISTORY + 2, 1), #past do kept[#kept + 1] = past[at] end
  kept[#kept + 1] = failure
  local encoded, text = pcall(cjson.encode, kept)
  return encoded and text or cjson.encode({failure})
end

-- The newest of a job's traces, its end where it is long. Whoever fails the job next may keep this one alone.
local function newest_trace(stacktrace)
  if not stacktrace or #stacktrace > MOST_READ then return nil end
  local fine, traces = pcall(cjson.decode, stacktrace)
  local newest = fine and type(traces) == 'table' and traces[#traces]
  if type(newest) ~= 'string' then return nil end
  if #newest <= MOST_TRACE then return newest end
  -- What is left of a character that was cut in two would be no UTF-8: at most three bytes.
  return (string.gsub(string.sub(newest, -MOST_TRACE), '^[\128-\191][\128-\191]?[\128-\191]?', ''))
end

local function is_lifo(opts)
  if not opts or not string.find(opts, '"lifo"', 1, true) then return false end
  local fine, found = pcall(cjson.decode, opts)
  return fine and type(found) == 'table' and found.lifo == true
end

-- One letter as it is to be redriven, or nil and why it isn't.
local function read_letter(letter)
  local key = queue.base .. letter.id
  if not is_letter(queue, letter.id, letter.score) then return 'gone' end
  if not has_hash(key) then return 'its hash is gone, so nothing is left to redrive: discard it' end
  if letter.data == '' and rcall('ZSCORE', rejected, letter.id) then return 'rejected' end
  local found = rcall('HMGET', key, 'priority', 'opts', 'parentKey', 'failedReason', 'finishedOn', 'atm', 'history',
    'stacktrace')
  letter.parent = parent_of(found[3])
  local untold = letter.parent and parent_misfit(letter.parent)
  if untold then return untold end
  letter.key, letter.priority = key, priority_in(found[1])
  letter.lifo = is_lifo(letter.opts ~= '' and letter.opts or found[2])
  letter.history = lengthened(found[7], {reason = found[4] or '', failedOn = counted(found[5]), redrivenOn = now,
    attempts = counted(found[6]) or 0, trace = newest_trace(found[8]), data = letter.data ~= '' and rcall('HGET', key, 'data') or nil})
  return nil
end

-- A child that is to run again: its parent waits for it once more, as BullMQ's moveChildBackToParentDependencies has it.
local function return_to_parent(letter)
  local parent = letter.parent.key
  if rcall('EXISTS', parent) == 0 then return end
  local was_unsuccessful = rcall('ZREM', parent .. ':unsuccessful', letter.key) == 1
  if was_unsuccessful or rcall('HDEL', parent .. ':failed', letter.key) == 1 then
    rcall('SADD', parent .. ':dependencies', letter.key)
  end
end

local function put_back(letter, lined_up)
  rcall('HDEL', letter.key, 'finishedOn', 'processedOn', 'failedReason', 'atm', 'ats')
  rcall('HSET', letter.key, 'history', letter.history)
  if letter.data ~= '' then rcall('HSET', letter.key, 'data', letter.data) end
  if letter.opts ~= '' then rcall('HSET', letter.key, 'opts', letter.opts) end
  if letter.priority > 0 then
    add_prioritized(queue, letter.id, letter.priority)
  elseif letter.lifo then
    rcall('RPUSH', queue.wait, letter.id)
  else
    lined_up[#lined_up + 1] = letter.id
  end
  if letter.parent then return_to_parent(letter) end
  emit(queue, meta, 'waiting', 'jobId', letter.id, 'prev', 'failed')
end

local statuses, letters, leaving, known = {}, {}, {}, {}
for at = FIRST, #ARGV, PARAMETERS do
  local letter = {id = ARGV[at], score = ARGV[at + 1], data = ARGV[at + 2], opts = ARGV[at + 3]}
  local reason = known[letter.id] and 'gone' or read_letter(letter)
  known[letter.id] = true
  if not reason then
    letters[#letters + 1] = letter
    leaving[#leaving + 1] = letter.id
  end
  statuses[#statuses + 1] = reason or 'redriven'
end

rcall('SET', lock, token, 'PX', lease) -- first, for a full Redis refuses it
redriven = redriven + #letters
rcall('HSET', progress, 'redriven', whole(redriven), 'seen', ARGV[5], 'passedOver', ARGV[6])
if #letters > 0 then
  local lined_up = {}
  trim_events(queue, meta)
  in_slices(leaving, function(...)
    rcall('ZREM', queue.failed, ...)
    rcall('ZREM', rejected, ...)
  end)
  for _, letter in ipairs(letters) do put_back(letter, lined_up) end
  in_slices(lined_up, function(...) rcall('LPUSH', queue.wait, ...) end)
  mark_available(queue, meta)
end
return {'ok', 'going', redriven, statuses}
