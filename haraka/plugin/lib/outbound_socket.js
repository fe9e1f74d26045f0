'use strict'

// The local address (srcIp) and the destination of an attempt. Haraka hands neither the socket to its hooks nor, for a
// refusal at MAIL or DATA or where no host could be reached, the destination. They are known in HMailItem's try_deliver and
// arguments of its try_deliver_host_on_socket, so at send_email this one item gets methods of its own that look at them and
// call the real ones. No prototype is changed. Where Haraka has no such method, nothing is seen, and events fall back to what
// notes and hooks say.

const ON_SOCKET = 'try_deliver_host_on_socket'
const DELIVER = 'try_deliver'

/**
 * Property of an hmail or mx: {mx, address}. By mx too: a split puts failed recipients under a new item, but hands on the mx.
 * A symbol is in no queue file and in no listing of keys; a WeakMap takes three times as long.
 */
const ATTEMPT = Symbol('accounting attempt')
/** Property of an hmail: the hosts that this attempt may try. */
const HOSTS = Symbol('accounting hosts')
/**
 * Property of an hmail's notes, which a split hands on: id of a delivery -> attempt. Haraka 3.1.0 and 3.1.1 do not hand on the
 * mx to a deferral.
 */
const BY_ID = Symbol('accounting attempts')

function observed(mx, host, port, socket, ...rest) {
  try {
    // Haraka's wrapper copies the address before it is connected; the socket inside knows it.
    const attempt = { mx, address: socket.localAddress ?? socket.targetsocket?.localAddress }
    this[ATTEMPT] = attempt
    mx[ATTEMPT] = attempt
    if (this.notes) (this.notes[BY_ID] ??= new Map()).set(this.todo.uuid, attempt)
  } catch {
    // An object of another shape than expected: the delivery goes on, srcIp stays unknown.
  }
  return Object.getPrototypeOf(this)[ON_SOCKET].call(this, mx, host, port, socket, ...rest)
}

/** Haraka calls it for each host of its list, from which it takes one each time. */
function deliver() {
  if (!this[HOSTS] && Array.isArray(this.mxlist)) this[HOSTS] = [...this.mxlist]
  return Object.getPrototypeOf(this)[DELIVER].call(this)
}

/** From now on notice the connections of this item. Called at every attempt: what an earlier one left is forgotten. */
function watch(hmail) {
  if (hmail[ATTEMPT]) hmail[ATTEMPT] = undefined
  if (hmail[HOSTS]) hmail[HOSTS] = undefined
  hmail.notes?.[BY_ID]?.delete(hmail.todo?.uuid)
  observe(hmail, ON_SOCKET, observed)
  observe(hmail, DELIVER, deliver)
}

function observe(hmail, method, value) {
  const real = Object.getPrototypeOf(hmail)?.[method]
  if (typeof real === 'function' && real.length === value.length && !Object.hasOwn(hmail, method)) {
    Object.defineProperty(hmail, method, { value, configurable: true, writable: true })
  }
}

/** {mx, address} of the attempt that an event is about; undefined where none reached a host or several were tried. */
function attemptOf(hmail, mx, error) {
  const attempt = mx?.[ATTEMPT] ?? hmail[ATTEMPT]
  if (mx || !error) return attempt
  if (!String(error).includes('Tried all MXs')) return attempt ?? hmail.notes?.[BY_ID]?.get(hmail.todo?.uuid)
  const only = onlyHost(hmail[HOSTS])
  return only && { mx: only, address: attempt?.mx === only ? attempt.address : undefined }
}

/** The host that all of a list are, as an mx; where it has several addresses, without one. */
function onlyHost(hosts) {
  const [first, ...others] = hosts ?? []
  if (!first || others.length === 0) return first
  const isSame = (mx) => mx.from_dns && mx.from_dns === first.from_dns && mx.port === first.port
  return others.every(isSame) ? { ...first, exchange: first.from_dns, bind: undefined } : undefined
}

module.exports = { watch, attemptOf }
