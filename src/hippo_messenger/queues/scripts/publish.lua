--[[ Adds a batch of jobs to one queue, and where asked a direct copy of each to the sender's own queue.

  KEYS  block of the queue; where a direct copy is asked for also block of the sender's own queue and base of the duplicate window
  ARGV  1 again ('1': a repeat of a call whose reply was lost)  2 events stream ('1')  3 window (ms)  4 sender
        then runs of jobs that are alike: name, opts, delay (ms), priority, push, opts of the direct copy ('' is no copy), how
        many; for each: id ('' takes the next number), data, digest of source and id
  Result  {'ok', for each job: its id, and 'added', 'known' or what is wrong with it, after 'again ' in a repeat: the lost call
          may have added it} or a refusal (include/queue.lua)
  Atomic  the job and its direct copy: both or none. One bad job harms no other. A job or copy of the same id that has
          completed longer ago than the window is replaced.
  Repeat  does no harm: a job whose id is known is not added again.
]]
--@include queue
--@include add
--@include remove
--@include window
--@include known

local queue, own, seen = queue_at(1), KEYS[15] and queue_at(15), KEYS[29]
local again, stream = ARGV[1] == '1', ARGV[2] == '1'

-- The jobs in the order given.
local function read_jobs_to_add()
  local jobs, at = {}, 5
  while at <= #ARGV do
    local name, opts, delay, priority = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
    local push, copy_opts, last = ARGV[at + 4], ARGV[at + 5], at + 6 + 3 * tonumber(ARGV[at + 6])
    for place = at + 7, last, 3 do
      local id = ARGV[place]
      jobs[#jobs + 1] = {id = id, key = id ~= '' and queue.base .. id, name = name, data = ARGV[place + 1], opts = opts,
        delay = delay, priority = priority, push = push, copy_opts = copy_opts ~= '' and copy_opts,
        digest = ARGV[place + 2], copy_digest = false, reason = false, is_past = false, is_copy_past = false}
    end
    at = last + 1
  end
  return jobs
end

local FULL = PREFIX .. 'registry:full'
local jobs, copies = read_jobs_to_add(), false
for at = 1, #jobs do copies = copies or jobs[at].copy_opts end
local now = clock()
local before = now - tonumber(ARGV[3])
read_texts(LAYOUT_KEY, queue.id, FULL)
local refused = refusal(queue_misfit(queue))
if refused then return refused end
local window, own_corrupt

