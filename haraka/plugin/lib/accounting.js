'use strict'

// The plugin's working part for one set of settings: a publisher for each partition, the headers that workers want, and
// the regular report. It is replaced as a whole when the settings of its connection change.

const { randomBytes } = require('node:crypto')
const path = require('node:path')

const { Claims } = require('./claims')
const { Counters } = require('./counters')
const { Courier } = require('./courier')
const { atMost } = require('./deadline')
const { names } = require('./headers')
const { ofPartition, ofTag, partitionOf } = require('./keys')
const { Publisher } = require('./publisher')
const { Ring } = require('./ring')
const { Spool } = require('./spool')
const { SpoolHome } = require('./spool_home')
const { WantedHeaders } = require('./wanted_headers')

const EXCHANGE_MS = 30_000
const START_WAIT_MS = 3000
const LAST_NOTE_MS = 1000
const LOG_MS = 60_000
const CLAIM_MS = 30_000
const NODE_LENGTH = 100

class Accounting {
  #settings
  #log
  #partitions
  #wanted
  #remembered
  #home
  #claims
  #timers = []
  #ready
  #isReady = false
  #closed = false

  /** home: Haraka's directory. */
  constructor(settings, log, home) {
    this.#settings = settings
    this.#log = log
    // A producer is a process, not a node: its numbers begin at 1 and mean nothing to another.
    const boot = randomBytes(6).toString('hex')
    this.#home = new SpoolHome(path.resolve(home, settings.spool_dir), boot, settings.spool_fsync)
    this.#remembered = new WantedHeaders(this.#home, settings.key, log)
    const wanted = this.#remembered.read()
    this.#isReady = wanted !== undefined
    this.#wanted = [...new Set([...settings.headers, ...(wanted ?? [])])]
    this.#claims = new Claims({
      home: this.#home,
      courierFor: (tag) => new Courier({ redis: settings.redis, keys: ofTag(tag), log }),
      keepMs: settings.ring_seconds * 1000,
      fsync: settings.spool_fsync,
      log,
    })
    this.#partitions = Array.from({ length: settings.partitions }, (_, i) => this.#partition(i, boot))
  }

  /** Names of the headers to keep: those of the own ini and those that the workers' columns want. */
  get wanted() {
    return this.#wanted
  }

  /** What was done up to now, over all partitions, with what was claimed from dead processes. */
  get counters() {
    return Counters.sum([this.#claims.counters, ...this.#partitions.map(({ counters }) => counters)])
  }

  /** A hook call gave no event. */
  skip() {
    this.#partitions[0].counters.skipped++
  }

  /** Whether every partition has a connection. */
  get isUp() {
    return this.#partitions.every(({ courier }) => courier.isUp)
  }

  /** Connect, and begin to look after things now and then. */
  start() {
    const up = Promise.all(this.#partitions.map(({ courier }) => courier.ready()))
    this.#ready = this.#patiently(up.then(() => this.#told(() => this.#exchange())))
    this.#regularly(EXCHANGE_MS, () => this.#exchange())
    this.#regularly(LOG_MS, () => this.#logFigures())
    this.#regularly(0, () => this.#claims.look().then(() => CLAIM_MS))
  }

  /** Whether `ready` has resolved. */
  get isReady() {
    return this.#isReady
  }

  /** Resolves when it is known which headers the workers want: at once with Redis there, else after a while unknown. */
  async ready() {
    await this.#ready
  }

  /** Publish an event; `answer` is held until it is safe, see Publisher.add. */
  add(type, body, jobId, answer) {
    this.#partitions[partitionOf(jobId, this.#partitions.length)].publisher.add(type, body, answer)
  }

  /**
   * Bring or spool what is there, in all partitions at once: Haraka waits 30 s for all its plugins. Events that still come
   * are spooled, for the next process to bring.
   */
  async close() {
    this.#closed = true
    for (const timer of this.#timers) clearTimeout(timer)
    await Promise.all([this.#claims.close(), ...this.#partitions.map((each) => this.#closePartition(each))])
    this.#logFigures()
  }

  /** Close for good: nothing comes any more, and what is on disk is left to whoever claims it. */
  async retire() {
    await this.close()
    await this.#home.close()
  }

  /** The events first, then a note that tells what became of them, where the server answers. */
  async #closePartition(partition) {
    await partition.publisher.close()
    await atMost(LAST_NOTE_MS, this.#report(partition))
    partition.courier.close()
  }

  #partition(index, boot) {
    const settings = this.#settings
    const log = this.#log
    const keys = ofPartition(settings.key, index, settings.partitions)
    const suffix = settings.partitions > 1 ? `-${index}` : ''
    // Bounded, since it is a part of the names of files.
    const node = settings.node.slice(0, NODE_LENGTH).replace(/[^\w.-]/g, '_')
    const producer = `${node}-${boot}${suffix}`
    const ring = new Ring(settings.ring_max_mb * 1e6, settings.ring_seconds * 1000)
    const courier = new Courier({ redis: settings.redis, keys, producer, ring, log })
    const spool = new Spool({
      home: this.#home,
      name: producer,
      tag: keys.tag,
      elsewhere: () => this.#claims.bytes / settings.partitions,
      maxBytes: (settings.spool_max_mb * 1e6) / settings.partitions,
      fsync: settings.spool_fsync,
    })
    const counters = new Counters()
    const publisher = new Publisher({ producer, settings, courier, spool, counters, log })
    return { producer, tag: keys.tag, courier, publisher, counters }
  }

  async #patiently(known) {
    await atMost(START_WAIT_MS, known)
    this.#isReady = true
  }

  /** Run `work` regularly; it says after how many ms again. */
  #regularly(firstMs, work) {
    const index = this.#timers.length
    const run = async () => {
      const ms = (await this.#told(work)) ?? LOG_MS
      if (this.#closed) return
      this.#timers[index] = setTimeout(run, ms).unref()
    }
    this.#timers.push(setTimeout(run, firstMs).unref())
  }

  /** What some work gives; what fails is told, and may do better the next time. An error that nobody takes would end Haraka. */
  async #told(work) {
    try {
      return await work()
    } catch (error) {
      this.#log.error(error.message)
      return undefined
    }
  }

  /** Ask what the workers want, and leave a note for the status command. */
  async #exchange() {
    const asked = this.#partitions.map((each) => this.#ask(each, (session) => session.wanted()))
    const found = new Set(this.#settings.headers)
    let isTold = false
    for (const members of await Promise.all(asked)) {
      // What cannot be asked for now stays as it was: a column must not go blank in an outage. So it does where a server was
      // emptied: workers put a placeholder there, also where they want no header.
      const isThere = Array.isArray(members) && members.length > 0
      for (const name of isThere ? names(members) : this.#wanted) found.add(name)
      isTold ||= isThere
    }
    this.#wanted = [...found]
    if (isTold) await this.#remembered.write(this.#wanted)
    await Promise.all(this.#partitions.map((each) => this.#report(each)))
    return EXCHANGE_MS
  }

  async #report(partition) {
    await this.#ask(partition, (session) => session.report(partition.producer, this.#noteOf(partition)))
  }

  #noteOf({ tag, counters, publisher }) {
    const { node } = this.#settings
    const { spoolBytes } = publisher
    const claimed = this.#claims.figures((each) => this.#partitionFor(each) === tag)
    return { at: Date.now(), node, pid: process.pid, spoolBytes, ...claimed, ...counters.figures() }
  }

  /** The partition whose note tells of what is claimed for a hash tag: the first one where that is not ours. */
  #partitionFor(tag) {
    const tags = this.#partitions.map((partition) => partition.tag)
    return tags.includes(tag) ? tag : tags[0]
  }

  #logFigures() {
    const spoolBytes = this.#partitions.reduce(
      (sum, { publisher }) => sum + publisher.spoolBytes,
      this.#claims.bytes,
    )
    const figures = Object.entries({ ...this.counters.figures(), spoolBytes })
    this.#log.info(figures.map(([name, value]) => `${name}=${value}`).join(' '))
    for (const { counters } of this.#partitions) counters.forgetLatency()
    return LOG_MS
  }

  /** The answer, undefined where there is none. */
  async #ask({ courier }, question) {
    courier.connect()
    return courier.ask(question).catch((error) => {
      // Not what the log returns: Haraka's says true.
      this.#log.debug(error.message)
    })
  }
}

module.exports = { Accounting }
