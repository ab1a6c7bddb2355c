-- What a store of idempotency keys is asked, in one step, by the clock of this server. The same is said in entry.rs.
--
-- KEYS: the hash of a scope. ARGV: what is asked, the owner, the length of a lease and of keeping in milliseconds; of `begin` also the
-- fingerprint and what is done after a crash, and this also of `release`; of `complete` also how it has ended, and the record or nothing.
--
-- Answers of `begin`: `run` and the fence, `in flight`, `mismatch`, or how it has ended, and the record if there is one. Of the others:
-- `yes`, `ended`, `lost`.
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local ask, owner, lease, keep = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local number = function(n) return string.format('%.0f', n) end

local kept = redis.call('HMGET', KEYS[1], 'fingerprint', 'owner', 'fence', 'state', 'lease_until', 'forget_at')
local fingerprint, fence, state = kept[1], tonumber(kept[3] or 0), kept[4]
-- One whose time is over is none, also if this server still has it.
local known = kept[2] and now < tonumber(kept[6])
local mine = known and kept[2] == owner

-- Some fields are new, and all of it is kept until then.
local put = function(forget_at, ...)
  redis.call('HSET', KEYS[1], 'forget_at', number(forget_at), ...)
  redis.call('PEXPIREAT', KEYS[1], number(forget_at))
end

if ask == 'begin' then
  local asked, after_crash = ARGV[5], ARGV[6]
  -- It becomes that of the one who asks.
  local take = function(fence, state, lease_until, forget_at)
    -- First of all what a server whose memory is full refuses: then nothing is done.
    put(forget_at, 'fingerprint', asked, 'owner', owner, 'fence', number(fence), 'state', state, 'lease_until', number(lease_until))
    redis.call('HDEL', KEYS[1], 'record')
  end
  local run = function(fence)
    -- What was not heard of is remembered for as long as a record is.
    take(fence, 'running', now + lease, now + lease + keep)
    return { 'run', number(fence) }
  end
  if not known then return run(1) end
  if state == 'released' then return run(fence + 1) end
  if fingerprint ~= asked then return { 'mismatch' } end
  if state == 'record' then return { state, redis.call('HGET', KEYS[1], 'record') } end
  if state ~= 'running' then return { state } end
  -- The answer to it was lost.
  if mine then return run(fence) end
  if now < tonumber(kept[5]) then return { 'in flight' } end
  if after_crash == 'rerun' then return run(fence + 1) end
  take(fence + 1, 'indeterminate', 0, now + keep)
  return { 'indeterminate' }
end

if not mine then return { 'lost' } end
if state ~= 'running' then return { 'ended' } end
if ask == 'renew' then
  put(now + lease + keep, 'lease_until', number(now + lease))
elseif ask == 'complete' then
  put(now + keep, 'state', ARGV[5])
  if ARGV[5] == 'record' then redis.call('HSET', KEYS[1], 'record', ARGV[6]) end
elseif fence == 1 and ARGV[5] ~= 'rerun' then
  -- Nobody else has ever had this one, and nothing was done of it: so nobody can come late.
  redis.call('DEL', KEYS[1])
else
  put(now + keep, 'state', 'released')
end
return { 'yes' }
