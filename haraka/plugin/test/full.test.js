'use strict'

// The spool is full while the server is away.

const assert = require('node:assert/strict')
const { after, afterEach, before, beforeEach, describe, test } = require('node:test')

const { Proxy } = require('./support/proxy')
const { expected, recipients, start, temporaryDirectory, until } = require('./support/process')
const { eventsOf } = require('./support/streams')
const { Valkey } = require('./support/valkey')

// A batch of 10 000 events is larger than a spool of 1 MB: the bound of batches does not count their ids.
const BURST = 10_000
const OPTIONS = {
  spool_max_mb: 1,
  batch_max_events: 100_000,
  batch_max_kb: 976,
  spool_after_ms: 20,
  max_hold_ms: 200,
}

describe('with a full spool', () => {
  let valkey, proxy, home, haraka

  before(async () => {
    valkey = await Valkey.start()
  })
  after(() => valkey.stop())
  beforeEach(async () => {
    await valkey.with((command) => command('FLUSHALL'))
    proxy = await Proxy.start(valkey.port)
    home = temporaryDirectory()
    proxy.mode = 'refuse'
  })
  afterEach(async () => {
    await haraka.accounting.retire()
    await proxy.stop()
    home.remove()
  })

  const inStreams = async () => recipients(await eventsOf(valkey))
  const fullErrors = () => haraka.lines.error.filter((line) => line.includes('cannot spool'))

  test('on_full=drop drops and counts new events at once, and keeps the batch that has its number', async () => {
    haraka = start(proxy.port, home.dir, { ...OPTIONS, on_full: 'drop' })
    const first = haraka.add(BURST)
    await until(() => fullErrors().length > 0)
    let free = false
    void haraka.add(100).then(() => (free = true))
    await new Promise(setImmediate)
    assert.ok(free, 'nobody waits for a drop')
    assert.equal(haraka.accounting.counters.dropped, 100)
    await first
    proxy.mode = 'pass'
    await until(async () => (await inStreams()).length >= BURST)
    await until(async () => {
      const before = haraka.accounting.counters.dropped
      await haraka.add(1)
      return haraka.accounting.counters.dropped === before
    })
    assert.ok(fullErrors().length <= 2, 'said once, and once more where the large batch met a slow server')
  })

  test('on_full=hold keeps hooks waiting, and loses nothing when the server is back in time', async () => {
    haraka = start(proxy.port, home.dir, { ...OPTIONS, on_full: 'hold', on_full_hold_ms: 25_000 })
    let free = 0
    const all = Promise.all([haraka.add(BURST), haraka.add(500).then(() => free++)])
    await until(() => fullErrors().length > 0)
    const later = haraka.add(100).then(() => free++)
    await new Promise((resolve) => setTimeout(resolve, 400))
    assert.equal(free, 0, 'held for longer than max_hold_ms')
    proxy.mode = 'pass'
    await all
    await later
    await until(async () => (await inStreams()).length >= BURST + 600)
    assert.deepEqual(await inStreams(), expected(BURST + 600))
    assert.equal(haraka.accounting.counters.dropped, 0)
  })

  test('on_full=hold drops what waited too long, and lets its hooks go', async () => {
    haraka = start(proxy.port, home.dir, { ...OPTIONS, on_full: 'hold', on_full_hold_ms: 300 })
    const first = haraka.add(BURST)
    await until(() => fullErrors().length > 0)
    await haraka.add(100)
    await first
    assert.equal(haraka.accounting.counters.dropped, 100)
  })

  test('never holds more than memory_max_mb of events', async () => {
    haraka = start(proxy.port, home.dir, {
      ...OPTIONS,
      on_full: 'hold',
      on_full_hold_ms: 500,
      memory_max_mb: 1,
    })
    const all = Promise.all([haraka.add(BURST), haraka.add(BURST), haraka.add(BURST)])
    const { dropped } = haraka.accounting.counters
    assert.ok(dropped > BURST / 2, `${dropped} dropped at once`)
    await all
  })
})
