'use strict'

// Batches that other processes left on disk when they died: claimed, brought to the server in their order, later deleted.
// They keep their producer and numbers, so those that had arrived already are duplicates there and nothing is added twice.

const path = require('node:path')

const { Backlog, bytesAside } = require('./backlog')
const { Counters } = require('./counters')
const { Lane } = require('./lane')
const { claim, clear } = require('./spool_home')

class Claims {
  #home
  #courierFor
  #keepMs
  #fsync
  #log
  #lanes = new Map() // hash tag -> lane
  #dirs = new Map() // claimed directory -> settles when nothing of it is under way
  #working
  #told = new Map() // what does not work -> why, as it was told
  #aside = 0 // bytes of files that were set aside
  #closed = false

  /** courierFor(tag): a courier without a ring, to the partition of a hash tag; keepMs, fsync: see Lane. */
  constructor({ home, courierFor, keepMs, fsync, log }) {
    this.#home = home
    this.#courierFor = courierFor
    this.#keepMs = keepMs
    this.#fsync = fsync
    this.#log = log
  }

  /** Bytes of claimed files on disk. */
  get bytes() {
    return [...this.#lanes.values()].reduce((sum, { bytes }) => sum + bytes, this.#aside)
  }

  /** What was brought up to now. */
  get counters() {
    return Counters.sum([...this.#lanes.values()].map(({ counters }) => counters))
  }

  /** For a note: what is claimed for the partitions whose hash tag `isMeant(tag)`, and from whom. */
  figures(isMeant) {
    const lanes = [...this.#lanes].filter(([tag]) => isMeant(tag)).map(([, lane]) => lane)
    return {
      claimed: lanes.flatMap(({ producers }) => producers),
      claimedBytes: lanes.reduce((sum, { bytes }) => sum + bytes, 0),
      claimedDrained: lanes.reduce((sum, { counters }) => sum + counters.drained, 0),
    }
  }

  /** Look for what dead processes left, and begin to bring it. One round at a time; never fails. */
  async look() {
    this.#working ??= this.#round()
      .catch((error) => this.#tell(this.#home.root, error))
      .finally(() => {
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
    // Only who is alive himself may claim.
    await this.#home.dir()
    const dirs = await claim(this.#home.root, this.#home.id, (name, error) => this.#tell(name, error))
    let aside = 0
    for (const dir of dirs) {
      aside += await bytesAside(dir)
      if (!this.#dirs.has(dir)) this.#dirs.set(dir, this.#begin(dir))
    }
    this.#aside = aside
  }

  /** What fails is begun anew by a later round. */
  async #begin(dir) {
    try {
      await this.#bring(dir)
    } catch (error) {
      this.#tell(path.basename(dir), error)
    } finally {
      this.#dirs.delete(dir)
    }
  }

  /** What does not work, once: it is tried again in later rounds. */
  #tell(what, { message }) {
    if (this.#told.get(what) === message) return
    this.#told.set(what, message)
    this.#log.error(`claimed spool: ${what}: ${message}`)
  }

  async #bring(dir) {
    const inDir = (name) => `${path.basename(dir)}/${name}`
    const backlogs = await Backlog.in(dir, (name, error) => this.#tell(inDir(name), error))
    const brought = backlogs.map((backlog) => {
      const what = inDir(backlog.producer)
      return this.#lane(backlog.tag)
        .bring(backlog)
        .catch((error) => this.#tell(what, error))
    })
    await Promise.all(brought)
    // A file that was set aside keeps its directory; nobody looks at it again but a human.
    await clear(dir)
  }

  #lane(tag) {
    if (!this.#lanes.has(tag)) this.#lanes.set(tag, this.#newLane(tag))
    return this.#lanes.get(tag)
  }

  #newLane(tag) {
    const courierFor = () => this.#courierFor(tag)
    const lane = new Lane({ courierFor, keepMs: this.#keepMs, fsync: this.#fsync, log: this.#log })
    if (this.#closed) lane.close()
    return lane
  }
}

module.exports = { Claims }
