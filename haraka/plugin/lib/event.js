'use strict'

// One event per hook call, as JSON text: the contract is schemas/events.py. Pure: clock, node and address are arguments.
//
// The text is put together by hand, since most of it is constant. An event has two parts around its id, which is known
// only when the batch is formed: HEAD[type] + id + body. A field without a value is left out.

const net = require('node:net')

const failure = require('./failure')
const { quoted } = require('./text')

const VERSION = 1
const head = (tag) => `{"type":"${tag}","v":${VERSION},"eventId":"`

/** Text before the event id, by type. The order of the keys is that of every listing. */
const HEAD = { delivered: head('d'), deferred: head('df'), bounce: head('b') }

/** Key of our part of transaction.notes: JSON-safe, so it survives restarts and splits. */
const NOTES = 'accounting_stream'

const TRANSIENT = '4'
const PERMANENT = '5'
const MAX_INSTANT = 253_370_764_800_000

/** ',"name":"value"' or nothing. */
function text(name, value) {
  const json = quoted(value)
  return json === '' ? '' : `,"${name}":${json}`
}

/** ',"name":number' or nothing where it is no whole number in range. */
function whole(name, value, max = Number.MAX_SAFE_INTEGER) {
  const number = Math.trunc(Number(value ?? NaN))
  return number >= 0 && number <= max ? `,"${name}":${number}` : ''
}

function flag(name, value) {
  return typeof value === 'boolean' ? `,"${name}":${value}` : ''
}

/** An envelope address as it was given, without angle brackets. */
function bare(address) {
  if (!address) return ''
  const given = address.original || address.address || ''
  return given.startsWith('<') && given.endsWith('>') ? given.slice(1, -1) : given
}

function custom(headers) {
  let json = ''
  for (const name in headers) {
    const value = quoted(headers[name])
    if (value !== '') json += `${json === '' ? '' : ','}${JSON.stringify(name)}:${value}`
  }
  return json === '' ? '' : `,"custom":{${json}}`
}

/** Host name of a destination, preferring the one that DNS was asked for to the address that came back. */
function mxName(mx) {
  if (!mx) return undefined
  return net.isIP(mx.exchange ?? '') && mx.from_dns && !net.isIP(mx.from_dns) ? mx.from_dns : mx.exchange
}

function destination({ ip, host, port, protocol }) {
  return (
    (net.isIP(ip ?? '') ? text('destIp', ip) : '') +
    text('dsnMta', host) +
    text('dlvType', protocol) +
    whole('dlvDestinationPort', port, 65535)
  )
}

function ofMx(mx) {
  if (!mx) return ''
  const protocol = mx.using_lmtp ? 'lmtp' : 'smtp'
  return destination({ ip: mx.exchange, host: mxName(mx), port: mx.port, protocol })
}

/** What every event has. `attempts` counts this one. */
function common(todo, mx, attempts, context) {
  const kept = todo.notes?.[NOTES]
  return (
    `"timeLogged":${context.now}` +
    whole('timeQueued', todo.queue_time, MAX_INSTANT - 1) +
    text('node', context.node) +
    text('jobId', todo.uuid) +
    text('orig', bare(todo.mail_from)) +
    text('queue', todo.domain) +
    text('srcMta', kept?.helo) +
    text('srcIp', context.address ?? todo.notes?.outbound_ip ?? mx?.bind) +
    text('vmta', todo.notes?.vmta ?? context.vmta) +
    whole('attempts', attempts) +
    custom(kept?.custom)
  )
}

/** ',"rcpts":[…]' or '' where no recipient has an address. */
function recipients(list, describe) {
  let json = ''
  for (const rcpt of list) {
    const address = quoted(bare(rcpt))
    if (address !== '')
      json += `${json === '' ? '' : ','}{"rcpt":${address}${describe ? describe(rcpt) : ''}}`
  }
  return json === '' ? '' : `,"rcpts":[${json}]`
}

/** The body of an event, or undefined where there is nobody that it could be about. */
function body(shared, rcpts, rest) {
  return rcpts === '' ? undefined : `${shared}${rcpts}${rest}}`
}

/** Body of a `delivered` event; params as Haraka hands them to the hook. */
function delivered(hmail, params, context) {
  const [host, ip, response, , port, mode, okRecips, secured, authenticated] = params
  const { todo } = hmail
  if (!todo) return undefined
  const lmtp = mode === 'LMTP'
  return body(
    common(todo, context.mx, hmail.num_failures + 1, context),
    recipients(okRecips?.length ? okRecips : todo.rcpt_to),
    destination({ ip, host, port, protocol: lmtp ? 'lmtp' : 'smtp' }) +
      (lmtp ? ',"dsnAction":"delivered"' : '') +
      text('dsnMsg', response) +
      flag('dlvTls', secured) +
      flag('dlvAuth', authenticated),
  )
}

/** Body of a `deferred` event; Haraka has counted this failure already. */
function deferred(hmail, params, context) {
  const { todo } = hmail
  if (!todo) return undefined
  const named = params.fail_recips?.length > 0
  const error = String(params.err ?? '')
  const mx = params.mx ?? context.mx
  const describe = (rcpt) => {
    const { status, message } = failure.describe(rcpt, named, error, TRANSIENT)
    return `,"dsnStatus":"${status}","dsnAction":"delayed"${text('dsnMsg', message)}`
  }
  const delay = Number.isFinite(params.delay) && params.delay >= 0 ? `,"delay":${params.delay}` : ''
  return body(
    common(todo, mx, hmail.num_failures, context),
    recipients(named ? params.fail_recips : todo.rcpt_to, describe),
    ofMx(mx) + delay,
  )
}

/** Body of a `bounce` event; err is the Error that Haraka hands to the hook. */
function bounce(hmail, err, context) {
  const { todo } = hmail
  if (!todo) return undefined
  const list = [err?.bounced_rcpt, err?.deferred_rcpt].find((rcpts) => rcpts?.length > 0)
  const error = String(err?.message ?? err ?? '')
  const mx = err?.mx ?? context.mx
  const describe = (rcpt) => {
    const { status, message, reason } = failure.describe(rcpt, list !== undefined, error, PERMANENT)
    const category = reason || message
    return `,"dsnStatus":"${status}","dsnAction":"failed"${text('dsnMsg', message)}${text('bounceCat', category)}`
  }
  const attempts = hmail.num_failures + (failure.isCounted(error) ? 0 : 1)
  return body(common(todo, mx, attempts, context), recipients(list ?? todo.rcpt_to, describe), ofMx(mx))
}

module.exports = { HEAD, NOTES, build: { delivered, deferred, bounce } }
