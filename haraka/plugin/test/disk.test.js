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
    await until(() => counters.spooled === 2)
    assert.deepEqual(await inStreams(), expected(2), 'the third is on disk only')
    assert.equal(answered, 1)
    proxy.mode = 'pass'
    proxy.reset()
    await until(() => publisher.isIdle)
    assert.deepEqual(await inStreams(), expected(3))
  })
})
