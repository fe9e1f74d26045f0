'use strict'

// Haraka's answer to its outbound hooks waits until their events are safe; the hooks themselves never do.
//
// Haraka runs two hooks on one message at a time where a write into its queue fails, and ends the process when the second
// finds the first one unfinished. So a hook has to call next() before it returns, and what has to wait is what Haraka does
// after it: delivered_respond, deferred_respond and bounce_respond, which it calls by name on the message. Every way to the
// end of a queue file (unlink, rename, bounce message) leads through these three. This one message gets methods that wait, then
// call Haraka's: they stand on an object between the message and Haraka's prototype, which is not changed. Methods of the
// message's own would take eight times as long to make.

const { logLine } = require('./log_line')

const METHODS = ['delivered_respond', 'deferred_respond', 'bounce_respond']

/** Property of an hmail: its Answer. A symbol is in no queue file and in no listing of keys. */
const ANSWER = Symbol('accounting answer')

/** Calls that came less than this apart ran in one turn of the event loop, and do so again. */
const SAME_TURN_MS = 1

class Answer {
  #hmail
  #events = 0 // that are not safe yet
  // Calls of Haraka's methods that wait: {method, retval, msg, params, at, bounce_error, num_failures, next}, the oldest first.
  // Mostly there is one, for which a list would take more than the call.
  #first
  #last
  #delayMs = 0 // so much later than they came they are carried out
  #pause // timer: the next call came later than the last one

  /** Whether no bounce message is to be sent to the sender. */
  suppressesDsn = false

  constructor(hmail) {
    this.#hmail = hmail
  }

  /** One more event of the message is not safe. */
  hold() {
    this.#events++
  }

  /** One of them is safe, or has waited long enough, or is dropped. */
  release() {
    if (--this.#events > 0 || !this.#first || this.#pause) return
    this.#delayMs = performance.now() - this.#first.at
    this.#goOn()
  }

  /** Haraka answers its hooks: at once where everything is safe, else in its turn. */
  take(method, given, msg, params) {
    const hmail = this.#hmail
    const retval = method === 'bounce_respond' && this.suppressesDsn && given === CONT ? OK : given
    if (this.#events === 0 && !this.#first) return this.#original(method).call(hmail, retval, msg, params)
    const { bounce_error, num_failures } = hmail
    const at = performance.now() - this.#delayMs
    const call = { method, retval, msg, params, at, bounce_error, num_failures, next: undefined }
    if (this.#first) this.#last.next = call
    else this.#first = call
    this.#last = call
    return undefined
  }

  #original(method) {
    return Object.getPrototypeOf(Object.getPrototypeOf(this.#hmail))[method]
  }

  /** In the order and as far apart as Haraka wanted it: what one of them began had that time to end before the next. */
  #goOn() {
    this.#pause = undefined
    while (this.#events === 0 && this.#first) {
      const call = this.#first
      this.#carryOut(call)
      const { next } = call
      this.#first = next
      if (next && next.at - call.at >= SAME_TURN_MS) {
        this.#pause = setTimeout(() => this.#goOn(), next.at - call.at)
        return
      }
    }
    if (this.#first) return
    this.#last = undefined
    this.#delayMs = 0
  }

  #carryOut({ method, retval, msg, params, bounce_error, num_failures }) {
    const hmail = this.#hmail
    // Haraka reads these once more. A second failure meanwhile has put its own there, and a bounce message would tell that.
    const { bounce_error: newerError, num_failures: newerFailures } = hmail
    hmail.bounce_error = bounce_error
    hmail.num_failures = num_failures
    try {
      this.#original(method).call(hmail, retval, msg, params)
    } catch (failure) {
      // As Haraka does with what is thrown after a hook.
      hmail.logcrit?.(logLine(`${method} failed: ${failure.stack}`))
    }
    if (hmail.bounce_error === bounce_error) hmail.bounce_error = newerError
    if (hmail.num_failures === num_failures) hmail.num_failures = newerFailures
  }
}

/** Shared by all messages: a closure for each one takes three times as long. */
function waiting(method) {
  return function respond(retval, msg, params) {
    return this[ANSWER].take(method, retval, msg, params)
  }
}

const WAITING = Object.fromEntries(METHODS.map((method) => [method, waiting(method)]))
const DESCRIPTORS = Object.fromEntries(
  METHODS.map((method) => [method, { value: WAITING[method], configurable: true, writable: true }]),
)

/** What stands between a message and its prototype; undefined where that is none of Haraka's. One prototype has all of them. */
let between = { prototype: undefined, methods: undefined }

function methodsFor(prototype) {
  if (between.prototype !== prototype) {
    const isHarakas = METHODS.every((method) => typeof prototype[method] === 'function')
    between = { prototype, methods: isHarakas ? Object.create(prototype, DESCRIPTORS) : undefined }
  }
  return between.methods
}

/** Whether these methods of a message are those of an object, and nobody has given it one of its own. */
function hasMethodsOf(hmail, object) {
  return (
    hmail.delivered_respond === object.delivered_respond &&
    hmail.deferred_respond === object.deferred_respond &&
    hmail.bounce_respond === object.bounce_respond
  )
}

/** The answer of a message that had none, or undefined. */
function newAnswer(hmail) {
  const prototype = Object.getPrototypeOf(hmail)
  const methods = methodsFor(prototype)
  if (!methods || !hasMethodsOf(hmail, prototype)) return undefined
  // In this order: another property of an object whose prototype has changed takes as long as all the rest.
  const answer = (hmail[ANSWER] = new Answer(hmail))
  Object.setPrototypeOf(hmail, methods)
  return answer
}

/**
 * The answer to a message's hooks, which can be held from now on, also in later attempts. Undefined where that cannot be: an
 * object of another shape, or one that somebody else has given such methods.
 */
function answerOf(hmail) {
  const answer = hmail?.[ANSWER]
  if (answer) return hasMethodsOf(hmail, WAITING) ? answer : undefined
  try {
    return newAnswer(hmail)
  } catch {
    return undefined
  }
}

module.exports = { answerOf }
