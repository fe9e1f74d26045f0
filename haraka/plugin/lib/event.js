'use strict'

// One event per hook call, as JSON text: the contract is schemas/events.py. Pure: clock, node and address are arguments.
//
// The text is put together by hand, since most of it is constant. An event has two parts around its id, which is known
// only when the batch is formed: HEAD[type] + id + body. A field without a value is left out.

const net = require('node:net')

const failure = require('./failure')
const { bounded, needsEscape } = require('./text')

const VERSION = 1
const head = (tag) => `{"type":"${tag}","v":${VERSION},"eventId":"`

/** Text before the event id, by type. The order of the keys is that of every listing. */
const HEAD = { delivered: head('d'), deferred: head('df'), bounce: head('b') }

/** Key of our part of transaction.notes: JSON-safe, so it survives restarts and splits. */
const NOTES = 'accounting_stream'

const TRANSIENT = '4'
const PERMANENT = '5'
const MAX_INSTANT = 253_370_764_800_000

// The pieces of the body that is being built. Joined, they are one flat string; added up, they would be a tree of some
// sixty strings that lives as long as the event waits, and keeps the garbage collector busy with it.
let pieces = []

/** A value as it stands between quotes, with the closing one; '' where there is no value. */
function closed(value) {
  const text = bounded(value)
  if (text === '') return ''
  return needsEscape(text) ? JSON.stringify(text.toWellFormed()).slice(1) : `${text}"`
}

/** key: ',"name":"' */
function text(key, value) {
  const found = closed(value)
  if (found !== '') pieces.push(key, found)
}

/** A whole number; key: ',"name":' */
function whole(key, value, max = Number.MAX_SAFE_INTEGER) {
  const number = Math.trunc(Number(value ?? NaN))
  if (number >= 0 && number <= max) pieces.push(key, number)
}

function flag(key, value) {
  if (typeof value === 'boolean') pieces.push(key, value)
}

/** An envelope address as it was given, without angle brackets. */
function bare(address) {
  if (!address) return ''
  const given = address.original || address.address || ''
  return given.startsWith('<') && given.endsWith('>') ? given.slice(1, -1) : given
}

function custom(headers) {
  let before = ',"custom":{"'
  for (const name in headers) {
    const value = closed(headers[name])
    if (value === '') continue
    pieces.push(before, closed(name), ':"', value)
    before = ',"'
  }
  if (before === ',"') pieces.push('}')
}

/** Host name of a destination, preferring the one that DNS was asked for to the address that came back. */
function mxName(mx) {
  return net.isIP(mx.exchange ?? '') && mx.from_dns && !net.isIP(mx.from_dns) ? mx.from_dns : mx.exchange
}

function destination(ip, host, port, lmtp) {
  if (net.isIP(ip ?? '')) text(',"destIp":"', ip)
  text(',"dsnMta":"', host)
  pieces.push(lmtp ? ',"dlvType":"lmtp"' : ',"dlvType":"smtp"')
  whole(',"dlvDestinationPort":', port, 65535)
}

function destinationOf(mx) {
  if (mx) destination(mx.exchange, mxName(mx), mx.port, mx.using_lmtp)
}

/** What every event has. `attempts` counts this one. */
function common(todo, mx, attempts, context) {
  const kept = todo.notes?.[NOTES]
  pieces.push('"timeLogged":', context.now)
  whole(',"timeQueued":', todo.queue_time, MAX_INSTANT - 1)
  text(',"node":"', context.node)
  text(',"jobId":"', todo.uuid)
  text(',"orig":"', bare(todo.mail_from))
  text(',"queue":"', todo.domain)
  text(',"srcMta":"', kept?.helo)
  text(',"srcIp":"', context.address ?? todo.notes?.outbound_ip ?? mx?.bind)
  text(',"vmta":"', todo.notes?.vmta ?? context.vmta)
  whole(',"attempts":', attempts)
  custom(kept?.custom)
}

/** The recipients, each with what `describe` adds; false where none has an address. */
function recipients(list, describe) {
  let before = ',"rcpts":[{"rcpt":"'
  for (const rcpt of list) {
    const address = closed(bare(rcpt))
    if (address === '') continue
    pieces.push(before, address)
    describe?.(rcpt)
    before = '},{"rcpt":"'
  }
  const found = before.startsWith('}')
  if (found) pieces.push('}]')
  return found
}

/** Run a builder: the body, or undefined where there is nobody that it could be about. */
function body(build) {
  return (hmail, params, context) => {
    if (!hmail.todo) return undefined
    pieces = []
    const found = build(hmail, params ?? {}, context)
    pieces.push('}')
    return found ? pieces.join('') : undefined
  }
}

/** Params as Haraka hands them to the hook `delivered`. */
function delivered(hmail, params, context) {
  const [host, ip, response, , port, mode, okRecips, secured, authenticated] = params
  const lmtp = mode === 'LMTP'
  common(hmail.todo, context.mx, hmail.num_failures + 1, context)
  const found = recipients(okRecips?.length ? okRecips : hmail.todo.rcpt_to)
  destination(ip, host, port, lmtp)
  if (lmtp) pieces.push(',"dsnAction":"delivered"')
  text(',"dsnMsg":"', response)
  flag(',"dlvTls":', secured)
  flag(',"dlvAuth":', authenticated)
  return found
}

/** Haraka has counted this failure already. */
function deferred(hmail, params, context) {
  const named = params.fail_recips?.length > 0
  const error = String(params.err ?? '')
  const mx = params.mx ?? context.mx
  common(hmail.todo, mx, hmail.num_failures, context)
  const found = recipients(named ? params.fail_recips : hmail.todo.rcpt_to, (rcpt) => {
    const { status, message } = failure.describe(rcpt, named, error, TRANSIENT)
    pieces.push(',"dsnStatus":"', status, '","dsnAction":"delayed"')
    text(',"dsnMsg":"', message)
  })
  destinationOf(mx)
  if (Number.isFinite(params.delay) && params.delay >= 0) pieces.push(',"delay":', params.delay)
  return found
}

/** `err` is the Error that Haraka hands to the hook. */
function bounce(hmail, err, context) {
  const list = [err.bounced_rcpt, err.deferred_rcpt].find((rcpts) => rcpts?.length > 0)
  const error = String(err.message ?? err)
  const mx = err.mx ?? context.mx
  common(hmail.todo, mx, hmail.num_failures + (failure.isCounted(error) ? 0 : 1), context)
  const found = recipients(list ?? hmail.todo.rcpt_to, (rcpt) => {
    const { status, message, reason } = failure.describe(rcpt, list !== undefined, error, PERMANENT)
    pieces.push(',"dsnStatus":"', status, '","dsnAction":"failed"')
    text(',"dsnMsg":"', message)
    text(',"bounceCat":"', reason || message)
  })
  destinationOf(mx)
  return found
}

module.exports = {
  HEAD,
  NOTES,
  build: { delivered: body(delivered), deferred: body(deferred), bounce: body(bounce) },
}
