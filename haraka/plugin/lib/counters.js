'use strict'

// What one partition's publisher has done since it started.

const COUNTED = ['published', 'batches', 'spooled', 'drained', 'damaged', 'dropped', 'unsafe', 'skipped']

class Counters {
  published = 0 // events that the server has
  batches = 0
  spooled = 0 // events that went to disk first
  drained = 0 // events brought to the server from disk
  damaged = 0 // parts of spool files that cannot be read
  dropped = 0 // lost: the spool was full or cannot be read, or the memory was full
  unsafe = 0 // answers of Haraka's to hooks that did not wait until the event was safe
  skipped = 0 // hook calls that gave no event
  latency = { batches: 0, totalMs: 0, maxMs: 0 }

  static sum(list) {
    const sum = new Counters()
    for (const { latency, ...counters } of list) {
      for (const name of COUNTED) sum[name] += counters[name]
      sum.latency.batches += latency.batches
      sum.latency.totalMs += latency.totalMs
      sum.latency.maxMs = Math.max(sum.latency.maxMs, latency.maxMs)
    }
    return sum
  }

  /** The server has a batch; latencyMs: how long that took, where it went directly. */
  count(batch, latencyMs) {
    this.batches++
    this.published += batch.events
    if (latencyMs !== undefined) this.#observe(latencyMs)
  }

  #observe(latencyMs) {
    this.latency.batches++
    this.latency.totalMs += latencyMs
    if (latencyMs > this.latency.maxMs) this.latency.maxMs = latencyMs
  }

  /** Begin another period of latencies. */
  forgetLatency() {
    this.latency = { batches: 0, totalMs: 0, maxMs: 0 }
  }

  /** Everything as a plain object, for logs and notes. */
  figures() {
    const { batches, totalMs, maxMs } = this.latency
    const counted = Object.fromEntries(COUNTED.map((name) => [name, this[name]]))
    return {
      ...counted,
      latencyMs: rounded(batches > 0 ? totalMs / batches : 0),
      latencyMaxMs: rounded(maxMs),
    }
  }
}

function rounded(ms) {
  return Math.round(ms * 100) / 100
}

module.exports = { Counters }
