'use strict'

// A lane that brings files to a real server, which loses what it had acknowledged in the middle of it.

const assert = require('node:assert/strict')
const { existsSync, readFileSync, readdirSync, renameSync, writeFileSync } = require('node:fs')
const path = require('node:path')
const { after, afterEach, before, beforeEach, describe, test } = require('node:test')

const { Backlog } = require('../lib/backlog')
const { form } = require('../lib/batch')
const { Courier } = require('../lib/courier')
const { ofTag } = require('../lib/keys')
const { Lane } = require('../lib/lane')
const { Spool } = require('../lib/spool')
const { log, settings, sleep, temporaryDirectory, until } = require('./support/process')
const { eventsOf } = require('./support/streams')
const { Valkey } = require('./support/valkey')

const TAG = 'haraka:accounting'
const PRODUCER = 'mx1-aaaaaaaaaaaa'

/** After each delivery the test may have its own way with the server. */
class WatchedCourier extends Courier {
  static delivered = async () => {}

  async deliverAll(batches, ...rest) {
    await super.deliverAll(batches, ...rest)
    await WatchedCourier.delivered(batches.map(({ seq }) => seq))
  }
}

describe('a lane', () => {
  let valkey, home, lane, logged

  before(async () => {
    valkey = await Valkey.start()
  })
  after(() => valkey.stop())
  beforeEach(async () => {
    await valkey.with((command) => command('FLUSHALL'))
    home = temporaryDirectory()
    logged = log()
  })
  afterEach(() => {
    lane.close()
    home.remove()
  })

  /** Leave the batches of so many files, two in each; the lane keeps files for so long. */
  async function backlog(files, keepMs, port = valkey.port) {
    const { redis } = settings({ redis: { port } })
    const courierFor = () => new WatchedCourier({ redis, keys: ofTag(TAG), log: logged })
    lane = new Lane({ courierFor, keepMs, log: logged })
    for (let i = 0; i < files; i++) {
      const spool = new Spool({ home: { dir: () => home.dir }, name: `x${i}`, tag: TAG, maxBytes: 1e6 })
      for (const seq of [2 * i + 1, 2 * i + 2])
        await spool.append(form(PRODUCER, seq, [{ type: 'bounce', body: `"n":${seq}` }]))
      await spool.close()
    }
    const numbered = (name) => [
      name,
      path.join(home.dir, `${PRODUCER}~${Number(name.slice(1, 2)) + 1}.spool`),
    ]
    for (const [from, to] of readdirSync(home.dir).map(numbered)) renameSync(path.join(home.dir, from), to)
    const [found] = await Backlog.in(home.dir)
    return found
  }
  const file = (number) => path.join(home.dir, `${PRODUCER}~${number}.sent.spool`)
  const inStream = async () => (await eventsOf(valkey)).bounce.map(({ n }) => n)

  test('brings everything again when the server loses its tail between two files', async () => {
    const found = await backlog(3, 600_000)
    let deliveries = 0
    WatchedCourier.delivered = async () => {
      if (++deliveries === 2) await valkey.with((command) => command('FLUSHALL'))
    }
    void lane.bring(found)
    await until(async () => (await inStream()).length === 6)
    assert.deepEqual(await inStream(), [1, 2, 3, 4, 5, 6])
    assert.deepEqual([1, 2, 3].map(file).map(existsSync), [true, true, true])
  })

  test('brings what it can read of a damaged file, each time, and tells of it once', async () => {
    const found = await backlog(3, 600_000)
    const [, second] = found.files
    const bytes = readFileSync(second.path)
    bytes[bytes.length - 3] ^= 1
    writeFileSync(second.path, bytes)
    let deliveries = 0
    WatchedCourier.delivered = async () => {
      if (++deliveries === 2) await valkey.with((command) => command('FLUSHALL'))
    }
    void lane.bring(found)
    await until(async () => (await inStream()).length === 5)
    assert.deepEqual(await inStream(), [1, 2, 3, 5, 6])
    assert.match(logged.lines.error.join('\n'), /^\d+ damaged bytes at \d+ of .*\.damaged$/)
    assert.equal(lane.counters.damaged, 1)
  })

  test('removes each file when it was brought long enough ago, and the last ones when the server still has them', async () => {
    const found = await backlog(4, 1)
    const seen = []
    WatchedCourier.delivered = async () => {
      await sleep(2)
      seen.push(readdirSync(home.dir).length)
    }
    await lane.bring(found)
    assert.deepEqual(seen.slice(0, 2), [4, 4])
    assert.ok(seen[3] < 4, 'the first is gone before the last is brought')
    assert.deepEqual(readdirSync(home.dir), [])
    assert.deepEqual(await inStream(), [1, 2, 3, 4, 5, 6, 7, 8])
  })

  test('keeps what it brought where only its own process was away for long: the server has said nothing since', async () => {
    const found = await backlog(3, 100)
    let deliveries = 0
    WatchedCourier.delivered = async () => {
      if (++deliveries !== 2) return
      // A stall that is longer than files are kept, and a server that loses all meanwhile.
      const end = performance.now() + 200
      while (performance.now() < end);
      await valkey.with((command) => command('FLUSHALL'))
    }
    void lane.bring(found)
    await until(async () => (await inStream()).length === 6)
    assert.deepEqual(await inStream(), [1, 2, 3, 4, 5, 6])
  })

  test('leaves the files that it brought to the next process when it is closed before their time', async () => {
    const found = await backlog(1, 600_000)
    const bringing = lane.bring(found)
    await until(async () => (await inStream()).length === 2)
    await until(() => found.bytes === 0)
    lane.close()
    await bringing
    assert.ok(existsSync(file(1)))
  })

  test(
    'ends when it is closed, whether it brings something by then or not',
    { timeout: 20_000 },
    async () => {
      const found = await backlog(1, 0, 1)
      const bringing = lane.bring(found)
      const next = lane.bring(new Backlog('mx1-bbbbbbbbbbbb', [{ path: file(1), bytes: 1 }], TAG))
      lane.close()
      await bringing
      await next
      assert.deepEqual(readdirSync(home.dir), [`${PRODUCER}~1.spool`])
    },
  )
})
