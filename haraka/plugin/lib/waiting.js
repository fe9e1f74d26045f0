'use strict'

// Events that wait for their batch, each with Haraka's answer that waits for it. First in, first out.

/** Let the answers to events go, each at most once; returns how many were still waiting. */
function release(events) {
  let released = 0
  for (const event of events) {
    const { answer } = event
    if (!answer) continue
    event.answer = undefined
    released++
    answer.release()
  }
  return released
}

class Waiting {
  #events = []
  #length = 0
  #released = 0 // so many at the front have no answer any more
  #flat = 0 // so many at the front have one flat text each
  #maxLength

  constructor(maxLength) {
    this.#maxLength = maxLength
  }

  get isEmpty() {
    return this.#events.length === 0
  }

  get count() {
    return this.#events.length
  }

  get isFull() {
    return this.#length >= this.#maxLength
  }

  get isHalfEmpty() {
    return this.#length <= this.#maxLength / 2
  }

  /** When the oldest event came, or undefined. */
  get since() {
    return this.#events[0]?.at
  }

  /** event: {type, body, at: monotonic ms, answer}. */
  push(event) {
    this.#events.push(event)
    this.#length += event.body.length
  }

  /**
   * What is here now has to wait. A text that was added up is a tree of some fifty, three times as large, which the garbage
   * collector follows as long as it waits; its bytes can be counted only when it is one.
   */
  settle() {
    while (this.#flat < this.#events.length) Buffer.byteLength(this.#events[this.#flat++].body)
  }

  /** Take events for one batch: at least one, if there is one. */
  take(maxEvents, maxLength) {
    let count = 0
    let length = 0
    while (count < this.#events.length && count < maxEvents && (count === 0 || length < maxLength)) {
      length += this.#events[count++].body.length
    }
    this.#length -= length
    this.#released = Math.max(0, this.#released - count)
    this.#flat = Math.max(0, this.#flat - count)
    return this.#events.splice(0, count)
  }

  /** Let go the answers to events that came before an instant; the events stay. */
  releaseBefore(instant) {
    const end = this.#firstAfter(instant, this.#released)
    const released = release(this.#events.slice(this.#released, end))
    this.#released = end
    return released
  }

  /** Take out the events that came before an instant. */
  takeBefore(instant) {
    return this.take(this.#firstAfter(instant, 0), Infinity)
  }

  #firstAfter(instant, from) {
    let end = from
    while (end < this.#events.length && this.#events[end].at < instant) end++
    return end
  }
}

module.exports = { Waiting, release }
