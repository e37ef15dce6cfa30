--[[
The counters that replicas share, on the clock of the server. The arithmetic is that of gateway/policy/limits.py, which
says why it is so; all numbers are whole and below 2 to the 53rd, so that none of them is ever rounded.

KEYS  two for each limit: its counter, and the leases of what calls under way hold of it. For `pulse` and `leave` one:
      the replicas that are alive.
ARGV  what to do, the replica's name, the name of the call's lease, the time at which the call was reserved or the
      amount was spent (which `reserve` has no use for), for how long a lease holds, and the row of each limit: its
      kind, most, every, and
      * reserve  amount
      * settle   amount that was reserved; amount that was used. For a budget: all that this replica has ever settled of
                 it in that window, and how much of this the server has confirmed to it
      * renew    amount that is reserved
      * preload  amount that was spent at least
      * remember as settle, and then what all replicas have spent at least. Both at once: what another replica tells in
                 between would be taken for a part of it

What calls hold is on lease: a replica that is killed renews it no more, and others get it back. What a replica has spent
is told as a sum and not as a difference, so that it may be told twice; and a server that has lost its memory learns it
again from those who know.
]]

local MINUTE, HOUR, DAY = 60000, 3600000, 86400000
local ALIVE = 5000  -- a replica that has not been heard of for so long is not counted
local SOON, NEVER = 1000, -1
local DEEPEST = 4503599627370496

local action, replica, lease, at, length_of_lease =
  ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- Some servers write large numbers like 6e+13, which their own commands do not take for integers.
local function whole(number)
  return string.format('%.0f', number)
end

-- Of the day that is so many days after 1970-01-01, in its month, from 0. The year is taken to begin with March, so that
-- the leap day is its last; 719468 days are from 0000-03-01 to 1970-01-01, 146097 are in 400 years.
local function day_of_month(days)
  local of_era = (days + 719468) % 146097
  local leap_days = math.floor(of_era / 1460) - math.floor(of_era / 36524) + math.floor(of_era / 146096)
  local year = math.floor((of_era - leap_days) / 365)
  local of_year = of_era - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local month = math.floor((5 * of_year + 2) / 153)
  return of_year - math.floor((153 * month + 2) / 5)
end

-- When the hour, day, week or month began that is at that time, and when it ends.
local function window(every, time)
  if every == 'month' then
    local today = math.floor(time / DAY)
    local first = today - day_of_month(today)
    local next = first + 31 - day_of_month(first + 31)
    return first * DAY, next * DAY
  end
  local length = ({hour = HOUR, day = DAY, week = 7 * DAY})[every]
  local origin = every == 'week' and 4 * DAY or 0  -- 1970-01-05 was the first Monday
  local start = time - (time - origin) % length
  return start, start + length
end

-- Each kind of limit. `read` comes first; `row` is the limit with what is kept of it.

local rate = {}

function rate.write(row)
  redis.call('HSET', row.key, 'debt', whole(row.debt), 'at', whole(now), 'since', whole(row.since))
  redis.call('PEXPIRE', row.key, whole(math.ceil(row.debt / row.most) + 1000))
end

function rate.read(row)
  local kept = redis.call('HMGET', row.key, 'debt', 'at', 'since')
  local time = tonumber(kept[2] or now)
  row.debt, row.since = tonumber(kept[1] or 0), tonumber(kept[3] or 0)
  if now < time then  -- the clock was set back: it goes on from there
    rate.write(row)
  else
    row.debt = math.max(0, row.debt - (now - time) * row.most)
  end
end

function rate.add(row, amount)
  if row.debt == 0 then row.since = now end
  row.debt = math.min(row.debt + amount * MINUTE, DEEPEST)
  rate.write(row)
end

function rate.wait(row)
  local missing = row.debt + (math.min(row.amount, row.most) - row.most) * MINUTE
  return missing > 0 and math.ceil(missing / row.most) or 0
end

function rate.take(row)
  rate.add(row, math.min(row.amount, row.most))
end

function rate.settle(row)
  local more = row.used - math.min(row.amount, row.most)
  if more > 0 then
    rate.add(row, more)
  elseif at >= row.since then
    row.debt = math.max(0, row.debt + more * MINUTE)
    rate.write(row)
  end
end

function rate.renew() end

function rate.standing(row)
  return math.ceil(row.debt / MINUTE), math.ceil(row.debt / row.most), 0
end

local slots = {}

function slots.read(row)
  redis.call('ZREMRANGEBYSCORE', row.held, '-inf', whole(now))
  row.count = redis.call('ZCARD', row.held)
end

function slots.wait(row)
  return row.count >= row.most and SOON or 0
end

function slots.take(row)
  row.count = row.count + redis.call('ZADD', row.held, whole(now + length_of_lease), lease)
  redis.call('PEXPIRE', row.held, whole(length_of_lease + 1000))
end

slots.renew = slots.take

function slots.settle(row)
  redis.call('ZREM', row.held, lease)
end

function slots.standing(row)
  return row.count, 0, 0
end

-- A budget: when its window began, what is spent, of this the part of which no replica has said that it was itself, what
-- is reserved, and for each replica what it has spent. A lease tells its amount in its name.
local budget = {}

