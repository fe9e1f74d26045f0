'use strict'

// The local address (srcIp) and the destination of an attempt. Haraka hands neither the socket to its hooks nor, for a
// refusal at MAIL or DATA, the destination. Both are arguments of HMailItem's try_deliver_host_on_socket, so at
// send_email this one item gets a method of its own that looks at them and calls the real one. No prototype is changed.
// Where Haraka has no such method, nothing is seen, and events fall back to what notes and hooks say.

const METHOD = 'try_deliver_host_on_socket'

/**
 * Property of an hmail or mx: {mx, address}. By mx too: a split puts failed recipients under a new item, but hands on the mx.
 * A symbol is in no queue file and in no listing of keys; a WeakMap takes three times as long.
 */
const ATTEMPT = Symbol('accounting attempt')

function observed(mx, host, port, socket, ...rest) {
  try {
    // Haraka's wrapper copies the address before it is connected; the socket inside knows it.
    const attempt = { mx, address: socket.localAddress ?? socket.targetsocket?.localAddress }
    this[ATTEMPT] = attempt
    mx[ATTEMPT] = attempt
  } catch {
    // An object of another shape than expected: the delivery goes on, srcIp stays unknown.
  }
  return Object.getPrototypeOf(this)[METHOD].call(this, mx, host, port, socket, ...rest)
}

/** From now on notice the connections of this item. Called at every attempt: what an earlier one left is forgotten. */
function watch(hmail) {
  if (hmail[ATTEMPT]) hmail[ATTEMPT] = undefined
  const real = Object.getPrototypeOf(hmail)?.[METHOD]
  if (typeof real === 'function' && real.length === observed.length && !Object.hasOwn(hmail, METHOD)) {
    Object.defineProperty(hmail, METHOD, { value: observed, configurable: true, writable: true })
  }
}

/** {mx, address} of the attempt that an event is about; undefined where none reached a host or several were tried. */
function attemptOf(hmail, mx, error) {
  const attempt = mx?.[ATTEMPT] ?? hmail[ATTEMPT]
  return !mx && error && String(error).includes('Tried all MXs') ? undefined : attempt
}

module.exports = { watch, attemptOf }
