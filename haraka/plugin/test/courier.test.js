'use strict'

// One courier and a real server that loses what it had acknowledged. The hands of the clock are the test's.

const assert = require('node:assert/strict')
const { after, afterEach, before, beforeEach, describe, test } = require('node:test')

const { form } = require('../lib/batch')
const { Courier } = require('../lib/courier')
const { ofPartition } = require('../lib/keys')
const { Ring } = require('../lib/ring')
const { log, settings, until } = require('./support/process')
const { Proxy } = require('./support/proxy')
const { eventsOf, ledgerOf } = require('./support/streams')
const { Valkey } = require('./support/valkey')

const PRODUCER = 'mx1-aaaaaaaaaaaa'
const RING_MS = 60_000

describe('a courier', () => {
  let valkey, proxy, courier, logged, now

  before(async () => {
    valkey = await Valkey.start()
  })
  after(() => valkey.stop())
  beforeEach(async () => {
    await valkey.with((command) => command('FLUSHALL'))
    proxy = await Proxy.start(valkey.port)
    logged = log()
    now = 1000
    courier = new Courier({
      redis: settings({ redis: { port: proxy.port, timeout_ms: 600 } }).redis,
      keys: ofPartition('haraka:accounting', 0, 1),
      producer: PRODUCER,
      ring: new Ring(1e6, RING_MS),
      log: logged,
      clock: { now: () => now },
    })
    await courier.ready()
  })
  afterEach(async () => {
    courier.close()
    await proxy.stop()
  })

  const batch = (seq) => form(PRODUCER, seq, [{ type: 'delivered', body: `"n":${seq}` }])
  const deliver = async (...numbers) => {
    for (const seq of numbers) await courier.deliver(batch(seq))
  }
  const inStream = async () => (await eventsOf(valkey)).delivered.map(({ n }) => n)
  const gaps = () => logged.lines.warn.filter((line) => line.startsWith('gap '))
  /** The server loses everything, and its connections. */
  async function fail() {
    proxy.mode = 'refuse'
    await until(() => !courier.isUp)
    await valkey.with((command) => command('FLUSHALL'))
  }
  async function recover() {
    proxy.mode = 'pass'
    await courier.ready()
  }

  test('sends again what a failover lost, although no further batch comes', async () => {
    await deliver(1, 2, 3)
    await fail()
    proxy.mode = 'pass'
    await until(async () => (await inStream()).length === 3)
    assert.deepEqual(await inStream(), [1, 2, 3])
    assert.deepEqual(gaps(), [`gap producer=${PRODUCER} last=0 seq=3 sent_again=3 events_given_up=0`])
  })

  test('sends again what is missing behind what a promoted replica has, and that alone', async () => {
    await deliver(1, 2, 3, 4)
    proxy.mode = 'refuse'
    await until(() => !courier.isUp)
    await valkey.with((command) => command('HSET', '{haraka:accounting}:producers', PRODUCER, '2:1'))
    await recover()
    assert.deepEqual(await inStream(), [1, 2, 3, 4, 3, 4])
  })

  test('sends nothing again to a server that has everything', async () => {
    await deliver(1, 2, 3)
    proxy.reset()
    await until(() => !courier.isUp)
    await courier.ready()
    assert.deepEqual(gaps(), [])
    assert.deepEqual(await ledgerOf(valkey), { 'delivered:published': 3 })
  })

  test('holds what was new when the server answered last, however long the failover takes', async () => {
    await deliver(1)
    now += RING_MS
    await deliver(2)
    now += RING_MS / 2
    await courier.ask((session) => session.wanted())
    await fail()
    now += 100 * RING_MS
    await recover()
    assert.deepEqual(await inStream(), [2])
    assert.equal((await ledgerOf(valkey))['delivered:gap'], 1, 'the first one had been safe for long')
  })

  /** Workers forget the producer, which has been silent for a month. */
  async function forget() {
    proxy.mode = 'refuse'
    await until(() => !courier.isUp)
    await valkey.with((command) => command('DEL', '{haraka:accounting}:producers'))
    now += 30 * 86_400_000
    await recover()
  }
  const doubts = () => logged.lines.warn.filter((line) => line.includes('may stand twice'))

  test('takes what a server had that has forgotten it for safe: it is neither sent again nor a loss', async () => {
    await deliver(1, 2)
    await forget()
    await deliver(3)
    assert.deepEqual(await inStream(), [1, 2, 3])
    assert.deepEqual(await ledgerOf(valkey), { 'delivered:published': 3 })
    assert.match(gaps().join('\n'), /last=0 seq=3 sent_again=1 events_given_up=0$/)
    assert.deepEqual(doubts(), [])
  })

  test('counts as a loss what a server lost that cannot have forgotten it', async () => {
    await deliver(1)
    now += RING_MS
    await deliver(2)
    await fail()
    now += 86_399_000
    await recover()
    assert.equal((await ledgerOf(valkey))['delivered:gap'], 1)
  })

  for (const seq of [1, 3]) {
    test(`names the events of batch ${seq} that may stand twice: sent without an answer before it was forgotten`, async () => {
      if (seq > 1) await deliver(1, 2)
      proxy.mode = 'swallow'
      await assert.rejects(courier.deliver(batch(seq)))
      await forget()
      await deliver(seq, seq + 1)
      assert.deepEqual((await inStream()).slice(-3), [seq, seq, seq + 1])
      const id = `${PRODUCER}:${seq}:0`
      assert.deepEqual(
        doubts().map((line) => line.replace(/.*; /, '')),
        [`eventIds ${id} to ${id}`],
      )
    })
  }
})
