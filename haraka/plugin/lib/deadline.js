'use strict'

// Time as this process has lived it, for whatever judges others by how long they take. Who was stalled himself (a busy event
// loop, a stopped process, a machine that had no time for it) must not blame a server whose answer lies there unread: so a
// stall of any length counts as one step, and what came meanwhile is looked at before the next one.

/** A deadline of so many steps; between two of them the event loop looks at what has come. */
const STEPS = 4

/** A clock that is looked at every `tickMs`, and goes on by two of these at most between two looks. */
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

  /** Monotonic ms. */
  now() {
    return this.#lived + Math.min(this.#clock.now() - this.#seenAt, 2 * this.#tickMs)
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
  #steps = STEPS

  constructor(ms, late) {
    const step = () => {
      if (--this.#steps > 0) this.#timer = setTimeout(step, ms / STEPS)
      // What came during the last step is looked at before this.
      else this.#immediate = setImmediate(late)
    }
    this.#timer = setTimeout(step, ms / STEPS)
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
