--[[ Notes something about a job that is being processed: a line of its log, or how far it is.

  KEYS  the job; its log; the queue's events stream
  ARGV  1 again  2 'log' | 'progress'  3 the job's id  4 the line, or the progress as JSON  5 '1' with the events stream
        6 how many lines of the log are kept, '' for all
  Result  {'ok', 1 if it was noted, 0 if the job is gone} or a refusal (include/queue.lua)
  Atomic  the whole. A job that is gone is not made anew, as in BullMQ's addLog and updateProgress.
  Repeat  does no harm: a line is not added twice in a row, nor the same progress told twice.
]]
--@include queue

local job, log, events = KEYS[1], KEYS[2], KEYS[3]
local keep = counted(ARGV[6])
local refused = refusal(misfit(job, 'hash') or misfit(log, 'list') or misfit(events, 'stream'))
if refused then return refused end
if rcall('EXISTS', job) == 0 then return {'ok', 0} end
if ARGV[2] == 'progress' then
  if ARGV[1] == '1' and rcall('HGET', job, 'progress') == ARGV[4] then return {'ok', 1} end
  rcall('HSET', job, 'progress', ARGV[4])
  emit({events = events}, {stream = ARGV[5] == '1', emitted = 0}, 'progress', 'jobId', ARGV[3], 'data', ARGV[4])
elseif ARGV[1] == '0' or rcall('LINDEX', log, -1) ~= ARGV[4] then
  rcall('RPUSH', log, ARGV[4])
  if keep then rcall('LTRIM', log, -keep, -1) end
end
return {'ok', 1}
