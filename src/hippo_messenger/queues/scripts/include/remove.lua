-- What stands beside a job is looked for once for all: few have any, and a DEL of what is none goes to the append-only file.
-- set: in which they all stood, or nil; a completed job had neither waiting nor failed children when it ended
local function remove_jobs(queue, ids, set)
  local keys, besides, length, base, childless = {}, {}, 0, queue.base, set == 'completed'
  for at = 1, #ids do
    local id = ids[at]
    local key = base .. id
    keys[at] = key
    besides[length + 1], besides[length + 2], besides[length + 3] = key .. ':logs', key .. ':processed', key .. ':failed'
    length = length + 3
    if not childless then
      besides[length + 1], besides[length + 2] = key .. ':dependencies', key .. ':unsuccessful'
      length = length + 2
    end
  end
  in_slices(keys, function(...) rcall('DEL', ...) end)
  if some_exist(besides) then in_slices(besides, function(...) rcall('DEL', ...) end) end
end