local function lease_of(row)
  return lease .. ':' .. whole(row.amount)
end

function budget.write(row)
  redis.call('HSET', row.key, 'start', whole(row.start), 'spent', whole(row.spent), 'base', whole(row.base),
    'reserved', whole(row.reserved))
  redis.call('PEXPIRE', row.key, whole(row.ends - now + MINUTE))
  redis.call('PEXPIRE', row.held, whole(length_of_lease + 1000))
end

local function expire(row)
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', row.held, '-inf', whole(now))) do
    redis.call('ZREM', row.held, old)
    row.reserved = row.reserved - tonumber(string.match(old, '%d+$'))
  end
  if redis.call('ZCARD', row.held) == 0 then row.reserved = 0 end
end

function budget.read(row)
  local kept = redis.call('HMGET', row.key, 'start', 'spent', 'base', 'reserved')
  local before = tonumber(kept[1] or 0)
  row.start, row.ends = window(row.every, math.max(now, before))
  if row.start == before then
    row.spent, row.base, row.reserved = tonumber(kept[2]), tonumber(kept[3]), tonumber(kept[4])
    if row.reserved > 0 then expire(row) end
  else
    redis.call('DEL', row.key, row.held)
    row.spent, row.base, row.reserved = 0, 0, 0
  end
end

function budget.wait(row)
  if row.amount == 0 or row.spent + row.reserved + row.amount <= row.most then return 0 end
  if row.spent + row.amount <= row.most then return SOON end
  return row.amount > row.most and NEVER or row.ends - now
end

function budget.take(row)
  if redis.call('ZADD', row.held, whole(now + length_of_lease), lease_of(row)) == 1 then
    row.reserved = row.reserved + row.amount
  end
  budget.write(row)
end

function budget.renew(row)
  if window(row.every, at) == row.start then budget.take(row) end
end

function budget.settle(row)
  if redis.call('ZREM', row.held, lease_of(row)) == 1 then
    row.reserved = math.max(0, row.reserved - row.amount)
  end
  if window(row.every, at) == row.start then
    local known = tonumber(redis.call('HGET', row.key, 'of:' .. replica) or nil)
    if not known then  -- it has been forgotten: what others have told of the sum includes what it had told itself
      local told = math.min(row.base, row.confirmed)
      row.base, row.spent, known = row.base - told, row.spent - told, 0
    end
    row.spent = row.spent + math.max(0, row.used - known)
    redis.call('HSET', row.key, 'of:' .. replica, whole(math.max(known, row.used)))
  end
  budget.write(row)
end

function budget.preload(row)
  if window(row.every, at) ~= row.start then return end
  local more = math.max(0, row.amount - row.spent)
  row.base, row.spent = row.base + more, row.spent + more
  budget.write(row)
end

function budget.remember(row)
  budget.settle(row)
  row.amount = row.known
  budget.preload(row)
end

function budget.standing(row)
  return row.spent + row.reserved, math.max(0, row.ends - now), row.spent
end

local kinds = {rate = rate, slots = slots, budget = budget}

local function rows(width)
  local all = {}
  for start = 6, #ARGV, width do
    local n = #all + 1
    local row = {
      key = KEYS[2 * n - 1], held = KEYS[2 * n],
      kind = kinds[ARGV[start]], most = tonumber(ARGV[start + 1]), every = ARGV[start + 2],
      amount = tonumber(ARGV[start + 3]), used = tonumber(ARGV[start + 4]), confirmed = tonumber(ARGV[start + 5]),
      known = tonumber(ARGV[start + 6]),
    }
    row.kind.read(row)
    all[n] = row
  end
  return all
end

local function each(method, width)
  for _, row in ipairs(rows(width)) do
    row.kind[method](row)
  end
  return now
end

-- Tells the number of the limit that refuses it, or 0; the wait; the time; and of each limit what is used, when that is
-- over, and what is spent. In one word, because a list of numbers takes clients much longer to read.
local function reserve()
  local all, longest, refusing = rows(4), 0, 0
  for n, row in ipairs(all) do
    local wait = row.kind.wait(row)
    if longest ~= NEVER and (wait == NEVER or wait > longest) then
      longest, refusing = wait, n
    end
  end
  local answer = {refusing, longest, now}
  for _, row in ipairs(all) do
    if refusing == 0 then row.kind.take(row) end
    for _, number in ipairs({row.kind.standing(row)}) do
      answer[#answer + 1] = number
    end
  end
  for n, number in ipairs(answer) do
    answer[n] = whole(number)
  end
  return table.concat(answer, ' ')
end

-- It is there. How many are?
local function pulse()
  redis.call('ZADD', KEYS[1], whole(now), replica)
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', whole(now - ALIVE))
  redis.call('PEXPIRE', KEYS[1], whole(2 * ALIVE))
  return redis.call('ZCARD', KEYS[1])
end

local actions = {
  reserve = reserve,
  settle = function() return each('settle', 6) end,
  renew = function() return each('renew', 4) end,
  preload = function() return each('preload', 4) end,
  remember = function() return each('remember', 7) end,
  pulse = pulse,
  leave = function() return redis.call('ZREM', KEYS[1], replica) end,
}

return actions[action]()
