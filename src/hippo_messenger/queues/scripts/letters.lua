--[[ Reads the hashes of jobs, and their logs.

  KEYS  block of the queue
  ARGV  1 again  2 how many bytes to read before no further job is begun  3 with logs ('1')
        4 how many fields  then the fields, none for all  then ids
  Result  {'ok', for each job that was read {flat list of fields and values, lines of its log}} or a refusal
          (include/queue.lua); where a job is gone its lists are empty
  Atomic  the whole. Writes nothing.
  Repeat  does no harm.
]]
--@include queue
--@include letter

local queue = queue_at(1)
local refused = refusal()
if refused then return refused end
local left, with_logs, wanted = tonumber(ARGV[2]), ARGV[3] == '1', {}
for at = 5, 4 + tonumber(ARGV[4]) do wanted[#wanted + 1] = ARGV[at] end

local function read_fields(key)
  if #wanted == 0 then return rcall('HGETALL', key) end
  local found, flat = rcall('HMGET', key, unpack(wanted)), {}
  for at, field in ipairs(wanted) do
    if found[at] then
      flat[#flat + 1] = field
      flat[#flat + 1] = found[at]
    end
  end
  return flat
end

local function read_letter(id)
  local key = queue.base .. id
  if NO_LETTERS[id] or not has_hash(key) then return {{}, {}} end
  local logs = key .. ':logs'
  local flat = read_fields(key)
  for _, word in ipairs(flat) do left = left - #word end
  return {flat, with_logs and not misfit(logs, 'list') and rcall('LRANGE', logs, 0, -1) or {}}
end

local letters = {}
for at = 5 + #wanted, #ARGV do
  if left <= 0 then break end
  letters[#letters + 1] = read_letter(ARGV[at])
end
return {'ok', letters}
