'use strict'
/* global server */

// Accounting events of outbound mail into Redis streams. Only what ties the parts to Haraka's hooks is here.
//
// Accounting never changes what becomes of a message: every hook calls next() without an argument, once, in time.

const os = require('node:os')
const path = require('node:path')

const { Accounting } = require('./lib/accounting')
const { NOTES, build } = require('./lib/event')
const { keep } = require('./lib/headers')
const { attemptOf, watch } = require('./lib/outbound_socket')
const { RedisIni } = require('./lib/redis_ini')
const { read } = require('./lib/settings')

const FIRST = -100
const LAST = 100

/** Haraka's directory. */
const home = () => process.env.HARAKA || process.cwd()

exports.register = function () {
  // Haraka's own bound (plugin_timeout) would make a bounce of a delayed hook one without a DSN, a deferral one without a
  // delay, and costs a timer for each hook and message. Every hook here has a bound of its own instead: it answers at once, or
  // after max_hold_ms or on_full_hold_ms (publisher.js), or, as the first mail comes in, 3 s (accounting.js).
  this.timeout = 0
  this.load_accounting_ini()
  this.register_hook('init_master', 'start_accounting')
  this.register_hook('init_child', 'start_accounting')
  // Before other plugins: an answer of theirs other than CONT would hide the event.
  this.register_hook('queue_outbound', 'keep_headers', FIRST)
  this.register_hook('send_email', 'watch_socket', FIRST)
  for (const type of Object.keys(build)) this.register_hook(type, `account_${type}`, FIRST)
  // After other plugins: an answer of ours other than CONT would hide the bounce from them.
  this.register_hook('bounce', 'suppress_dsn', LAST)
  this.loginfo('Plugin is Ready!')
}

/** Read the ini files, at the start and after each edit. Hooks are not registered here. */
exports.load_accounting_ini = function () {
  const ini = this.config.get('accounting_stream.ini', () => this.load_accounting_ini())
  const node = String(this.config.get('me') || '').trim() || os.hostname()
  const { settings, problems } = read(ini, this.read_redis_ini(), node)
  for (const problem of problems) this.logerror(`accounting_stream.ini: ${problem}`)
  const previous = this.settings
  this.settings = settings
  if (!this.accounting || this.is_shut_down || JSON.stringify(previous) === JSON.stringify(settings)) return
  const retired = this.accounting
  this.accounting = this.new_accounting()
  const retiring = retired.retire().catch((error) => this.logerror(error.message))
  this.retiring = Promise.all([this.retiring, retiring])
}

/** What Haraka's redis.ini says; from then on its edits are noticed. */
exports.read_redis_ini = function () {
  const file = path.join(home(), 'config', 'redis.ini')
  this.redis_ini ??= new RedisIni(file, () => this.load_accounting_ini())
  try {
    return this.redis_ini.read()
  } catch (error) {
    this.logerror(`redis.ini: ${error.message}`)
    return {}
  }
}

exports.new_accounting = function () {
  const log = {
    debug: (line) => this.logdebug(line),
    info: (line) => this.loginfo(line),
    warn: (line) => this.logwarn(line),
    error: (line) => this.logerror(line),
  }
  const accounting = new Accounting(this.settings, log, home())
  accounting.start()
  return accounting
}

exports.start_accounting = function (next) {
  // With worker processes the master delivers no mail.
  if (server.cluster?.isMaster) return next()
  this.accounting ??= this.new_accounting()
  // Without waiting for Redis: Haraka takes mail already, and loads its queue after this hook. What came in between it would
  // find there as well, and deliver twice.
  next()
}

exports.keep_headers = function (next, connection) {
  // Mail that is queued before the headers to keep are known would have blank columns for good. Just after the start only.
  if (this.accounting?.isReady === false) {
    const go_on = () => this.keep_wanted(next, connection)
    this.accounting.ready().then(go_on, go_on)
  } else this.keep_wanted(next, connection)
}

exports.keep_wanted = function (next, connection) {
  try {
    connection.transaction.notes[NOTES] = keep(connection, this.accounting?.wanted ?? this.settings.headers)
  } catch (error) {
    this.logerror(`headers not kept: ${error.message}`)
  }
  next()
}

exports.watch_socket = function (next, hmail) {
  if (this.settings.src_ip === 'socket') watch(hmail)
  next()
}

exports.account_delivered = function (next, hmail, params) {
  this.account('delivered', next, hmail, params)
}

exports.account_deferred = function (next, hmail, params) {
  this.account('deferred', next, hmail, params, params?.mx, params?.err)
}

exports.account_bounce = function (next, hmail, err) {
  this.account('bounce', next, hmail, err, err?.mx, err?.message)
}

exports.suppress_dsn = function (next) {
  if (this.settings.suppress_dsn) return next(OK)
  next()
}

/** Build the event of a hook call and publish it; next() when it is safe, and whatever happens. */
exports.account = function (type, next, hmail, params, mx, error) {
  const done = () => {
    try {
      next()
    } catch (failure) {
      // It is Haraka's or another plugin's, and must not keep other messages' hooks waiting.
      this.logerror(`after ${type}: ${failure.stack}`)
    }
  }
  let body
  try {
    const attempt = this.settings.src_ip === 'socket' ? attemptOf(hmail, mx, error) : undefined
    body = build[type](hmail, params, {
      now: Date.now(),
      node: this.settings.node,
      vmta: server.notes?.vmta,
      address: attempt?.address,
      mx: attempt?.mx,
    })
    this.accounting ??= this.new_accounting()
    if (body !== undefined) return this.accounting.add(type, body, hmail.todo.uuid ?? '', done)
    this.logwarn(`${type}: nothing to account for (unreadable queue file?)`)
  } catch (failure) {
    this.logerror(`${type} not accounted for: ${failure.message}`)
  }
  this.accounting?.skip()
  done()
}

exports.shutdown = async function () {
  // haraka-config tells of an edit 5 s later: it must not begin anew what ends here.
  this.is_shut_down = true
  this.redis_ini?.close()
  await Promise.all([this.retiring, this.accounting?.close()])
}
