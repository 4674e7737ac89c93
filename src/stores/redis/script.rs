//! What the server does by itself, as one step. While a script runs, nothing else does.

use redis::{Cmd, cmd};
use std::sync::LazyLock;

/// A script, and the name by which a server knows it that has seen it.
#[derive(Debug)]
pub(super) struct Script {
    code: String,
    name: String,
}

/// What both scripts hold for a record: the three fields, the version in 16 hexadecimal digits, the time in digits. All
/// else is none. A host can write what it likes under its own two keys, and must not keep others from being read.
const RECORD: &str = "
local function record(key)
  local fields = redis.call('HMGET', key, 'version', 'value', 'written_at')
  local version, value, at = fields[1], fields[2], fields[3]
  if not version or not value or not at then return false end
  if #version ~= 16 or version:find('[^0-9a-f]') then return false end
  if #at > 16 or not at:find('^[0-9]+$') then return false end
  return fields
end
";

/// Gives each record's fields, in the order of the keys, and last of all the time: so the age that follows is never
/// less than it is.
const READING: &str = "
local found = {}
for number, key in ipairs(KEYS) do found[number] = record(key) end
local time = redis.call('TIME')
found[#KEYS + 1] = time[1] * 1000000 + time[2]
return found
";

/// Writes a record where its version is the expected one: ARGV is that (empty for no record), the new version, the
/// value, and after how many milliseconds the record may be forgotten (empty for never). 1 where it was written.
const SWAPPING: &str = "
local found = record(KEYS[1])
if (found and found[1] or '') ~= ARGV[1] then return 0 end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000000 + time[2])
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'value', ARGV[3], 'written_at', now)
if ARGV[4] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[4]) end
return 1
";

pub(super) static READ: LazyLock<Script> = LazyLock::new(|| Script::new(READING));
pub(super) static SWAP: LazyLock<Script> = LazyLock::new(|| Script::new(SWAPPING));

impl Script {
    fn new(work: &str) -> Self {
        let code = format!("{RECORD}{work}");
        let name = redis::Script::new(&code).get_hash().to_owned();
        Self { code, name }
    }

    /// Calls it by its name. A server that does not know it has done nothing then.
    pub(super) fn by_name(&self, keys: &[String], arguments: &[&str]) -> Cmd {
        call("EVALSHA", &self.name, keys, arguments)
    }

    /// Calls it by telling all of it, which the server keeps.
    pub(super) fn in_full(&self, keys: &[String], arguments: &[&str]) -> Cmd {
        call("EVAL", &self.code, keys, arguments)
    }

    /// Tells it, and calls nothing.
    pub(super) fn load(&self) -> Cmd {
        let mut load = cmd("SCRIPT");
        load.arg("LOAD").arg(&self.code);
        load
    }
}

fn call(by: &str, what: &str, keys: &[String], arguments: &[&str]) -> Cmd {
    let mut call = cmd(by);
    call.arg(what).arg(keys.len()).arg(keys).arg(arguments);
    call
}
