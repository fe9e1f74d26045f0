'use strict'

// What one process has done since it started.

class Counters {
  published = 0 // events that the server has
  batches = 0
  spooled = 0 // events that went to disk first
  drained = 0 // of those, brought to the server
  dropped = 0 // lost: the spool was full
  unsafe = 0 // hooks let go after max_hold_ms, before their event was safe
  skipped = 0 // hook calls that gave no event
  #latency = { batches: 0, total: 0, max: 0 }

  observe(latencyMs) {
    const latency = this.#latency
    latency.batches++
    latency.total += latencyMs
    if (latencyMs > latency.max) latency.max = latencyMs
  }

  /** Everything as a plain object; latency is that since the last call. */
  snapshot() {
    const { batches, total, max } = this.#latency
    this.#latency = { batches: 0, total: 0, max: 0 }
    const { published, batches: sent, spooled, drained, dropped, unsafe, skipped } = this
    return {
      published,
      batches: sent,
      spooled,
      drained,
      dropped,
      unsafe,
      skipped,
      latencyMs: round(batches > 0 ? total / batches : 0),
      latencyMaxMs: round(max),
    }
  }
}

function round(ms) {
  return Math.round(ms * 100) / 100
}

module.exports = { Counters }
