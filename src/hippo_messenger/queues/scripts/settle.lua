--[[ Settles a batch of jobs of one queue, each by its own outcome, and takes the next.

  KEYS  block of the queue
  ARGV  1 again  2 events stream  3 token  4 lock (ms)  5 how many to take  6 how many bytes  7 worker name or ''  8 minutes of metrics
        then runs of jobs that end alike: outcome, token, value, stacktrace, number, age to keep (s or ''), count to keep
        or '', how many, their ids
          completed  value: return value (JSON)
          failed     value: reason; stacktrace: JSON list; number: attempts allowed
          retry      value: reason; stacktrace: JSON list; number: delay (ms)
          later      number: delay (ms); no attempt is counted
          back       to the head of the line; no attempt is counted
  Result  {'ok', what include/take.lua returns, for each job: 'settled', 'lost' or 'gone'} or a refusal (include/queue.lua)
  Atomic  the whole.
  Repeat  does no harm: a job that the lost call settled is no longer held by its token. It is 'settled' where it stands
          among those that end so; one that went back to the line can't be found there, and is 'lost'.
]]
--@include queue
--@include add
--@include take
--@include unique
--@include family
--@include remove
--@include finish
--@include metrics

local queue = queue_at(1)
read_texts(LAYOUT_KEY, queue.id)
local refused = refusal(queue_misfit(queue))
if refused then return refused end
local now = clock()
local meta = read_meta(queue)
meta.stream = ARGV[2] == '1'

-- The jobs in the order given, each with the run that says how it ends, and room for what is found out about it.
local function read_jobs_to_settle()
  local jobs, at, base = {}, 9, queue.base
  while at <= #ARGV do
    local run = {outcome = ARGV[at], token = ARGV[at + 1], value = ARGV[at + 2], stacktrace = ARGV[at + 3],
      number = tonumber(ARGV[at + 4]) or 0, policy = ARGV[at + 5] .. '/' .. ARGV[at + 6],
      keep = {age = tonumber(ARGV[at + 5]), count = tonumber(ARGV[at + 6])}}
    if run.outcome == 'completed' then
      run.set, run.field = 'completed', 'returnvalue'
    elseif run.outcome == 'failed' then
      run.set, run.field, run.attempts = 'failed', 'failedReason', run.number
    end
    local last = at + 7 + tonumber(ARGV[at + 7])
    for place = at + 8, last do
      local id = ARGV[place]
      jobs[#jobs + 1] = {id = id, key = base .. id, run = run, status = 'lost', found = false, was_active = false}
    end
    at = last + 1
  end
  return jobs
end

local function delay_job(job, delay)
  rcall('HSET', job.key, 'delay', delay)
  add_delayed(queue, meta, job.id, now + delay)
  meta.delayed_some = true
end

local function priority_of(job) return priority_in(rcall('HGET', job.key, 'priority')) end

local function is_lifo(job)
  local fine, opts = pcall(cjson.decode, rcall('HGET', job.key, 'opts') or '')
  return fine and type(opts) == 'table' and opts.lifo == true
end

local outcomes, ended = {}, {completed = 0, failed = 0}

function outcomes.completed(job, run)
  local set = finish(queue, meta, now, job, run)
  ended[set] = ended[set] + 1
end

outcomes.failed = outcomes.completed

function outcomes.retry(job, run)
  rcall('HSET', job.key, 'failedReason', run.value, 'stacktrace', run.stacktrace)
  count_attempt(job)
  if run.number > 0 then return delay_job(job, run.number) end
  local priority = priority_of(job)
  if priority > 0 then
    add_prioritized(queue, job.id, priority)
  elseif is_lifo(job) then
    rcall('RPUSH', queue.wait, job.id)
  else
    line_up(meta, job.id)
  end
  emit(queue, meta, 'waiting', 'jobId', job.id, 'prev', 'active')
  meta.returned_some = true
end

function outcomes.later(job, run) delay_job(job, run.number) end

function outcomes.back(job)
  local priority = priority_of(job)
  if priority > 0 then
    is_plain[queue.base] = nil
    rcall('ZADD', queue.prioritized, priority * 0x100000000, job.id)
  else
    rcall('RPUSH', queue.wait, job.id)
  end
  emit(queue, meta, 'waiting', 'jobId', job.id, 'prev', 'active')
  meta.returned_some = true
end

-- Finished jobs are trimmed once for all that are to be kept alike, not once for each.
local trims = {}
local function trim(outcome)
  local due = trims[outcome]
  if due then
    add_finished(queue, meta, now)
    trim_finished(queue, meta, outcome, due.keep, now)
  end
  trims[outcome] = nil
end

local function settle(job)
  local run = job.run
  local due = run.set and trims[run.set]
  if due and due.policy ~= run.policy then trim(run.set) end
  outcomes[run.outcome](job, run)
  if run.set and run.keep.count ~= 0 then trims[run.set] = run end
  return run.set ~= nil
end

-- Whether a job that is no longer held stands where the lost call would have put it.
local function was_settled(job)
  local run = job.run
  local set = run.set or (run.outcome == 'later' or run.outcome == 'retry' and run.number > 0) and 'delayed'
  return set and rcall('ZSCORE', queue[set], job.id)
end

local again = ARGV[1] == '1'
local jobs = read_jobs_to_settle()
local statuses, ended_last = {}, false
if #jobs > 0 then trim_events(queue, meta) end
local held, by_id, locks = held_jobs(jobs)
release(queue, held, by_id, locks, ARGV[7])
meta.some_have_children = some_have_children(jobs)
for at = 1, #jobs do
  local job = jobs[at]
  if not job.status then
    ended_last = settle(job) or ended_last and job.run.outcome ~= 'later' and job.run.outcome ~= 'retry'
  end
  statuses[at] = again and job.status == 'lost' and was_settled(job) and 'settled' or job.status or 'settled'
end
add_finished(queue, meta, now)
trim('completed')
trim('failed')
for set, number in pairs(ended) do count_finished(queue, set, number, tonumber(ARGV[8]), now) end
local was_maxed = meta.maxed
meta.maxed = meta.concurrency ~= nil and rcall('LLEN', queue.active) >= meta.concurrency
if meta.returned_some then mark_available(queue, meta) end
mark_added(queue, meta)

local order = {token = ARGV[3], lock = ARGV[4], count = tonumber(ARGV[5]), max_bytes = tonumber(ARGV[6]),
  worker = ARGV[7], again = again}
local taken = take(queue, meta, now, order)
-- Whoever added a job while global concurrency was reached woke nobody for it, and a take of none doesn't either.
if was_maxed and not meta.maxed and order.count == 0 and some_wait(queue) then mark_available(queue, meta) end
if meta.delayed_some then mark_delayed(queue) end
if ended_last then emit_if_drained(queue, meta, order, taken) end
return {'ok', taken, statuses}
