--[[ Settles a batch of jobs of one queue, each by its own outcome, and takes the next.

  KEYS  block of the queue
  ARGV  1 again  2 events stream  3 token  4 lock (ms)  5 how many to take  6 how many bytes  7 worker name or ''  8 minutes of metrics
        then for each job: outcome, id, token, value, stacktrace, number, age to keep (s or ''), count to keep or ''
          completed  value: return value (JSON)
          failed     value: reason; stacktrace: JSON list; number: attempts allowed
          retry      value: reason; stacktrace: JSON list; number: delay (ms)
          later      number: delay (ms); no attempt is counted
          back       to the head of the line; no attempt is counted
  Result  {'ok', what include/take.lua returns, for each job: 'settled', 'lost' or 'gone'} or a refusal (include/queue.lua)
  Atomic  the whole.
  Repeat  does no harm: a job that the lost call settled is no longer held by its token.
]]
--@include queue
--@include add
--@include take
--@include unique
--@include family
--@include finish
--@include metrics

local queue = queue_at(1)
local refused = refusal(queue_misfit(queue))
if refused then return refused end
local now = clock()
local meta = read_meta(queue)
meta.stream = ARGV[2] == '1'
local FIRST, PARAMETERS = 9, 8

local function delay_job(id, delay)
  rcall('HSET', queue.base .. id, 'delay', delay)
  add_delayed(queue, meta, id, now + delay)
  meta.delayed_some = true
end

local function priority_of(id) return priority_in(rcall('HGET', queue.base .. id, 'priority')) end

local function is_lifo(id)
  local fine, opts = pcall(cjson.decode, rcall('HGET', queue.base .. id, 'opts') or '')
  return fine and type(opts) == 'table' and opts.lifo == true
end

local outcomes, ended = {}, {completed = 0, failed = 0}

local function finish_and_count(job)
  finish(queue, meta, now, job)
  ended[job.set] = ended[job.set] + 1
end

function outcomes.completed(job)
  finish_and_count({id = job.id, set = 'completed', field = 'returnvalue', value = job.value, keep = job.keep,
    found = job.found})
end

function outcomes.failed(job)
  finish_and_count({id = job.id, set = 'failed', field = 'failedReason', value = job.value, keep = job.keep,
    stacktrace = job.stacktrace, attempts = job.number, found = job.found})
end

function outcomes.retry(job)
  rcall('HSET', queue.base .. job.id, 'failedReason', job.value, 'stacktrace', job.stacktrace)
  count_attempt(queue, job)
  if job.number > 0 then return delay_job(job.id, job.number) end
  local priority = priority_of(job.id)
  if priority > 0 then
    add_prioritized(queue, job.id, priority)
  elseif is_lifo(job.id) then
    rcall('RPUSH', queue.wait, job.id)
  else
    line_up(meta, job.id)
  end
  emit(queue, meta, 'waiting', 'jobId', job.id, 'prev', 'active')
  meta.returned_some = true
end

function outcomes.later(job) delay_job(job.id, job.number) end

function outcomes.back(job)
  local priority = priority_of(job.id)
  if priority > 0 then
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

local jobs = {}
for at = FIRST, #ARGV, PARAMETERS do
  jobs[#jobs + 1] = {outcome = ARGV[at], id = ARGV[at + 1], token = ARGV[at + 2], value = ARGV[at + 3],
    stacktrace = ARGV[at + 4], number = tonumber(ARGV[at + 5]) or 0, policy = ARGV[at + 6] .. '/' .. ARGV[at + 7],
    keep = {age = tonumber(ARGV[at + 6]), count = tonumber(ARGV[at + 7])}}
end

local function settle(job)
  local ends = job.outcome == 'completed' or job.outcome == 'failed'
  if ends and trims[job.outcome] and trims[job.outcome].policy ~= job.policy then trim(job.outcome) end
  outcomes[job.outcome](job)
  if ends and job.keep.count ~= 0 then trims[job.outcome] = {policy = job.policy, keep = job.keep} end
  return ends
end

local statuses, ended_last = {}, false
if #jobs > 0 then trim_events(queue, meta) end
release(queue, jobs)
meta.some_have_children = some_have_children(queue, jobs)
for at, job in ipairs(jobs) do
  if not job.status then
    ended_last = settle(job) or ended_last and job.outcome ~= 'later' and job.outcome ~= 'retry'
  end
  statuses[at] = job.status or 'settled'
end
add_finished(queue, meta, now)
trim('completed')
trim('failed')
for set, number in pairs(ended) do count_finished(queue, set, number, tonumber(ARGV[8]), now) end
meta.maxed = meta.concurrency ~= nil and rcall('LLEN', queue.active) >= meta.concurrency
if meta.returned_some then mark_available(queue, meta) end
mark_added(queue, meta)

local order = {token = ARGV[3], lock = ARGV[4], count = tonumber(ARGV[5]), max_bytes = tonumber(ARGV[6]),
  worker = ARGV[7], again = ARGV[1] == '1'}
local taken = take(queue, meta, now, order)
if meta.delayed_some then mark_delayed(queue) end
if ended_last then emit_if_drained(queue, meta, order, taken) end
return {'ok', taken, statuses}
