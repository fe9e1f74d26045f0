'use strict'

// How long something may wait, as the settings say. Pure: instants are monotonic ms.

class Patience {
  #settings

  constructor(settings) {
    this.#settings = settings
  }

  /** How often to look, so that nothing waits noticeably longer than it may. */
  get tickMs() {
    const { max_hold_ms: hold, spool_after_ms: spool } = this.#settings
    return Math.max(1, Math.min(50, hold / 4, spool / 4))
  }

  /** Whether a batch ought to be on disk by now. */
  isLate(since, now) {
    return now - since >= this.#settings.spool_after_ms
  }

  /** Whether hooks wait for room on a disk that is full. */
  isHolding(full) {
    return full && this.#settings.on_full === 'hold'
  }

  /** Hooks of events that came before this instant have waited long enough: by the next look it would be too long. */
  limit(full, now) {
    const { max_hold_ms: hold, on_full_hold_ms: longHold } = this.#settings
    return now + this.tickMs - (this.isHolding(full) ? Math.max(hold, longHold) : hold)
  }
}

module.exports = { Patience }