-- Finds out which direct copies come for the first time. Result: what is wrong with the duplicate window, or nil.
local function look_up_copies()
  local wrong
  window, wrong = window_at(seen, tonumber(ARGV[3]), now)
  if wrong then return wrong end
  local digests, copied = {}, {}
  for at = 1, #jobs do
    local job = jobs[at]
    if job.copy_opts then
      digests[#digests + 1] = job.digest .. 'self'
      copied[#copied + 1] = job
    end
  end
  local fresh, broken = first_seen(window, digests)
  for at = 1, fresh and #copied or 0 do copied[at].copy_digest = fresh[at] and digests[at] end
  return broken
end
if copies then own_corrupt = queue_misfit(own) or look_up_copies() end

local meta = read_meta(queue)
meta.stream = stream
local own_meta
if copies and not own_corrupt then
  own_meta = read_meta(own)
  own_meta.stream = stream
end

-- Whether nothing stands where jobs and their copies are to go; asked once for all, since it is nearly always so.
local function is_all_new()
  local keys, ids = {}, {}
  for at = 1, #jobs do
    local job = jobs[at]
    if job.key then
      if ids[job.id] then return false end
      ids[job.id] = true
      keys[#keys + 1] = job.key
      if job.copy_digest then keys[#keys + 1] = own.base .. job.id end
    end
  end
  return not some_exist(keys)
end
local all_are_new = is_all_new()

-- Event type -> full services that refuse it, or nil; see backlogs.lua.
local function read_refusals()
  local text = text_at(FULL)
  if type(text) ~= 'string' then return nil end
  local fine, found = pcall(cjson.decode, text)
  return fine and type(found) == 'table' and found or nil
end
local refusals = read_refusals()

-- That a full service refuses what is not to be delayed, or nil; its own events don't go to it.
local function full_service(job)
  local services = refusals and job.delay == 0 and refusals[job.name]
  for _, service in ipairs(type(services) == 'table' and services or {}) do
    if type(service) == 'string' and service ~= ARGV[4] then return 'full ' .. service end
  end
  return nil
end

-- Why a job can't be added to the queue, or nil; 'known' is no fault.
local function obstacle_to_job(job)
  local found = standing(queue, job.id, job.key, job.data, before)
  if found == 'known' or found == 'past' then
    -- What the lost call added may have ended meanwhile.
    if again and rcall('HGET', job.key, 'data') == job.data then return 'known' end
    if rcall('ZSCORE', queue.failed, job.id) then return 'failed' end
  end
  job.is_past = found == 'past'
  if found and not job.is_past then return found end
  return full_service(job)
end

-- Why a job's direct copy can't be added, or nil; where its queue has it still, there is to be none.
local function obstacle_to_copy(job)
  local found = job.copy_digest and standing(own, job.id, own.base .. job.id, job.data, before)
  job.is_copy_past = found == 'past'
  if found == 'known' then job.copy_digest = false end
  return found and found ~= 'known' and found ~= 'past' and found or nil
end

-- Why a job can't be added with its direct copy, or nil; 'known' is no fault.
local function obstacle(job)
  if job.copy_opts and own_corrupt then return own_corrupt end
  if not job.key then return nil end
  if all_are_new then return full_service(job) end
  local reason = obstacle_to_job(job)
  if reason and reason ~= 'known' then return reason end
  return obstacle_to_copy(job) or reason
end

local own_digests = {}
local function add_own_copy(job)
  if not job.copy_digest then return end
  own_digests[#own_digests + 1] = job.copy_digest
  ensure_max_events(own, own_meta)
  rcall('INCR', own.id)
  if job.is_copy_past then forget(own, job.id) end
  add_job(own, own_meta, now, {id = job.id, key = own.base .. job.id, name = job.name, data = job.data,
    opts = job.copy_opts, delay = job.delay, priority = job.priority, push = 'LPUSH'})
end

-- The counter is raised once for all; a number that a job takes is its own place among them.
local number, numbered = 0, 0
if all_are_new then
  for at = 1, #jobs do
    local job = jobs[at]
    job.reason = obstacle(job)
    if not job.reason then numbered = numbered + 1 end
  end
  if numbered > 0 then number = rcall('INCRBY', queue.id, whole(numbered)) - numbered end
end
local function next_number()
  if not all_are_new then return rcall('INCR', queue.id) end
  number = number + 1
  return number
end

local result = {'ok'}
for at = 1, #jobs do
  local job = jobs[at]
  local reason = job.reason
  if not all_are_new then reason = obstacle(job) end -- what stands where it is to go may be of this very call
  if not reason then
    ensure_max_events(queue, meta)
    local place = next_number()
    if not job.key then
      job.id = whole(place)
      job.key = queue.base .. job.id
    end
    if job.is_past then forget(queue, job.id) end
    add_job(queue, meta, now, job)
  elseif reason == 'known' and not again then
    ensure_max_events(queue, meta)
    rcall('INCR', queue.id)
    emit(queue, meta, 'duplicated', 'jobId', job.id)
  end
  if job.copy_opts and (not reason or reason == 'known') then add_own_copy(job) end
  if again and reason and reason ~= 'known' then reason = 'again ' .. reason end
  result[#result + 1] = job.id
  result[#result + 1] = reason or 'added'
end
mark_added(queue, meta)
if stream then trim_events(queue, meta) end
if own_meta then
  mark_added(own, own_meta)
  remember(window, own_digests)
  if stream then trim_events(own, own_meta) end
end
return result
