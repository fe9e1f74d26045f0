'use strict'

// Time as this process has lived it, for whatever judges others by how long they take. Who was stalled himself (a busy event
// loop, a stopped process, a machine that had no time for it) must not blame a server whose answer lies there unread.
//
// What waits needs some turns of the event loop: a connection, a file that is made, written and synced. Each of them can be held
// up by a stall, so one of any length counts next to nothing, but not nothing: a loop that is never free must not wait for ever.

/** Of the time between two looks, what one that comes too late counts. */
const STALLED = 0.1
/** A deadline of so many looks. */
const STEPS = 4

/** A clock that is looked at every `tickMs`; a look that comes after more than two of these was stalled. */
class LivedTime {
  #tickMs
  #clock
  #lived = 0
  #seenAt

  constructor(tickMs, clock = performance) {
    this.#tickMs = tickMs
    this.#clock = clock
    this.#seenAt = clock.now()
  }

  /** Monotonic ms, but that a stall is counted only once it is over. */
  now() {
    const elapsed = this.#clock.now() - this.#seenAt
    return this.#lived + (elapsed > 2 * this.#tickMs ? STALLED * this.#tickMs : elapsed)
  }

  /** The regular look; returns now. */
  look() {
    this.#lived = this.now()
    this.#seenAt = this.#clock.now()
    return this.#lived
  }
}

/** Calls `late` after `ms` that this process has lived, unless it is cleared before. */
class Deadline {
  #timer
  #immediate

  constructor(ms, late, clock = performance) {
    const time = new LivedTime(ms / STEPS, clock)
    const look = () => {
      const left = ms - time.look()
      if (left > 0) this.#timer = setTimeout(look, Math.min(left, ms / STEPS))
      // What came since the last look is looked at before this.
      else this.#immediate = setImmediate(late)
    }
    this.#timer = setTimeout(look, ms / STEPS)
  }

  clear() {
    clearTimeout(this.#timer)
    clearImmediate(this.#immediate)
  }
}

/** The outcome of `work`, or `otherwise` after so much lived time without one. */
async function atMost(ms, work, otherwise) {
  let deadline
  const late = new Promise((resolve) => {
    deadline = new Deadline(ms, () => resolve(otherwise))
  })
  try {
    return await Promise.race([work, late])
  } finally {
    deadline.clear()
  }
}

module.exports = { LivedTime, Deadline, atMost }
