-- Takes a cost of each of several quotas, or of none: one step, by the clock of this server.
--
-- KEYS: for each quota its cell, the instant at which all of it is there again. ARGV: for each quota what is taken and how much
-- there ever is, as time of earning. A time is two numbers, microseconds and the nanoseconds beyond them, since one number here has
-- 53 bits. Answers with the place of the quota that has not enough and the wait for it (0, 0, 0 if there is none), then for each
-- what is spent.
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local arg = function(i) return tonumber(ARGV[i]) end
local short, wait_us, wait_ns = 0, 0, 0
local spent, after = {}, {}
for i = 1, #KEYS do
  local take_us, take_ns, whole_us, whole_ns = arg(4 * i - 3), arg(4 * i - 2), arg(4 * i - 1), arg(4 * i)
  local us, ns = string.match(redis.call('GET', KEYS[i]) or '', '^(%d+) (%d+)$')
  us, ns = (tonumber(us) or 0) - now, tonumber(ns) or 0
  if us < 0 then us, ns = 0, 0 end
  -- More can be spent only if this clock was set back, or is another server's.
  if us > whole_us or (us == whole_us and ns > whole_ns) then us, ns = whole_us, whole_ns end
  spent[i] = { us, ns }
  us, ns = us + take_us, ns + take_ns
  if ns >= 1000 then us, ns = us + 1, ns - 1000 end
  after[i] = { us, ns }
  us, ns = us - whole_us, ns - whole_ns
  if ns < 0 then us, ns = us - 1, ns + 1000 end
  if us > wait_us or (us == wait_us and ns > wait_ns) then short, wait_us, wait_ns = i, us, ns end
end
if short == 0 then
  spent = after
  for i = 1, #KEYS do
    local us, ns = after[i][1], after[i][2]
    if arg(4 * i - 3) + arg(4 * i - 2) > 0 then
      -- Forgotten as soon as all of it is there again.
      local expire = string.format('%.0f', math.floor(us / 1000) + 1)
      redis.call('SET', KEYS[i], string.format('%.0f %d', now + us, ns), 'PX', expire)
    end
  end
end
local answer = { short, wait_us, wait_ns }
for i = 1, #KEYS do
  answer[#answer + 1] = spent[i][1]
  answer[#answer + 1] = spent[i][2]
end
return answer
