--[[ Puts exported dead letters back among the failed jobs of a queue.

  KEYS  block of the queue; the sorted set of its rejected events
  ARGV  1 again  2 events stream
        then for each letter: id, score, '1' for a rejected event, how many fields and values, these,
        how many lines of log, these
  Result  {'ok', for each letter 'restored', or 'known' (a job has this id, or a key of the queue)} or a refusal
          (include/queue.lua)
  Atomic  the whole.
  Repeat  does no harm: a job that is there is left as it is.
]]
--@include queue
--@include letter

local queue, rejected = queue_at(1), KEYS[15]
local refused = refusal(queue_misfit(queue) or misfit(rejected, 'zset'))
if refused then return refused end
local meta = read_meta(queue)
meta.stream = ARGV[2] == '1'

local function words_from(at, count)
  local words = {}
  for place = at, at + count - 1 do words[#words + 1] = ARGV[place] end
  return words
end

local function is_free(id)
  if NO_LETTERS[id] then return false end
  local key = queue.base .. id
  return rcall('EXISTS', key, key .. ':logs') == 0 and not rcall('ZSCORE', queue.failed, id)
end

local function restore(letter)
  local key = queue.base .. letter.id
  in_slices(letter.fields, function(...) rcall('HSET', key, ...) end)
  in_slices(letter.logs, function(...) rcall('RPUSH', key .. ':logs', ...) end)
  rcall('ZADD', queue.failed, letter.score, letter.id)
  if letter.is_rejected then rcall('ZADD', rejected, letter.score, letter.id) end
  emit(queue, meta, 'failed', 'jobId', letter.id, 'failedReason', rcall('HGET', key, 'failedReason') or '')
end

local statuses, at, some = {}, 3, false
while at <= #ARGV do
  local letter = {id = ARGV[at], score = ARGV[at + 1], is_rejected = ARGV[at + 2] == '1'}
  local fields = tonumber(ARGV[at + 3])
  letter.fields = words_from(at + 4, fields)
  local logs = tonumber(ARGV[at + 4 + fields])
  letter.logs = words_from(at + 5 + fields, logs)
  at = at + 5 + fields + logs
  if is_free(letter.id) then
    restore(letter)
    some = true
    statuses[#statuses + 1] = 'restored'
  else
    statuses[#statuses + 1] = ARGV[1] == '1' and is_letter(queue, letter.id, letter.score) and 'restored' or 'known'
  end
end
if some then trim_events(queue, meta) end
return {'ok', statuses}
