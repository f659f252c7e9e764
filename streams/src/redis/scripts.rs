//! The scripts. Each takes the keys of the records, of the table and of the nudges, in this order.
//!
//! Numbers are returned as text, and absent values as an empty text or as nothing. A value of the
//! table is its revision, a `|`, and the written bytes. The fields `#epoch` and `#revision` of the
//! table are not values.

/// Makes a script that writes. It begins with the functions that all scripts use.
macro_rules! script {
    ($($text:literal),+ $(,)?) => { with_functions!("", $($text),+) };
}

/// Makes a script that reads. Because of its first line, a server that refuses writes refuses it
/// too: a master that has become a replica still has the records, but perhaps not the newest, so
/// its answers prove nothing. It still works when the memory is full.
macro_rules! reading {
    ($($text:literal),+ $(,)?) => { with_functions!("#!lua flags=allow-oom\n", $($text),+) };
}

macro_rules! with_functions {
    ($first:literal, $($text:literal),+) => {
        concat!(
            $first,
            "local function number(id) ",
            "local ms, at = string.match(id, '^(%d+)-(%d+)$') ",
            "if ms ~= '0' then error('TIDINGS-FOREIGN') end ",
            "return tonumber(at) end ",
            "local function text(n) return string.format('%d', n) end ",
            "local function record(fields) ",
            // If an entry is larger than any record, another program has written it. Its beginning
            // is enough: it cannot be decoded, and is a gap.
            "for at = 1, #fields, 2 do if fields[at] == 'r' then ",
            "return string.sub(fields[at + 1], 1, 1048577) end end ",
            "return '' end ",
            "local function micros() local t = redis.call('TIME') ",
            "return tonumber(t[1]) * 1000000 + tonumber(t[2]) end ",
            "local function epoch() return redis.call('HGET', KEYS[2], '#epoch') or '' end ",
            "local function newest() ",
            "return redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1] end ",
            "local function oldest() ",
            "return redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1] end ",
            "local function append(bytes) ",
            "local id = redis.call('XADD', KEYS[1], '0-*', 'r', bytes, 't', text(micros())) ",
            // A failure to wake other nodes must not make the append fail.
            "redis.pcall('XADD', KEYS[3], 'MAXLEN', '~', 256, '*', 'w', '') ",
            "return text(number(id)) end ",
            $($text, "\n"),+
        )
    };
}

/// Returns the epoch, the number of the oldest record, the number and bytes of the newest, and the
/// time.
pub(super) const LOOK: &str = reading!(
    "local first, last = oldest(), newest()",
    "if not last then return {epoch(), '0', '0', '', text(micros())} end",
    "return {epoch(), text(number(first[1])), text(number(last[1])), record(last[2]),",
    "  text(micros())}",
);

/// Arguments: a number, a limit, a limit of bytes, names of values. Returns the epoch, the numbers
/// of the oldest and the newest record; numbers and bytes of records; values.
pub(super) const READ: &str = reading!(
    "local from, limit, budget = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])",
    "local entries, values, first, last = {}, {}, '0', '0'",
    "local top = newest()",
    "if top then",
    "  first, last = text(number(oldest()[1])), text(number(top[1]))",
    "end",
    "while limit > 0 and budget > 0 do",
    "  local some = redis.call('XRANGE', KEYS[1], '0-' .. from, '+', 'COUNT',",
    "    math.min(limit, 64))",
    "  if #some == 0 then break end",
    "  for _, entry in ipairs(some) do",
    "    local at, bytes = number(entry[1]), record(entry[2])",
    "    entries[#entries + 1] = text(at)",
    "    entries[#entries + 1] = bytes",
    "    from = text(at + 1)",
    "    limit = limit - 1",
    "    budget = budget - #bytes",
    "    if budget <= 0 then break end",
    "  end",
    "end",
    "for at = 4, #ARGV do",
    "  values[#values + 1] = redis.call('HGET', KEYS[2], ARGV[at]) or ''",
    "end",
    "return {epoch(), first, last, entries, values}",
);

