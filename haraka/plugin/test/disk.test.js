'use strict'

// The publisher with a disk that is slow or fails, while the server is away.

const assert = require('node:assert/strict')
const { after, afterEach, before, beforeEach, describe, test } = require('node:test')

const { start } = require('./support/disk')
const { expected, recipients, temporaryDirectory, until } = require('./support/process')
const { Proxy } = require('./support/proxy')
const { eventsOf, ledgerOf } = require('./support/streams')
const { Valkey } = require('./support/valkey')

describe('with a disk that is slow or fails', () => {
  let valkey, proxy, home, haraka

  before(async () => {
    valkey = await Valkey.start()
  })
  after(() => valkey.stop())
  beforeEach(async () => {
    await valkey.with((command) => command('FLUSHALL'))
    proxy = await Proxy.start(valkey.port)
    home = temporaryDirectory()
  })
  afterEach(async () => {
    proxy.mode = 'pass'
    await haraka.close()
    await proxy.stop()
    home.remove()
  })

  const inStreams = async () => recipients(await eventsOf(valkey))
  const arrived = (n) => until(async () => (await inStreams()).length >= n)

  async function connected(options) {
    haraka = start(proxy.port, home.dir, { spool_after_ms: 50, ...options })
    await haraka.courier.ready()
    await haraka.add(1)
    return haraka
  }

  test('sends no batch before the last one is answered, although that is on disk meanwhile', async () => {
    const { publisher, disk, counters, one } = await connected({
      redis: { timeout_ms: 10_000 },
      spool_after_ms: 250,
    })
    // On a slow machine even the first one can have gone by way of the disk.
    await until(() => publisher.isIdle)
    const before = counters.spooled
    disk.hang()
    proxy.mode = 'swallow'
    let answered = 0
    one(() => one(() => answered++))
    await arrived(2)
    // The connection is lost; a new one brings the batch again, which the disk has not taken yet.
    proxy.mode = 'pass'
    proxy.reset()
    await until(() => haraka.courier.isUp && proxy.connections === 2)
    proxy.mode = 'swallow'
    await until(async () => (await ledgerOf(valkey))['delivered:duplicates'] === 1)
    disk.go()
    await until(() => counters.spooled === before + 2)
    assert.deepEqual(await inStreams(), expected(2), 'the third is on disk only')
    assert.equal(answered, 1)
    proxy.mode = 'pass'
    proxy.reset()
    await until(() => publisher.isIdle)
    assert.deepEqual(await inStreams(), expected(3))
  })
  const said = (level, text) => haraka.lines[level].filter((line) => line.includes(text)).length

  test('a write that fails drops nothing, whatever on_full says: the events wait in memory for the next one', async () => {
    const { disk, counters, add } = await connected({ on_full: 'drop', max_hold_ms: 100 })
    disk.error = 'EIO'
    proxy.mode = 'stall'
    await Promise.all([add(5), until(() => disk.attempts > 0).then(() => add(5))])
    await until(() => disk.attempts > 3)
    assert.equal(counters.unsafe, 10)
    assert.deepEqual([counters.dropped, counters.spooled], [0, 0])
    disk.error = undefined
    await until(() => counters.spooled === 10)
    proxy.mode = 'pass'
    await arrived(11)
    assert.deepEqual(await inStreams(), expected(11))
    assert.equal(said('error', 'cannot spool'), 1)
    assert.equal(said('info', 'over: cannot spool'), 1)
  })

  test('on_full=hold holds hooks also while a disk that failed is tried again', async () => {
    const { disk, counters, add } = await connected({
      on_full: 'hold',
      on_full_hold_ms: 20_000,
      max_hold_ms: 100,
      batch_max_events: 1,
    })
    disk.error = 'EMFILE'
    proxy.mode = 'stall'
    let free = 0
    const hooks = [add(1).then(() => free++), add(1).then(() => free++)]
    await until(() => disk.attempts > 0)
    disk.takesMs = 150
    await until(() => disk.attempts > 3)
    assert.deepEqual([free, counters.unsafe], [0, 0])
    disk.error = undefined
    await Promise.all(hooks)
    assert.deepEqual([counters.spooled, counters.unsafe, counters.dropped], [2, 0, 0])
  })

  test('says once that events are dropped for want of memory, and once that it is over', async () => {
    const { disk, counters, add } = await connected({ on_full: 'drop', max_hold_ms: 100, memory_max_mb: 1 })
    disk.error = 'EIO'
    proxy.mode = 'stall'
    await Promise.all([add(1), until(() => disk.attempts > 0).then(() => add(60_000))])
    await add(100)
    assert.ok(counters.dropped > 100, `${counters.dropped} dropped`)
    assert.equal(said('error', 'memory_max_mb=1'), 1)
    disk.error = undefined
    await until(() => haraka.publisher.spoolBytes > 0 && counters.spooled + counters.dropped === 60_101)
    assert.equal(said('error', 'memory_max_mb=1'), 1)
    assert.equal(said('info', 'over: events dropped: memory_max_mb=1'), 1)
  })
})
