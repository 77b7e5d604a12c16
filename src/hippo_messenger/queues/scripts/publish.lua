--[[ Adds a batch of jobs to one queue, and where asked a direct copy of each to the sender's own queue.

  KEYS  block of the queue; block of the sender's own queue; base of the duplicate window
  ARGV  1 again ('1': a repeat of a call whose reply was lost)  2 events stream ('1')  3 window (ms)
        then for each job: id ('' takes the next number), name, data, opts, delay (ms), priority, push,
        opts of the direct copy ('' is no copy), digest of source and id
  Result  {'ok', for each job: its id, and 'added', 'known' or what is wrong with it} or a refusal (include/queue.lua)
  Atomic  the job and its direct copy: both or none. One bad job harms no other.
  Repeat  does no harm: a job whose id is known is not added again.
]]
--@include queue
--@include add
--@include window

local queue, own, seen = queue_at(1), queue_at(15), KEYS[29]
local again, stream, window = ARGV[1] == '1', ARGV[2] == '1', tonumber(ARGV[3])
local PARAMETERS = 9

local copies = false
for at = 4, #ARGV, PARAMETERS do copies = copies or ARGV[at + 7] ~= '' end
local now = clock()
local refused = refusal(queue_misfit(queue))
if refused then return refused end
local own_corrupt = copies and (queue_misfit(own) or window_misfit(seen, window, now)) or nil

local meta = read_meta(queue)
meta.stream = stream
local own_meta
if copies and not own_corrupt then
  own_meta = read_meta(own)
  own_meta.stream = stream
end

local written, keys = {}, {}
for at = 4, #ARGV, PARAMETERS do
  if ARGV[at] ~= '' then keys[#keys + 1] = queue.base .. ARGV[at] end
end
local all_are_new = not some_exist(keys)

-- Why a job can't be added, or nil; 'known' is no fault.
local function obstacle(id, data, copy)
  if copy and own_corrupt then return own_corrupt end
  if id == '' then return nil end
  local key = queue.base .. id
  if all_are_new and not written[key] then return nil end
  local held = rcall('TYPE', key).ok
  if held == 'none' then return nil end
  if held ~= 'hash' then return key .. ' holds a ' .. held .. ', expected a hash' end
  if not is_same_event(key, data) then return 'taken' end
  -- What the lost call added may have failed meanwhile.
  if again and rcall('HGET', key, 'data') == data then return 'known' end
  if rcall('ZSCORE', queue.failed, id) then return 'failed' end
  return 'known'
end

local function add_own_copy(job, opts, digest)
  local key = own.base .. job.id
  if rcall('TYPE', key).ok ~= 'none' or first_seen(seen, window, now, {digest .. 'self'})[1] == false then return end
  ensure_max_events(own, own_meta)
  rcall('INCR', own.id)
  add_job(own, own_meta, now, {id = job.id, name = job.name, data = job.data, opts = opts, delay = job.delay,
    priority = job.priority, push = 'LPUSH'})
end

local result = {'ok'}
for at = 4, #ARGV, PARAMETERS do
  local copy_opts, digest = ARGV[at + 7], ARGV[at + 8]
  local job = {id = ARGV[at], name = ARGV[at + 1], data = ARGV[at + 2], opts = ARGV[at + 3],
    delay = tonumber(ARGV[at + 4]), priority = tonumber(ARGV[at + 5]), push = ARGV[at + 6]}
  local reason = obstacle(job.id, job.data, copy_opts ~= '')
  if not reason then
    ensure_max_events(queue, meta)
    local number = rcall('INCR', queue.id)
    if job.id == '' then job.id = string.format('%.0f', number) end
    written[queue.base .. job.id] = true
    add_job(queue, meta, now, job)
  elseif reason == 'known' and not again then
    ensure_max_events(queue, meta)
    rcall('INCR', queue.id)
    emit(queue, meta, 'duplicated', 'jobId', job.id)
  end
  if copy_opts ~= '' and (not reason or reason == 'known') then add_own_copy(job, copy_opts, digest) end
  result[#result + 1] = job.id
  result[#result + 1] = reason or 'added'
end
mark_added(queue, meta)
if stream then trim_events(queue, meta) end
if own_meta then
  mark_added(own, own_meta)
  if stream then trim_events(own, own_meta) end
end
return result
