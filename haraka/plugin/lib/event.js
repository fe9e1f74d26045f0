'use strict'

// One event per hook call, as JSON text: the contract is schemas/events.py. Pure: clock, node and address are arguments.
//
// The text is put together by hand, since most of it is constant: JSON.stringify takes twice as long. `build` gives the body
// of an event; its id is known only when the batch is formed, and `complete` puts both together. A field without a value is
// left out.

const net = require('node:net')

const failure = require('./failure')
const { bounded, isUsual } = require('./text')

const VERSION = 1
const head = (tag) => `{"type":"${tag}","v":${VERSION},"eventId":"`
const HEAD = { delivered: head('d'), deferred: head('df'), bounce: head('b') }

/** The event. The order of the keys is that of every listing. */
function complete(type, id, body) {
  return `${HEAD[type]}${id}",${body}}`
}

/** Key of our part of transaction.notes: JSON-safe, so it survives restarts and splits. */
const NOTES = 'accounting_stream'

const TRANSIENT = '4'
const PERMANENT = '5'
const MAX_INSTANT = 253_370_764_800_000

/** A value as it stands between quotes, with the closing one; '' where there is no value. */
function closed(value) {
  if (isUsual(value)) return `${value}"`
  const text = bounded(value)
  return text === '' ? '' : JSON.stringify(text.toWellFormed()).slice(1)
}

/** key: ',"name":"' */
function text(key, value) {
  if (isUsual(value)) return `${key}${value}"`
  const found = closed(value)
  return found === '' ? '' : key + found
}

/** A whole number; key: ',"name":' */
function whole(key, value, max = Number.MAX_SAFE_INTEGER) {
  const number = Math.trunc(Number(value ?? NaN))
  return number >= 0 && number <= max ? key + number : ''
}

/** `make` of a value that is mostly the one of the last call. */
function remembered(make) {
  let last
  let made = ''
  return (value) => {
    if (value !== last) {
      last = value
      made = make(value)
    }
    return made
  }
}

const timeLogged = remembered((now) => whole('"timeLogged":', now))
const nodeName = remembered((node) => text(',"node":"', node))

function flag(key, value) {
  return typeof value === 'boolean' ? key + value : ''
}

/** An envelope address as it was given, without angle brackets. */
function bare(address) {
  if (!address) return ''
  const given = address.original || address.address || ''
  // Not startsWith and endsWith: they cost more than all the rest of it.
  return given.at(0) === '<' && given.at(-1) === '>' ? given.slice(1, -1) : given
}

function custom(headers) {
  let list = ''
  for (const name in headers) {
    const value = closed(headers[name])
    if (value !== '') list += `${list === '' ? ',"custom":{"' : ',"'}${closed(name)}:"${value}`
  }
  return list === '' ? '' : `${list}}`
}

/** Host name of a destination, preferring the one that DNS was asked for to the address that came back. */
function mxName(mx) {
  return net.isIP(mx.exchange ?? '') && mx.from_dns && !net.isIP(mx.from_dns) ? mx.from_dns : mx.exchange
}

function destination(ip, host, port, lmtp) {
  const address = net.isIP(ip ?? '') ? text(',"destIp":"', ip) : ''
  const type = lmtp ? ',"dlvType":"lmtp"' : ',"dlvType":"smtp"'
  return address + text(',"dsnMta":"', host) + type + whole(',"dlvDestinationPort":', port, 65535)
}

function destinationOf(mx) {
  return mx ? destination(mx.exchange, mxName(mx), mx.port, mx.using_lmtp) : ''
}

/** What every event has. `attempts` counts this one. */
function common(todo, mx, attempts, context) {
  const { notes } = todo
  const kept = notes?.[NOTES]
  return (
    timeLogged(context.now) +
    whole(',"timeQueued":', todo.queue_time, MAX_INSTANT - 1) +
    nodeName(context.node) +
    text(',"jobId":"', todo.uuid) +
    text(',"orig":"', bare(todo.mail_from)) +
    text(',"queue":"', todo.domain) +
    text(',"srcMta":"', kept?.helo) +
    text(',"srcIp":"', context.address ?? notes?.outbound_ip ?? mx?.bind) +
    text(',"vmta":"', notes?.vmta ?? context.vmta) +
    whole(',"attempts":', attempts) +
    custom(kept?.custom)
  )
}

/** The recipients, each with what `describe` adds; '' where none has an address. */
function recipients(list, describe) {
  let found = ''
  for (const rcpt of list) {
    const address = closed(bare(rcpt))
    if (address === '') continue
    found += `${found === '' ? ',"rcpts":[{"rcpt":"' : '},{"rcpt":"'}${address}${describe ? describe(rcpt) : ''}`
  }
  return found === '' ? '' : `${found}}]`
}

/** Params as Haraka hands them to the hook `delivered`. */
function delivered(hmail, params, context) {
  const [host, ip, response, , port, mode, okRecips, secured, authenticated] = params
  const rcpts = recipients(okRecips?.length ? okRecips : hmail.todo.rcpt_to)
  if (rcpts === '') return undefined
  const lmtp = mode === 'LMTP'
  return (
    common(hmail.todo, context.mx, hmail.num_failures + 1, context) +
    rcpts +
    destination(ip, host, port, lmtp) +
    (lmtp ? ',"dsnAction":"delivered"' : '') +
    text(',"dsnMsg":"', response) +
    flag(',"dlvTls":', secured) +
    flag(',"dlvAuth":', authenticated)
  )
}

/** Haraka has counted this failure already. */
function deferred(hmail, params, context) {
  const named = params.fail_recips?.length > 0
  const error = String(params.err ?? '')
  const mx = params.mx ?? context.mx
  const rcpts = recipients(named ? params.fail_recips : hmail.todo.rcpt_to, (rcpt) => {
    const { status, message } = failure.describe(rcpt, named, error, TRANSIENT)
    return `,"dsnStatus":"${status}","dsnAction":"delayed"${text(',"dsnMsg":"', message)}`
  })
  if (rcpts === '') return undefined
  const delay = Number.isFinite(params.delay) && params.delay >= 0 ? `,"delay":${params.delay}` : ''
  return common(hmail.todo, mx, hmail.num_failures, context) + rcpts + destinationOf(mx) + delay
}

/** `err` is the Error that Haraka hands to the hook. */
function bounce(hmail, err, context) {
  const list = [err.bounced_rcpt, err.deferred_rcpt].find((rcpts) => rcpts?.length > 0)
  const error = String(err.message ?? err)
  const mx = err.mx ?? context.mx
  const rcpts = recipients(list ?? hmail.todo.rcpt_to, (rcpt) => {
    const { status, message, reason } = failure.describe(rcpt, list !== undefined, error, PERMANENT)
    const texts = text(',"dsnMsg":"', message) + text(',"bounceCat":"', reason || message)
    return `,"dsnStatus":"${status}","dsnAction":"failed"${texts}`
  })
  if (rcpts === '') return undefined
  const attempts = hmail.num_failures + (failure.isCounted(error) ? 0 : 1)
  return common(hmail.todo, mx, attempts, context) + rcpts + destinationOf(mx)
}

/** Run a builder: the body, or undefined where there is nobody that it could be about. */
function body(build) {
  return (hmail, params, context) => (hmail.todo ? build(hmail, params ?? {}, context) : undefined)
}

module.exports = {
  complete,
  NOTES,
  build: { delivered: body(delivered), deferred: body(deferred), bounce: body(bounce) },
}