/// Arguments: the epoch, the bytes. Returns the number, or nothing if the stream is of another
/// epoch or has no record.
pub(super) const APPEND: &str = script!(
    "if epoch() ~= ARGV[1] or not newest() then return '' end",
    "return append(ARGV[2])",
);

/// Arguments: the expected epoch or an empty text, the new one, the bytes. Returns the number and
/// the current epoch.
pub(super) const BEGIN: &str = script!(
    "if epoch() ~= ARGV[1] then return {'', epoch()} end",
    "local at = append(ARGV[3])",
    "redis.call('HSET', KEYS[2], '#epoch', ARGV[2])",
    "return {at, ARGV[2]}",
);

/// Argument: a time in microseconds. Returns how many older records were removed. The entries'
/// times grow with their numbers, so a binary search finds the first one that stays.
pub(super) const TRIM: &str = script!(
    "local last = newest()",
    "if not last then return '0' end",
    "local before = micros() - tonumber(ARGV[1])",
    "local first = number(oldest()[1])",
    "local low, high = first, number(last[1])",
    "while low < high do",
    "  local middle = math.floor((low + high) / 2)",
    "  local entry = redis.call('XRANGE', KEYS[1], '0-' .. text(middle), '+', 'COUNT', 1)[1]",
    "  local time = 0",
    "  for at = 1, #entry[2], 2 do",
    "    if entry[2][at] == 't' then time = tonumber(entry[2][at + 1]) or 0 end",
    "  end",
    "  if time < before then low = middle + 1 else high = middle end",
    "end",
    "redis.call('XTRIM', KEYS[1], 'MINID', '=', '0-' .. text(low))",
    "return text(low - first)",
);

/// Returns names and values.
pub(super) const VALUES: &str = reading!(
    "local all, values = redis.call('HGETALL', KEYS[2]), {}",
    "for at = 1, #all, 2 do",
    "  if string.sub(all[at], 1, 1) ~= '#' then",
    "    values[#values + 1] = all[at]",
    "    values[#values + 1] = all[at + 1]",
    "  end",
    "end",
    "return values",
);

/// Argument: a name. Returns its value.
pub(super) const VALUE: &str = reading!("return redis.call('HGET', KEYS[2], ARGV[1]) or ''");

/// Arguments: a name; `any`, `absent` or a revision; and the bytes to write, or nothing to remove
/// the value. Returns `1` if it was written.
pub(super) const REPLACE: &str = script!(
    "local held = redis.call('HGET', KEYS[2], ARGV[1])",
    "local expected = ARGV[2]",
    "if expected == 'absent' then",
    "  if held then return '0' end",
    "elseif expected ~= 'any' then",
    "  if not held or string.match(held, '^(%d+)|') ~= expected then return '0' end",
    "end",
    "if ARGV[3] then",
    "  local revision = redis.call('HINCRBY', KEYS[2], '#revision', 1)",
    "  redis.call('HSET', KEYS[2], ARGV[1], text(revision) .. '|' .. ARGV[3])",
    "else",
    "  redis.call('HDEL', KEYS[2], ARGV[1])",
    "end",
    "return '1'",
);

/// Argument: the text of a wake-up.
pub(super) const NUDGE: &str = script!(
    "redis.call('XADD', KEYS[3], 'MAXLEN', '~', 256, '*', 'w', ARGV[1])",
    "return '1'",
);

/// Returns the id of the newest nudge.
pub(super) const NEWEST_NUDGE: &str = reading!(
    "local newest = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]",
    "return newest and newest[1] or '0-0'",
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::LARGEST;

    #[test]
    fn no_record_is_cut() {
        let beyond = format!("1, {})", LARGEST + 1);
        assert!(READ.contains(&beyond) && LOOK.contains(&beyond));
    }
}
