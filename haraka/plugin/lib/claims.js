'use strict'

// Batches that other processes left on disk when they died: claimed, brought to the server in their order, then deleted.
// They keep their producer and numbers, so those that had arrived already are duplicates there and nothing is added twice.

const path = require('node:path')

const { Backlog } = require('./backlog')
const { Lane } = require('./lane')
const { SpoolFile } = require('./spool_file')
const { claim, clear } = require('./spool_home')
const { DAMAGED } = require('./spool_record')

const READ_BYTES = 256 * 1024

class Claims {
  #home
  #courierFor
  #counters
  #log
  #lanes = new Map() // hash tag -> lane
  #dirs = new Map() // claimed directory -> settles when nothing of it is under way
  #working
  #told = new Map() // what does not work -> why, as it was told
  #reading = new Set() // files that are being brought
  #closed = false

  /** courierFor(tag): a courier without a ring, to the partition that the batches were meant for. */
  constructor({ home, courierFor, counters, log }) {
    this.#home = home
    this.#courierFor = courierFor
    this.#counters = counters
    this.#log = log
  }

  /** Bytes that are claimed and not drained of the files that are being brought. */
  get bytes() {
    return [...this.#reading].reduce((sum, { unread }) => sum + unread, 0)
  }

  /** Look for what dead processes left, and begin to bring it. One round at a time. */
  async look() {
    this.#working ??= this.#round().finally(() => {
      this.#working = undefined
    })
    return this.#working
  }

  /** What is not drained stays on disk for the next process. */
  async close() {
    this.#closed = true
    await this.#working
    for (const lane of this.#lanes.values()) lane.close()
    await Promise.all(this.#dirs.values())
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
      if (this.#dirs.has(dir)) continue
      const work = this.#bring(dir).catch((error) => this.#tell(path.basename(dir), error))
      this.#dirs.set(
        dir,
        // What failed is begun anew by a later round.
        work.finally(() => this.#dirs.delete(dir)),
      )
    }
  }

  /** What does not work, once: it is tried again in later rounds. */
  #tell(what, { message }) {
    if (this.#told.get(what) === message) return
    this.#told.set(what, message)
    this.#log.error(`claimed spool: ${what}: ${message}`)
  }

  async #bring(dir) {
    const backlogs = await Backlog.in(dir)
    const drained = backlogs.map((backlog) => {
      const job = this.#lane(backlog.tag).run((courier) => this.#drain(backlog, courier))
      return job.catch((error) => this.#tell(`${path.basename(dir)}/${backlog.producer}`, error))
    })
    await Promise.all(drained)
    // A file that was set aside keeps its directory; nobody looks at it again but a human.
    await clear(dir)
  }

  #lane(tag) {
    if (!this.#lanes.has(tag)) this.#lanes.set(tag, new Lane(() => this.#courierFor(tag)))
    return this.#lanes.get(tag)
  }

  async #drain(backlog, courier) {
    for (const name of backlog.paths) {
      if (this.#closed) return
      await this.#drainFile(name, courier)
    }
  }

  async #drainFile(name, courier) {
    const file = await SpoolFile.existing(name)
    this.#log.info(`claimed ${path.basename(name)} bytes=${file.size}`)
    this.#reading.add(file)
    try {
      while (!this.#closed) {
        const { records, stop } = await file.read(READ_BYTES)
        if (records.length === 0) return await this.#end(file, name, stop)
        await this.#deliver(file, records, courier)
      }
    } finally {
      this.#reading.delete(file)
      await file.close()
    }
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

  /** A failure is tried again when there is a session. */
  async #deliver(file, records, courier) {
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
}

module.exports = { Claims }
