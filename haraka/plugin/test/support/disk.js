'use strict'

// A publisher whose disk is slow or fails, as a test wants it; server and files are real.

const { randomBytes } = require('node:crypto')
const path = require('node:path')

const { Counters } = require('../../lib/counters')
const { Courier } = require('../../lib/courier')
const { ofPartition } = require('../../lib/keys')
const { Publisher } = require('../../lib/publisher')
const { Ring } = require('../../lib/ring')
const { Spool } = require('../../lib/spool')
const { SpoolHome } = require('../../lib/spool_home')
const { answer, log, settings, sleep } = require('./process')

class Disk extends Spool {
  error // with this every write fails
  takesMs = 0
  attempts = 0
  #open = Promise.resolve()
  #release = () => {}

  /** From now on writes do not end before `go`. */
  hang() {
    this.#open = new Promise((resolve) => (this.#release = resolve))
  }

  go() {
    this.#release()
  }

  async append(batch) {
    this.attempts++
    await this.#open
    if (this.takesMs > 0) await sleep(this.takesMs)
    if (this.error) throw Object.assign(new Error(this.error), { code: this.error })
    return super.append(batch)
  }
}

/** {publisher, disk, counters, lines, add, close}; `add(n)` resolves when the answers to n events were let go. */
function start(port, dir, { redis, ...main } = {}) {
  const found = settings({ ...main, redis: { port, ...redis } })
  const logged = log()
  const producer = `mx1-${randomBytes(6).toString('hex')}`
  const keys = ofPartition(found.key, 0, 1)
  const home = new SpoolHome(path.join(dir, 'spool'), producer)
  const maxBytes = found.spool_max_mb * 1e6
  const disk = new Disk({ home, name: producer, tag: keys.tag, maxBytes, fsync: true })
  const courier = new Courier({
    redis: found.redis,
    keys,
    producer,
    ring: new Ring(8e6, 60_000),
    log: logged,
  })
  const counters = new Counters()
  const publisher = new Publisher({ producer, settings: found, courier, spool: disk, counters, log: logged })
  let count = 0
  const one = (done) => publisher.add('delivered', `"rcpts":[{"rcpt":"r${count++}@a.test"}]`, answer(done))
  const add = (n) => Promise.all(Array.from({ length: n }, () => new Promise(one)))
  const close = async () => {
    disk.go()
    await publisher.close()
    courier.close()
    await home.close()
  }
  return { publisher, courier, disk, counters, lines: logged.lines, one, add, close }
}

module.exports = { start }
