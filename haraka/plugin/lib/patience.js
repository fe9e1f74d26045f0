'use strict'

// How long something may wait, as the settings say. Pure: instants are ms of the caller's clock.

/** So many events are worth a round trip of their own, however soon after the last one. */
const WORTH_SENDING = 64

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

  /** How long a batch of so many events may still grow, the last one having been sent at that instant. */
  growsMs(sentAt, events, now) {
    const { publish_interval_ms: interval, max_hold_ms: hold, spool_after_ms: spool } = this.#settings
    return events >= WORTH_SENDING ? 0 : sentAt + Math.min(interval, hold / 2, spool / 2) - now
  }

  /** Whether a batch ought to be on disk by now. */
  isLate(since, now) {
    return now - since >= this.#settings.spool_after_ms
  }

  /** Whether answers wait for a disk that refuses batches. */
  isHolding(isRefused) {
    return isRefused && this.#settings.on_full === 'hold'
  }

  /** Answers to events that came before this instant have waited long enough: by the next look it would be too long. */
  limit(isRefused, now) {
    const { max_hold_ms: hold, on_full_hold_ms: longHold } = this.#settings
    return now + this.tickMs - (this.isHolding(isRefused) ? Math.max(hold, longHold) : hold)
  }
}

module.exports = { Patience }
