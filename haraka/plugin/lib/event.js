'use strict'

// One event per hook call, as JSON text: the contract is schemas/events.py. Pure: clock, node and address are arguments.
//
// The text is put together by hand, since most of it is constant: JSON.stringify takes twice as long. `build` gives the body
// of an event; its id is known only when the batch is formed, and `complete` puts both together. A field without a value is
// left out.

const net = require('node:net')
const { domainToASCII } = require('node:url')

const failure = require('./failure')
const { bounded, isUsual, textOf, trimmed } = require('./text')

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
  // Of an object there is no number, and asking it for one may throw.
  const number = typeof value === 'number' || typeof value === 'string' ? Math.trunc(Number(value)) : NaN
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

/** Whether the host of an address is the one that it was given with, in other letters or as an A-label. */
function isSameHost(host, given) {
  return host === given || host === given.toLowerCase() || host === domainToASCII(given)
}

/**
 * An envelope address without angle brackets, as `closed`. It is the one on the wire: plugins rewrite user and host in place
 * (VERP, SRS), which `original` does not show. Letters are as they were given.
 */
function bare(address) {
  if (!address) return ''
  const { user, original_host: given } = address
  // Haraka 3.2 has a function there that is its own text, for plugins that call it.
  const host = typeof address.host === 'function' ? textOf(address.host) : address.host
  if (typeof user !== 'string') return closed(withoutBrackets(address.original || address.address))
  if (user === '') return ''
  const shown = typeof given === 'string' && given && (!host || isSameHost(host, given)) ? given : host
  // Looked at one by one: put together they would be copied for that.
  if (isUsual(user) && isUsual(shown)) return `${user}@${shown}"`
  return closed(typeof shown === 'string' && shown !== '' ? `${user}@${shown}` : user)
}

function withoutBrackets(given) {
  if (typeof given !== 'string') return ''
  return given.at(0) === '<' && given.at(-1) === '>' ? given.slice(1, -1) : given
}

function sender(address) {
  const found = bare(address)
  return found === '' ? '' : `,"orig":"${found}`
}

function custom(headers) {
  let list = ''
  for (const name in headers) {
    const key = closed(name)
    const value = closed(trimmed(headers[name]))
    if (key !== '' && value !== '') list += `${list === '' ? ',"custom":{"' : ',"'}${key}:"${value}`
  }
  return list === '' ? '' : `${list}}`
}

/** Host name of a destination, preferring the one that DNS was asked for to the address that came back. */
function mxName(mx) {
  return net.isIP(mx.exchange ?? '') && mx.from_dns && !net.isIP(mx.from_dns) ? mx.from_dns : mx.exchange
}

/** socketPath: of a Unix socket, for which Haraka names a port all the same. */
function destination({ ip, host, port, lmtp, socketPath }) {
  const address = !socketPath && net.isIP(ip ?? '') ? text(',"destIp":"', ip) : ''
  const type = lmtp ? ',"dlvType":"lmtp"' : ',"dlvType":"smtp"'
  return (
    address +
    text(',"dsnMta":"', host) +
    type +
    (socketPath ? '' : whole(',"dlvDestinationPort":', port, 65535))
  )
}

function destinationOf(mx) {
  if (!mx) return ''
  const { exchange: ip, port, using_lmtp: lmtp, path: socketPath } = mx
  return destination({ ip, host: mxName(mx), port, lmtp, socketPath })
}

/** What every event has. `attempts` counts this one. */
function common(todo, mx, attempts, context) {
  const { notes } = todo
  const kept = notes?.[NOTES]
  return (
    timeLogged(context.now) +
    // Where a clock was set back meanwhile, nobody knows how long it was queued.
    whole(',"timeQueued":', todo.queue_time, context.now) +
    nodeName(context.node) +
    text(',"jobId":"', todo.uuid) +
    sender(todo.mail_from) +
    text(',"queue":"', todo.domain) +
    text(',"srcMta":"', kept?.helo) +
    text(',"srcIp":"', context.address ?? notes?.outbound_ip ?? mx?.bind) +
    text(',"vmta":"', trimmed(notes?.vmta ?? context.vmta)) +
    whole(',"attempts":', attempts) +
    custom(kept?.custom)
  )
}

/** The recipients, each with what `describe` adds; '' where none has an address. */
function recipients(list, describe) {
  let found = ''
  for (const rcpt of list) {
    const address = bare(rcpt)
    if (address === '') continue
    found += `${found === '' ? ',"rcpts":[{"rcpt":"' : '},{"rcpt":"'}${address}${describe ? describe(rcpt) : ''}`
  }
  return found === '' ? '' : `${found}}]`
}

/** A delivery names the path in the place of the address. */
function socketPathOf(ip, mx) {
  return mx?.path ?? (typeof ip === 'string' && ip.startsWith('/') ? ip : undefined)
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
    destination({ ip, host, port, lmtp, socketPath: socketPathOf(ip, context.mx) }) +
    (lmtp ? ',"dsnAction":"delivered"' : '') +
    text(',"dsnMsg":"', trimmed(response)) +
    flag(',"dlvTls":', secured) +
    flag(',"dlvAuth":', authenticated)
  )
}

/** Haraka has counted this failure already. */
function deferred(hmail, params, context) {
  const error = failure.shown(params.err)
  const list = params.fail_recips?.length > 0 ? params.fail_recips : undefined
  // Haraka 3.1.0 and 3.1.1 hand on no list: the item has no other recipients then.
  const named = list !== undefined || failure.isOfRecipients(error)
  const mx = params.mx ?? context.mx
  const rcpts = recipients(list ?? hmail.todo.rcpt_to, (rcpt) => {
    const { status, message } = failure.describe(rcpt, named, error, TRANSIENT)
    return `,"dsnStatus":"${status}","dsnAction":"delayed"${text(',"dsnMsg":"', trimmed(message))}`
  })
  if (rcpts === '') return undefined
  const delay = Number.isFinite(params.delay) && params.delay >= 0 ? `,"delay":${params.delay}` : ''
  return common(hmail.todo, mx, hmail.num_failures, context) + rcpts + destinationOf(mx) + delay
}

/** `err` is the Error that Haraka hands to the hook. */
function bounce(hmail, err, context) {
  const list = [err.bounced_rcpt, err.deferred_rcpt].find((rcpts) => rcpts?.length > 0)
  const error = failure.shown(err.message ?? err)
  const mx = err.mx ?? context.mx
  const rcpts = recipients(list ?? hmail.todo.rcpt_to, (rcpt) => {
    const { status, message } = failure.describe(rcpt, list !== undefined, error, PERMANENT)
    const texts = text(',"dsnMsg":"', trimmed(message)) + text(',"bounceCat":"', trimmed(message))
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
