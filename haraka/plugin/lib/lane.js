'use strict'

// Brings what is claimed for one partition, one backlog after the other, by one courier that is there as long as there is
// work. Another partition's lane goes on while this one's server is away.

const path = require('node:path')

const { Counters } = require('./counters')
const { SpoolFile } = require('./spool_file')
const { DAMAGED } = require('./spool_record')

const READ_BYTES = 256 * 1024
const NAMES = 50

class Lane {
  counters = new Counters() // what was brought
  producers = [] // of the last backlogs
  #courierFor
  #courier
  #log
  #backlogs = new Set()
  #last = Promise.resolve()
  #closed = false

  /** courierFor(): a new courier to the partition, without a ring. */
  constructor(courierFor, log) {
    this.#courierFor = courierFor
    this.#log = log
  }

  /** Bytes on disk that are to be brought. */
  get bytes() {
    return [...this.#backlogs].reduce((sum, { bytes }) => sum + bytes, 0)
  }

  /** Bring a backlog after those before it; returns when it is gone, or the lane closed. Fails where the disk does. */
  async bring(backlog) {
    this.#begin(backlog)
    const done = this.#last.then(() => this.#drain(backlog))
    this.#last = done.catch(() => {})
    try {
      await done
    } finally {
      this.#end(backlog)
    }
  }

  /** Nobody waits for the server any longer; what is not drained stays. */
  close() {
    this.#closed = true
    this.#courier?.close()
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

  async #drain({ files }) {
    while (files.length > 0 && !this.#closed) {
      const file = await SpoolFile.existing(files[0].path)
      try {
        this.#log.info(`claimed ${path.basename(files[0].path)} bytes=${file.size}`)
        const stop = await this.#drainFile(file)
        if (this.#closed) return
        await this.#dispose(file, path.basename(files[0].path), stop)
        files.shift()
      } finally {
        await file.close()
      }
    }
  }

  /** Returns at the end of the file, or why nothing can be read behind what was brought; also when the lane is closed. */
  async #drainFile(file) {
    while (!this.#closed) {
      const { records, stop } = await file.read(READ_BYTES)
      if (records.length === 0) return stop
      await this.#deliver(file, records)
    }
    return undefined
  }

  async #dispose(file, name, stop) {
    if (stop === DAMAGED) {
      const kept = await file.setAside()
      return this.#log.error(`${file.unread} damaged bytes of a spool file are kept in ${kept}`)
    }
    // Torn by the crash: its hooks were never let go, so Haraka delivers that mail again.
    if (stop) this.#log.warn(`torn last record in ${name}, ${file.unread} bytes skipped`)
    await file.remove()
  }

  /** A failure is tried again when there is a session. */
  async #deliver(file, records) {
    this.#courier ??= this.#courierFor()
    await this.#courier.ready()
    if (this.#closed) return
    const ends = new Map(records.map(({ batch, end }) => [batch, end]))
    try {
      await this.#courier.deliverAll([...ends.keys()], (batch) => {
        file.advance(ends.get(batch))
        this.counters.count(batch)
        this.counters.drained += batch.events
      })
    } catch (error) {
      this.#log.debug(`claimed batches: ${error.message}`)
    }
  }
}

module.exports = { Lane }
