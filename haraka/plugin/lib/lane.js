'use strict'

// Brings what is claimed for one partition, one backlog after the other, by one courier that is there as long as there is
// work. Another partition's lane goes on while this one's server is away.

const path = require('node:path')
const { setTimeout: pause } = require('node:timers/promises')

const { Lost } = require('./backlog')
const { Counters } = require('./counters')
const { FORGOTTEN_MS, inDoubt } = require('./doubt')
const { SpoolFile, asideOf } = require('./spool_file')
const { DAMAGED } = require('./spool_record')

const READ_BYTES = 256 * 1024
const NAMES = 50

class Lane {
  counters = new Counters() // what was brought
  producers = [] // of the last backlogs
  #courierFor
  #courier
  #keepMs
  #fsync
  #log
  #backlogs = new Set()
  #last = Promise.resolve()
  #heardAt = 0 // when the server acknowledged something last, in monotonic ms
  #closing = new AbortController()

  /**
   * courierFor(): a new courier to the partition, without a ring; keepMs: how long files stay that were brought; fsync: whether
   * what their names say survives a power cut.
   */
  constructor({ courierFor, keepMs, fsync, log }) {
    this.#fsync = fsync
    this.#courierFor = courierFor
    this.#keepMs = keepMs
    this.#log = log
  }

  get #closed() {
    return this.#closing.signal.aborted
  }

  /** Bytes on disk that are to be brought. */
  get bytes() {
    return [...this.#backlogs].reduce((sum, { bytes }) => sum + bytes, 0)
  }

  /**
   * Bring a backlog after those before it; returns when it is gone, or the lane closed: what stays then is brought again by
   * the next process, as copies perhaps. Fails where the disk does.
   */
  async bring(backlog) {
    this.#begin(backlog)
    try {
      do {
        await this.#inTurn(() => this.#drain(backlog))
        await pause(this.#keepMs, undefined, { ref: false, signal: this.#closing.signal }).catch(() => {})
      } while (!(await this.#inTurn(() => this.#isIn(backlog))))
      if (!this.#closed) await backlog.removeBefore(Infinity)
    } finally {
      this.#end(backlog)
    }
  }

  /** Nobody waits for the server any longer. */
  close() {
    this.#closing.abort()
    this.#courier?.close()
  }

  #inTurn(job) {
    const done = this.#last.then(job)
    this.#last = done.catch(() => {})
    return done
  }

  #begin(backlog) {
    this.#backlogs.add(backlog)
    this.producers = [...this.producers.filter((name) => name !== backlog.producer), backlog.producer].slice(
      -NAMES,
    )
  }

  #end(backlog) {
    this.#backlogs.delete(backlog)
    if (this.#backlogs.size > 0) return
    this.#courier?.close()
    this.#courier = undefined
  }

  async #drain(backlog) {
    while (backlog.files.length > 0 && !this.#closed) {
      try {
        await this.#drainFirst(backlog)
      } catch (error) {
        if (!(error instanceof Lost)) throw error
        backlog.rewind()
      }
      // By what the server has acknowledged since, not by now: a stall of this process proves nothing about the server.
      await backlog.removeBefore(this.#heardAt - this.#keepMs)
    }
  }

  async #drainFirst(backlog) {
    const [first] = backlog.files
    const file = await SpoolFile.existing(first.path, backlog)
    try {
      const name = path.basename(first.path)
      this.#log.info(`claimed ${name} bytes=${file.size}`)
      const stop = await this.#drainFile(file, backlog)
      if (this.#closed) return
      // Torn by the crash: Haraka's answers to its events still waited, so Haraka delivers that mail again.
      if (stop) this.#log.warn(`torn last record in ${name}, ${file.unread} bytes skipped`)
      backlog.shift(this.#heardAt)
    } finally {
      first.path = file.path
      await file.close()
    }
  }

  /** Returns at the end of the file, or why nothing can be read behind what was brought; also when the lane is closed. */
  async #drainFile(file, backlog) {
    while (!this.#closed) {
      const { records, stop, why } = await file.read(READ_BYTES)
      if (records.length > 0) await this.#deliver(file, records, backlog)
      else if (stop === DAMAGED) await this.#skip(file, why, backlog)
      else return stop
    }
    return undefined
  }

  /** What cannot be read holds up nothing: it is passed over, and its file kept once the rest is brought. Told once a file. */
  async #skip(file, why, { files: [first] }) {
    const { at, bytes } = await file.skip()
    if (first.damagedAt.has(at)) return
    first.damagedAt.add(at)
    this.counters.damaged++
    if (first.damagedAt.size > 1) return
    const name = path.basename(file.path)
    this.#log.error(`${bytes} damaged bytes at ${at} of ${name} (${why}) are kept in ${asideOf(file.path)}`)
  }

  /** A failure is tried again when there is a session. */
  async #deliver(file, records, backlog) {
    const courier = await this.#ready()
    if (this.#closed) return
    await file.markSent(this.#fsync)
    const of = new Map(records.map((record) => [record.batch, record]))
    const doubtful = []
    const done = (batch) => {
      const { end, sent } = of.get(batch)
      this.#heardAt = performance.now()
      file.advance(end)
      this.counters.count(batch)
      this.counters.drained += batch.events
      if (!backlog.isKnown && (file.wasSent || isLongAgo(sent))) doubtful.push(batch)
    }
    try {
      if (await this.#learn(courier, backlog)) await courier.deliverAll([...of.keys()], done, backlog)
    } catch (error) {
      if (error instanceof Lost) throw error
      this.#log.debug(`claimed batches: ${error.message}`)
    }
    if (doubtful.length > 0) this.#log.warn(inDoubt(doubtful))
  }

  /** Ask once whether the server knows the producer, before anything is brought; false where it did not say. */
  async #learn(courier, backlog) {
    if (backlog.isKnown !== undefined) return true
    const last = await courier.ask((session) => session.last(backlog.producer))
    if (last !== undefined) backlog.isKnown = last > 0
    return last !== undefined
  }

  /** Whether the server still has what was brought; else that is to be brought again. True when the lane is closed. */
  async #isIn(backlog) {
    for (;;) {
      const courier = await this.#ready()
      if (this.#closed) return true
      try {
        const last = await courier.ask((session) => session.last(backlog.producer))
        if (last === undefined) continue
        if (backlog.isIn(last)) return true
        backlog.rewind()
        return false
      } catch (error) {
        this.#log.debug(`claimed batches: ${error.message}`)
      }
    }
  }

  async #ready() {
    if (this.#closed) return undefined
    this.#courier ??= this.#courierFor()
    await this.#courier.ready()
    return this.#courier
  }
}

/** Whether a batch was sent so long ago that the server can have forgotten its producer. */
function isLongAgo(sent) {
  return sent > 0 && Date.now() - sent >= FORGOTTEN_MS
}

module.exports = { Lane }
