'use strict'

// The batches that the server acknowledged last, for a server that loses them afterwards (a failover, a crash between two
// fsyncs). Bounded in bytes and in age; of older ones only the numbers of events are remembered, for the report.

const MARKS = 10_000

function plus(a, b) {
  return a.map((count, i) => count + b[i])
}

function minus(a, b) {
  return a.map((count, i) => Math.max(0, count - b[i]))
}

class Ring {
  #maxBytes
  #maxMs
  #held = [] // [{batch, at, before: counts of all batches before it}]
  #bytes = 0
  #total = [0, 0, 0]
  #marks = [{ seq: 0, total: [0, 0, 0] }] // counts up to and including seq, of batches no longer held

  constructor(maxBytes, maxMs) {
    this.#maxBytes = maxBytes
    this.#maxMs = maxMs
  }

  get bytes() {
    return this.#bytes
  }

  /** Remember an acknowledged batch; `now` is monotonic, in ms. Copies of one that is known are ignored. */
  push(batch, now) {
    const newest = this.#held.at(-1)?.batch.seq ?? this.#marks.at(-1).seq
    if (batch.seq <= newest) return
    this.#held.push({ batch, at: now, before: this.#total })
    this.#bytes += batch.length
    this.#total = plus(this.#total, batch.counts)
    this.#evict(now)
  }

  /** {batches: those after `last` that are held at an instant, givenUp: events of those that are not}. */
  after(last, now) {
    this.#evict(now)
    const first = this.#held.findIndex(({ batch }) => batch.seq > last)
    const kept = first === -1 ? [] : this.#held.slice(first)
    const before = kept.length > 0 ? kept[0].before : this.#total
    return { batches: kept.map(({ batch }) => batch), givenUp: minus(before, this.#totalAt(last)) }
  }

  #totalAt(last) {
    const held = this.#held.find(({ batch }) => batch.seq === last)
    if (held) return plus(held.before, held.batch.counts)
    // Where even the mark is gone, the next one: the report is then a lower bound.
    return (this.#marks.find(({ seq }) => seq >= last) ?? this.#marks.at(-1)).total
  }

  #evict(now) {
    let gone = 0
    while (gone < this.#held.length) {
      const { batch, at, before } = this.#held[gone]
      if (this.#bytes <= this.#maxBytes && now - at < this.#maxMs) break
      this.#bytes -= batch.length
      this.#marks.push({ seq: batch.seq, total: plus(before, batch.counts) })
      gone++
    }
    if (gone > 0) this.#held.splice(0, gone)
    if (this.#marks.length > 2 * MARKS) this.#marks.splice(1, this.#marks.length - MARKS)
  }
}

module.exports = { Ring }
