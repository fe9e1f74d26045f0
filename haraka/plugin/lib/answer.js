'use strict'

// Haraka's answer to its outbound hooks waits until their events are safe; the hooks themselves never do.
//
// Haraka runs two hooks on one message at a time where a write into its queue fails, and ends the process when the second
// finds the first one unfinished. So a hook has to call next() before it returns, and what has to wait is what Haraka does
// after it: delivered_respond, deferred_respond and bounce_respond, which it calls by name on the message. Every way to the
// end of a queue file (unlink, rename, bounce message) leads through these three. This one message gets methods that wait, then
// call Haraka's: they stand on an object between the message and Haraka's prototype, which is not changed. Methods of the
// message's own would take eight times as long to make.

const METHODS = ['delivered_respond', 'deferred_respond', 'bounce_respond']

/** Property of an hmail: its Answer. A symbol is in no queue file and in no listing of keys. */
const ANSWER = Symbol('accounting answer')

/** Calls that came less than this apart ran in one turn of the event loop, and do so again. */
const SAME_TURN_MS = 1

class Answer {
  #hmail
  #events = 0 // that are not safe yet
  #calls // of Haraka's methods that wait, [{method, args, at, bounce_error, num_failures}], in the order in which they came
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
    if (--this.#events > 0 || !this.#calls || this.#pause) return
    this.#delayMs = performance.now() - this.#calls[0].at
    this.#goOn()
  }

  /** Haraka answers its hooks: at once where everything is safe, else in its turn. */
  take(method, args) {
    if (method === 'bounce_respond' && this.suppressesDsn && args[0] === CONT) args[0] = OK
    if (this.#events === 0 && !this.#calls) return this.#original(method).apply(this.#hmail, args)
    const { bounce_error, num_failures } = this.#hmail
    const call = { method, args, at: performance.now() - this.#delayMs, bounce_error, num_failures }
    // A list of one, as it mostly stays, takes a tenth of the memory of one that was added to.
    if (this.#calls) this.#calls.push(call)
    else this.#calls = [call]
    return undefined
  }

  #original(method) {
    return Object.getPrototypeOf(Object.getPrototypeOf(this.#hmail))[method]
  }

  /** In the order and as far apart as Haraka wanted it: what one of them began had that time to end before the next. */
  #goOn() {
    this.#pause = undefined
    const calls = this.#calls
    while (this.#events === 0 && calls.length > 0) {
      const [call] = calls
      this.#carryOut(call)
      calls.shift()
      const gap = calls.length > 0 ? calls[0].at - call.at : 0
      if (gap >= SAME_TURN_MS) {
        this.#pause = setTimeout(() => this.#goOn(), gap)
        return
      }
    }
    if (calls.length > 0) return
    this.#calls = undefined
    this.#delayMs = 0
  }

  #carryOut(call) {
    const hmail = this.#hmail
    // Haraka reads these once more. A second failure meanwhile has put its own there, and a bounce message would tell that.
    const { bounce_error, num_failures } = hmail
    hmail.bounce_error = call.bounce_error
    hmail.num_failures = call.num_failures
    try {
      this.#original(call.method).apply(hmail, call.args)
    } catch (failure) {
      // As Haraka does with what is thrown after a hook.
      hmail.logcrit?.(`${call.method} failed: ${failure.stack}`)
    }
    if (hmail.bounce_error === call.bounce_error) hmail.bounce_error = bounce_error
    if (hmail.num_failures === call.num_failures) hmail.num_failures = num_failures
  }
}

/** Shared by all messages: a closure for each one takes three times as long. */
function waiting(method) {
  return function respond(...args) {
    return this[ANSWER].take(method, args)
  }
}

const WAITING = Object.fromEntries(METHODS.map((method) => [method, waiting(method)]))
const DESCRIPTORS = Object.fromEntries(
  METHODS.map((method) => [method, { value: WAITING[method], configurable: true, writable: true }]),
)

/** Haraka's prototype of messages -> the object with the methods that wait; null for what is no such prototype. */
const between = new WeakMap()

function betweenOf(prototype) {
  if (!between.has(prototype)) {
    const isHarakas = METHODS.every((method) => typeof prototype[method] === 'function')
    between.set(prototype, isHarakas ? Object.create(prototype, DESCRIPTORS) : null)
  }
  return between.get(prototype)
}

/** Whether nobody has given the message such a method of its own. */
function hasTheMethods(hmail) {
  return (
    hmail.delivered_respond === WAITING.delivered_respond &&
    hmail.deferred_respond === WAITING.deferred_respond &&
    hmail.bounce_respond === WAITING.bounce_respond
  )
}

/** The answer of a message that had none, or undefined. */
function newAnswer(hmail) {
  if (METHODS.some((method) => Object.hasOwn(hmail, method))) return undefined
  const methods = betweenOf(Object.getPrototypeOf(hmail))
  if (!methods) return undefined
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
  const answer = hmail[ANSWER]
  if (answer) return hasTheMethods(hmail) ? answer : undefined
  try {
    return newAnswer(hmail)
  } catch {
    return undefined
  }
}

module.exports = { answerOf }
