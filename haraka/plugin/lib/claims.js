'use strict'

// Batches that other processes left on disk when they died: claimed, brought to the server in their order, then deleted.
// They keep their producer and numbers, so those that had arrived already are duplicates there and nothing is added twice.

const { readdir } = require('node:fs/promises')
const path = require('node:path')

const { SUFFIX } = require('./spool')
const { SpoolFile } = require('./spool_file')
const { claim, clear } = require('./spool_home')
const { DAMAGED } = require('./spool_record')

const READ_BYTES = 256 * 1024

/** Files of a claimed directory; those of one producer in the order of their numbers: a later one first would lose the earlier. */
async function spoolFiles(dir) {
  const names = (await readdir(dir)).filter((name) => name.endsWith(SUFFIX))
  const split = (name) => [
    name.slice(0, name.lastIndexOf('~')),
    parseInt(name.slice(name.lastIndexOf('~') + 1), 10),
  ]
  const ordered = names.map(split).sort(([a, m], [b, n]) => (a === b ? m - n : a < b ? -1 : 1))
  return ordered.map(([producer, number]) => path.join(dir, `${producer}~${number}${SUFFIX}`))
}

class Claims {
  #home
  #courierFor
  #counters
  #log
  #couriers = new Map() // hash tag -> courier
  #working
  #told = new Map() // what does not work -> why, as it was told
  #closed = false
  #bytes = 0

  /** courierFor(tag): a courier without a ring, to the partition that the batches were meant for. */
  constructor({ home, courierFor, counters, log }) {
    this.#home = home
    this.#courierFor = courierFor
    this.#counters = counters
    this.#log = log
  }

  /** Bytes on disk that are claimed and not drained. */
  get bytes() {
    return this.#bytes
  }

  /** Look for what dead processes left, and bring it. One round at a time. */
  async look() {
    this.#working ??= this.#round().finally(() => {
      this.#working = undefined
    })
    return this.#working
  }

  /** What is not drained stays on disk for the next process. */
  async close() {
    this.#closed = true
    for (const courier of this.#couriers.values()) courier.close()
    await this.#working
  }

  async #round() {
    if (this.#closed) return
    try {
      // Only who is alive himself may claim.
      await this.#home.dir()
    } catch (error) {
      return this.#tell('no directory of our own', error)
    }
    for (const dir of await claim(this.#home.root, this.#home.id, (name, error) => this.#tell(name, error))) {
      if (this.#closed) return
      await this.#drainDir(dir).catch((error) => this.#tell(path.basename(dir), error))
    }
    for (const courier of this.#couriers.values()) courier.close()
    this.#couriers.clear()
  }

  /** What does not work, once: it is tried again in each round. */
  #tell(what, { message }) {
    if (this.#told.get(what) === message) return
    this.#told.set(what, message)
    this.#log.error(`claimed spool: ${what}: ${message}`)
  }

  async #drainDir(dir) {
    for (const file of await spoolFiles(dir)) {
      if (!(await this.#drainFile(file))) return
    }
    // A file that was set aside keeps its directory; nobody looks at it again but a human.
    await clear(dir)
  }

  async #drainFile(name) {
    const file = await SpoolFile.existing(name)
    this.#log.info(`claimed ${path.basename(name)} bytes=${file.size}`)
    try {
      while (!this.#closed) {
        this.#bytes = file.unread
        const { records, stop } = await file.read(READ_BYTES)
        if (records.length === 0) {
          await this.#end(file, name, stop)
          return true
        }
        await this.#deliver(file, records)
      }
    } finally {
      await file.close()
    }
    return false
  }

  async #end(file, name, stop) {
    if (stop === DAMAGED) {
      const kept = await file.setAside()
      return this.#log.error(`${file.unread} damaged bytes of a spool file are kept in ${kept}`)
    }
    // Torn by the crash: its hooks were never let go, so Haraka delivers that mail again.
    if (stop) this.#log.warn(`torn last record in ${path.basename(name)}, ${file.unread} bytes skipped`)
    await file.remove()
  }

  /** Bring records of one producer, so of one partition; a failure is tried again when there is a session. */
  async #deliver(file, records) {
    const courier = this.#courier(records[0].tag)
    await courier.ready()
    if (this.#closed) return
    const ends = new Map(records.map(({ batch, end }) => [batch, end]))
    try {
      await courier.deliverAll([...ends.keys()], (batch) => {
        file.advance(ends.get(batch))
        this.#counters.count(batch)
        this.#counters.drained += batch.events
      })
    } catch (error) {
      this.#log.debug(`claimed batches: ${error.message}`)
    }
  }

  #courier(tag) {
    if (!this.#couriers.has(tag)) this.#couriers.set(tag, this.#courierFor(tag))
    return this.#couriers.get(tag)
  }
}

module.exports = { Claims }
