--[[ Takes up to a number of jobs from one queue.

  KEYS  block of the queue
  ARGV  1 again  2 events stream  3 token  4 lock (ms)  5 how many  6 how many bytes  7 worker name or ''  8 minutes of metrics
  Result  {'ok', what include/take.lua returns} or a refusal (include/queue.lua)
  Atomic  the whole. An id without a job is dropped; a job without name or data goes to `failed`. Neither harms another.
  Repeat  with the same token hands out again what the lost reply held, and takes more only if that was nothing.
]]
--@include queue
--@include take

local queue = queue_at(1)
read_texts(LAYOUT_KEY, queue.id)
local refused = refusal(queue_misfit(queue))
if refused then return refused end
local meta = read_meta(queue)
meta.stream = ARGV[2] == '1'
return {'ok', take(queue, meta, clock(), {token = ARGV[3], lock = ARGV[4], count = tonumber(ARGV[5]),
  max_bytes = tonumber(ARGV[6]), worker = ARGV[7], again = ARGV[1] == '1'})}
