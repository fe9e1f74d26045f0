'use strict'

// Settings: accounting_stream.ini and Haraka's redis.ini → one frozen object. Pure. A wrong value is a problem that is
// named and its default is used: accounting must not keep Haraka from relaying mail.
//
// The booleans are read here, not declared to haraka-config: declared, one that an operator's file leaves out would count
// as given there, and hide what the shipped file and redis.ini say.

const { names } = require('./headers')
const { printable } = require('./log_line')
const { TAG } = require('./record_fields')

const text = (fallback = '') => ({ fallback, read: (value) => String(value).trim() })
const bool = (fallback) => ({ fallback, read: truth, expected: 'true or false' })
const list = () => ({ fallback: [], read: (value) => String(value).split(',').map(trim).filter(Boolean) })
const choice = (...words) => ({
  fallback: words[0],
  read: (value) => (words.includes(String(value)) ? String(value) : undefined),
  expected: words.join(' or '),
})
const whole = (fallback, min, max) => ({
  fallback,
  read: (value) => (Number.isInteger(+value) && +value >= min && +value <= max ? +value : undefined),
  expected: `a whole number from ${min} to ${max}`,
})

const MAIN = {
  node: text(),
  key: text('haraka:accounting'),
  partitions: whole(1, 1, 1024),
  headers: list(),
  src_ip: choice('socket', 'notes'),
  suppress_dsn: bool(false),
  max_hold_ms: whole(500, 1, 20_000),
  publish_interval_ms: whole(50, 0, 1000),
  batch_max_events: whole(500, 1, 100_000),
  batch_max_kb: whole(256, 1, 65_536),
  memory_max_mb: whole(16, 1, 4096),
  ring_max_mb: whole(8, 0, 4096),
  ring_seconds: whole(60, 0, 86_400),
  spool_dir: text('accounting_spool'),
  spool_max_mb: whole(256, 1, 1_048_576),
  spool_fsync: bool(true),
  spool_after_ms: whole(200, 1, 10_000),
  on_full: choice('drop', 'hold'),
  on_full_hold_ms: whole(10_000, 1, 25_000),
}

const REDIS = {
  url: text(),
  host: text(),
  port: whole('', 1, 65_535),
  path: text(),
  database: whole('', 0, 65_535),
  username: text(),
  password: text(),
  password_file: text(),
  tls: bool(false),
  tls_ca: text(),
  tls_cert: text(),
  tls_key: text(),
  tls_servername: text(),
  tls_reject_unauthorized: bool(true),
  sentinels: list(),
  sentinel_name: text('mymaster'),
  sentinel_username: text(),
  sentinel_password: text(),
  cluster: list(),
  connect_timeout_ms: whole(2000, 10, 60_000),
  timeout_ms: whole(2000, 10, 60_000),
}

/** Beside it the number of a partition stands in the hash tag. */
const MAX_KEY_LENGTH = 190

const DEFAULTED = '; the default is used'

/** Keys of Haraka's redis.ini that mean the same thing here; `ip`, `db` and `socket.path` are its older names. */
const HARAKA_NAMES = { ip: 'host', db: 'database', user: 'username', socket: 'path', pass: 'password' }

function trim(value) {
  return value.trim()
}

/** What an operator reads of a value that is wrong. */
function shown(value) {
  return printable(value, 80)
}

function truth(value) {
  if (typeof value === 'boolean') return value
  const word = String(value).toLowerCase()
  if (['true', 'yes', 'on', '1', 'enabled', 'ok'].includes(word)) return true
  return ['false', 'no', 'off', '0', 'disabled'].includes(word) ? false : undefined
}

function distance(a, b) {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1)))
    }
    row = next
  }
  return row[b.length]
}

function nearest(word, known) {
  return known.toSorted((a, b) => distance(word, a) - distance(word, b))[0]
}

function readSection(section, fields, where, problems) {
  const settings = {}
  for (const [name, field] of Object.entries(fields)) {
    const given = section[name]
    const blank = given === undefined || given === null || given === ''
    const value = blank ? field.fallback : field.read(given)
    if (value === undefined)
      problems.push(`${where}${name}=${shown(given)}: ${field.expected} expected${DEFAULTED}`)
    settings[name] = value ?? field.fallback
  }
  for (const name of Object.keys(section)) {
    if (!Object.hasOwn(fields, name)) {
      const near = nearest(shown(name), Object.keys(fields))
      problems.push(`${where}${shown(name)}: no such key, the nearest is ${near}`)
    }
  }
  return settings
}

/** The keys of redis.ini that the plugin understands; the rest is the business of other plugins. */
function fromHaraka(redisIni) {
  const known = {}
  for (const section of [redisIni?.opts, redisIni?.server]) {
    for (const [name, value] of Object.entries(section ?? {})) {
      const ours = HARAKA_NAMES[name] ?? name
      if (Object.hasOwn(REDIS, ours) && value !== '') known[ours] = value
    }
  }
  return known
}

function given(section) {
  return Object.fromEntries(
    Object.entries(section ?? {}).filter(([, value]) => value !== '' && value !== undefined),
  )
}

/** A batch has to reach the disk before answers are let go: that begins after half of their time, at the latest. */
function leaveTimeForTheDisk(settings, problems) {
  const { spool_after_ms: after, max_hold_ms: hold } = settings
  const most = Math.max(1, Math.floor(hold / 2))
  if (after <= most) return
  problems.push(`spool_after_ms=${after}: at most half of max_hold_ms=${hold} expected; ${most} is used`)
  settings.spool_after_ms = most
}

/** A process' partitions share its spool: one batch that does not fit into its share would hold up all that follow it. */
function ensureRoom(settings, problems) {
  const { spool_max_mb: given, partitions, batch_max_kb: kilobytes } = settings
  const least = Math.ceil((partitions * kilobytes * 1024) / 1e6)
  if (given >= least) return
  problems.push(
    `spool_max_mb=${given}: at least ${least} expected with partitions=${partitions} and batch_max_kb=${kilobytes}; ${least} is used`,
  )
  settings.spool_max_mb = least
}

/**
 * {settings, problems} of the parsed ini files. `fallbackNode` names the node where the ini does not.
 * Where our own ini says where Redis is, nothing of redis.ini's answer to that question is mixed in.
 */
function read(ini, redisIni, fallbackNode) {
  const problems = []
  const { redis: ownRedis, main = {}, ...others } = ini
  for (const section of Object.keys(others)) problems.push(`[${shown(section)}]: no such section`)
  const settings = readSection(main, MAIN, '', problems)
  const own = given(ownRedis)
  const elsewhere = ['url', 'host', 'path', 'sentinels', 'cluster'].some((name) => own[name] !== undefined)
  const redis = readSection(
    { ...(elsewhere ? {} : fromHaraka(redisIni)), ...own },
    REDIS,
    '[redis] ',
    problems,
  )
  settings.node ||= fallbackNode
  settings.headers = names(settings.headers)
  if (!TAG.test(settings.key) || settings.key.length > MAX_KEY_LENGTH) {
    const expected = `1 to ${MAX_KEY_LENGTH} characters, no braces, spaces or control characters expected`
    problems.push(`key=${shown(settings.key)}: ${expected}${DEFAULTED}`)
    settings.key = MAIN.key.fallback
  }
  leaveTimeForTheDisk(settings, problems)
  ensureRoom(settings, problems)
  return { settings: Object.freeze({ ...settings, redis: Object.freeze(redis) }), problems }
}

module.exports = { read, MAIN, REDIS }
