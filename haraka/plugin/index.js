'use strict'
/* global server */

// Accounting events of outbound mail into Redis streams. Only what ties the parts to Haraka's hooks is here.
//
// Accounting never changes what becomes of a message: every hook calls next() without an argument, once, before it returns.
// What waits until an event is safe is Haraka's answer to the hook (lib/answer.js).

const os = require('node:os')
const path = require('node:path')

const { Accounting } = require('./lib/accounting')
const { answerOf } = require('./lib/answer')
const { NOTES, build } = require('./lib/event')
const { begun, queued } = require('./lib/headers')
const { logOf } = require('./lib/log_line')
const { attemptOf, watch } = require('./lib/outbound_socket')
const { RedisIni } = require('./lib/redis_ini')
const { read } = require('./lib/settings')

const FIRST = -100

/** Hook → method. All before other plugins, whose answer other than CONT would hide the call. */
const HOOKS = {
  mail: 'keep_helo',
  // Mail that plugins queue (outbound.send_trans_email, send_email) comes by here, and by no hook before it.
  pre_send_trans_email: 'keep_headers',
  send_email: 'watch_socket',
  delivered: 'account_delivered',
  deferred: 'account_deferred',
  bounce: 'account_bounce',
}

/** Haraka's directory. */
const home = () => process.env.HARAKA || process.cwd()

exports.register = function () {
  // Haraka's own bound (plugin_timeout) costs a timer for each hook and message. No hook here needs it: it answers at once, or,
  // as the first mail comes in, after 3 s at the latest (accounting.js).
  this.timeout = 0
  this.load_accounting_ini()
  this.register_hook('init_master', 'start_accounting')
  this.register_hook('init_child', 'start_accounting')
  for (const [hook, method] of Object.entries(HOOKS)) this.register_hook(hook, method, FIRST)
  this.loginfo('Plugin is Ready!')
}

/** Read the ini files, at the start and after each edit. Hooks are not registered here. */
exports.load_accounting_ini = function () {
  const ini = this.config.get('accounting_stream.ini', () => this.load_accounting_ini())
  const node = String(this.config.get('me') || '').trim() || os.hostname()
  const { settings, problems } = read(ini, this.read_redis_ini(), node)
  for (const problem of problems) logOf(this).error(`accounting_stream.ini: ${problem}`)
  const previous = this.settings
  this.settings = settings
  if (!this.accounting || this.is_shut_down || JSON.stringify(previous) === JSON.stringify(settings)) return
  const retired = this.accounting
  this.accounting = this.new_accounting()
  const retiring = retired.retire().catch((error) => logOf(this).error(error.message))
  this.retiring = Promise.all([this.retiring, retiring])
}

/** What Haraka's redis.ini says; from then on its edits are noticed. */
exports.read_redis_ini = function () {
  const file = path.join(home(), 'config', 'redis.ini')
  this.redis_ini ??= new RedisIni(file, () => this.load_accounting_ini())
  try {
    return this.redis_ini.read()
  } catch (error) {
    logOf(this).error(`redis.ini: ${error.message}`)
    return {}
  }
}

exports.new_accounting = function () {
  const accounting = new Accounting(this.settings, logOf(this), home())
  accounting.start()
  return accounting
}

exports.start_accounting = function (next) {
  // With worker processes the master delivers no mail.
  if (server.cluster?.isMaster) return next()
  this.accounting ??= this.new_accounting()
  for (const [hook, method] of Object.entries(HOOKS)) this.go_first(hook, method)
  // Without waiting for Redis: Haraka takes mail already, and loads its queue after this hook. What came in between it would
  // find there as well, and deliver twice.
  next()
}

exports.keep_helo = function (next, connection) {
  try {
    connection.transaction.notes[NOTES] = begun(connection)
  } catch (error) {
    logOf(this).error(`HELO not kept: ${error.message}`)
  }
  next()
}

exports.keep_headers = function (next, { transaction }) {
  // Mail that is queued before the headers to keep are known would have blank columns for good. Just after the first start of
  // this node only: they are remembered.
  if (this.accounting?.isReady === false) {
    const go_on = () => this.keep_wanted(next, transaction)
    this.accounting.ready().then(go_on, go_on)
  } else this.keep_wanted(next, transaction)
}

exports.keep_wanted = function (next, transaction) {
  try {
    const wanted = this.accounting?.wanted ?? this.settings.headers
    transaction.notes[NOTES] = queued(transaction, wanted, transaction.notes[NOTES])
  } catch (error) {
    logOf(this).error(`headers not kept: ${error.message}`)
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

/**
 * Before all other plugins, also those of the same priority that are listed earlier. Behind one that answers later, a hook of
 * ours would stand in Haraka's list of hooks to run when it begins others for the same message, and ends for that; behind one
 * that answers OK it would not be called.
 */
exports.go_first = function (hook, method) {
  const hooks = server.plugins?.registered_hooks?.[hook]
  const ours = (each) => each?.plugin === this.name && each.method === method
  const index = Array.isArray(hooks) ? hooks.findIndex(ours) : -1
  if (index >= 0) hooks.unshift(...hooks.splice(index, 1))
  else logOf(this).warn(`hook ${hook} stays behind other plugins: this Haraka keeps its hooks elsewhere`)
}

/** Build the event of a hook call and publish it, Haraka's answer waiting for that; next() at once and whatever happens. */
exports.account = function (type, next, hmail, params, mx, error) {
  try {
    this.publish(type, hmail, params, mx, error)
  } catch (failure) {
    this.accounting?.skip()
    logOf(this).error(`${type} not accounted for: ${failure.message}`)
  }
  // Outside of the try: what is thrown behind it is Haraka's or another plugin's.
  if (type === 'bounce' && this.hides_bounce(hmail)) next(OK)
  else next()
}

/** Whether a bounce message can be kept back only by an answer of ours, which hides the bounce from other plugins. */
exports.hides_bounce = function (hmail) {
  return this.settings.suppress_dsn && !answerOf(hmail)
}

exports.publish = function (type, hmail, params, mx, error) {
  const answer = answerOf(hmail)
  if (answer) answer.suppressesDsn = this.settings.suppress_dsn
  const attempt = this.settings.src_ip === 'socket' ? attemptOf(hmail, mx, error) : undefined
  const body = build[type](hmail, params, {
    now: Date.now(),
    node: this.settings.node,
    vmta: server.notes?.vmta,
    address: attempt?.address,
    mx: attempt?.mx,
  })
  this.accounting ??= this.new_accounting()
  if (body !== undefined) return this.accounting.add(type, body, hmail.todo.uuid ?? '', answer)
  this.accounting.skip()
  logOf(this).warn(`${type}: nothing to account for (unreadable queue file?)`)
}

exports.shutdown = async function () {
  // haraka-config tells of an edit 5 s later: it must not begin anew what ends here.
  this.is_shut_down = true
  this.redis_ini?.close()
  await Promise.all([this.retiring, this.accounting?.close()])
}
