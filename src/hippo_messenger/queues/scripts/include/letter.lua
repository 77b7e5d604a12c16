-- Dead letters: jobs in a queue's `failed`. A letter is named by its id and by when it failed, its score there, as text:
-- what was redriven and has failed again meanwhile is another one.

-- Ids that no job can have: its hash would be a key of the queue itself.
local NO_LETTERS = {}
for _, name in ipairs(QUEUE_KEYS) do NO_LETTERS[name] = true end

local function is_letter(queue, id, score) return not NO_LETTERS[id] and rcall('ZSCORE', queue.failed, id) == score end

local function has_hash(key) return rcall('TYPE', key).ok == 'hash' end
