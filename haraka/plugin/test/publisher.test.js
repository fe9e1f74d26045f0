'use strict'

// The publisher against a real server, with a network in between that has faults.

const assert = require('node:assert/strict')
const { readFileSync, readdirSync, writeFileSync } = require('node:fs')
const path = require('node:path')
const { after, afterEach, before, beforeEach, describe, test } = require('node:test')
const v8 = require('node:v8')
const vm = require('node:vm')

const { Proxy } = require('./support/proxy')
const { answer, expected, recipients, sleep, start, temporaryDirectory, until } = require('./support/process')
const { eventsOf, ledgerOf } = require('./support/streams')
const { Valkey } = require('./support/valkey')

v8.setFlagsFromString('--expose-gc')
const collect = vm.runInNewContext('gc')

/** Bytes of what is still needed. */
function heapUsed() {
  collect()
  return process.memoryUsage().heapUsed
}

// Where the server answers, it has all the time that a slow machine takes; where it does not, its batches are soon on disk. What
// is on disk or in the stream is let go, and nothing else.
const PATIENT = { spool_after_ms: 10_000, max_hold_ms: 20_000, redis: { timeout_ms: 20_000 } }
const SOON = { spool_after_ms: 50, redis: { timeout_ms: 600 } }

describe('the publisher', () => {
  let valkey, proxy, home
  const running = []

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
    await Promise.all(running.splice(0).map(({ accounting }) => accounting.close()))
    await proxy.stop()
    home.remove()
  })

  function process_(options = {}) {
    const started = start(proxy.port, home.dir, { ...PATIENT, ...options })
    running.push(started)
    return started
  }
  async function connected(options) {
    const started = process_(options)
    await until(() => started.accounting.isUp)
    await started.add(1)
    await allOf(1)
    return started
  }
  const inStreams = async () => recipients(await eventsOf(valkey))
  const allOf = (n, ms) => until(async () => (await inStreams()).length >= n, ms)
  const spooled = () => {
    const root = path.join(home.dir, 'accounting_spool')
    return readdirSync(root, { recursive: true }).filter((name) => name.endsWith('.spool'))
  }

  test('has every event in the stream when its hook is let go', async () => {
    const haraka = await connected()
    await haraka.add(50)
    await haraka.add(50, 'bounce')
    assert.deepEqual(await inStreams(), expected(101))
    assert.equal(haraka.accounting.counters.spooled, 0)
  })

  test('gives each event an id of producer, number and index that no other has', async () => {
    const haraka = await connected({ batch_max_events: 7 })
    await Promise.all([haraka.add(40), haraka.add(40, 'deferred'), haraka.add(40, 'bounce')])
    const ids = Object.values(await eventsOf(valkey))
      .flat()
      .map(({ eventId }) => eventId)
    assert.equal(new Set(ids).size, 121)
    for (const id of ids) assert.match(id, /^mx1-[0-9a-f]{12}:\d+:[0-6]$/)
  })

  test('sends what arrives while a batch is on its way as the next one', async () => {
    const haraka = await connected()
    const hooks = []
    for (let i = 0; i < 100; i++) {
      hooks.push(haraka.one())
      await Promise.resolve()
    }
    await Promise.all(hooks)
    const entries = await valkey.with((command) => command('XLEN', '{haraka:accounting}:delivered'))
    assert.equal(entries, 3, 'the very first, one that went at once, and all that came meanwhile')
  })

  test('has the next batch on its way before Haraka goes on with the last one', async () => {
    // Without the proxy, which is a part of this process and as busy.
    const haraka = start(valkey.port, home.dir, PATIENT)
    running.push(haraka)
    await until(() => haraka.accounting.isUp)
    let free
    const busy = answer(() => {
      const end = Date.now() + 500
      while (Date.now() < end);
      free = Date.now()
    })
    haraka.accounting.add('delivered', '"n":1', 'JOB.1', busy)
    await Promise.resolve()
    await haraka.add(1)
    const [[id]] = await valkey.with((command) =>
      command('XREVRANGE', '{haraka:accounting}:delivered', '+', '-', 'COUNT', 1),
    )
    assert.ok(Number(id.split('-')[0]) < free, 'the server had it while Haraka was busy')
  })

  test('sends those events together that come soon after the last publish, until they are many', async () => {
    const haraka = await connected({ publish_interval_ms: 1000 })
    const { batches } = haraka.accounting.counters
    const hooks = []
    for (let i = 0; i < 10; i++) {
      hooks.push(haraka.one())
      await Promise.resolve()
    }
    await Promise.all(hooks)
    assert.ok(haraka.accounting.counters.batches - batches <= 2, 'not one for each')
    const much = haraka.accounting.counters.batches
    await haraka.add(64)
    assert.equal(haraka.accounting.counters.batches, much + 1)
    assert.deepEqual(await inStreams(), expected(75))
    assert.equal(haraka.accounting.counters.spooled, 0)
  })

  test('holds little more than their text for events that wait', async () => {
    const haraka = await connected()
    proxy.mode = 'stall'
    const hooks = [haraka.one()]
    await Promise.resolve()
    const before = heapUsed()
    for (let i = 0; i < 4000; i++) {
      // Added up as event.js does it.
      let text = `"timeLogged":${Date.now()}`
      for (let field = 0; field < 15; field++) text += `,"field ${field}":"` + `value of ${i}` + '"'
      hooks.push(new Promise((resolve) => haraka.accounting.add('delivered', text, 'JOB.1', answer(resolve))))
    }
    await Promise.resolve()
    const held = (heapUsed() - before) / 4000
    assert.ok(held < 1200, `${held} bytes for a text of some 450 and its hook`)
    proxy.mode = 'pass'
    await Promise.all(hooks)
  })

  test('adds nothing twice when replies are swallowed after the script ran', async () => {
    const haraka = await connected(SOON)
    proxy.mode = 'swallow'
    await haraka.add(20)
    assert.equal(spooled().length, 1, 'safe on disk meanwhile')
    await until(async () => (await inStreams()).length > 1)
    proxy.mode = 'pass'
    await haraka.add(20)
    await allOf(41)
    assert.deepEqual(await inStreams(), expected(41))
    assert.ok((await ledgerOf(valkey))['delivered:duplicates'] > 0, 'the batch was sent again')
  })

  test('adds nothing twice when the connection is reset after the script ran', async () => {
    const haraka = await connected(SOON)
    for (let i = 0; i < 5; i++) {
      proxy.reset({ afterRequest: true })
      await haraka.add(10)
    }
    await allOf(51)
    assert.deepEqual(await inStreams(), expected(51))
  })

  test('lets answers go once they are on disk while the server stalls, and brings the events in order afterwards', async () => {
    const haraka = await connected(SOON)
    proxy.mode = 'stall'
    for (let i = 0; i < 10; i++) await haraka.add(10)
    const { spooled, unsafe } = haraka.accounting.counters
    assert.ok(spooled >= 100, 'events of the outage wait for the disk only')
    assert.equal(unsafe, 0)
    proxy.mode = 'pass'
    await haraka.add(1)
    await allOf(102)
    const { delivered } = await eventsOf(valkey)
    const numbers = delivered.map(({ eventId }) => Number(eventId.split(':')[1]))
    assert.deepEqual(
      numbers,
      numbers.toSorted((a, b) => a - b),
    )
    assert.deepEqual(await inStreams(), expected(102))
  })

  test('goes back to publishing directly once the spool is drained, and removes its files', async () => {
    const haraka = await connected(SOON)
    proxy.mode = 'stall'
    await haraka.add(30)
    proxy.mode = 'pass'
    await allOf(31)
    await until(() => spooled().length === 0)
    const { accounting } = haraka
    await until(async () => {
      const before = accounting.counters.spooled
      await haraka.add(1)
      return accounting.counters.spooled === before
    })
    await allOf(haraka.sent())
    assert.deepEqual(await inStreams(), expected(haraka.sent()))
  })

  test('says and counts as dropped what cannot be read of its spool, keeps it, and brings the rest', async () => {
    const haraka = await connected(SOON)
    proxy.mode = 'refuse'
    for (let i = 0; i < 3; i++) await haraka.add(10)
    const [name] = spooled()
    const file = path.join(home.dir, 'accounting_spool', name)
    const bytes = readFileSync(file)
    bytes[bytes.lastIndexOf('\n[2,"mx1-') + 8] ^= 1
    writeFileSync(file, bytes)
    proxy.mode = 'pass'
    await until(() => haraka.lines.error.length > 0)
    assert.match(
      haraka.lines.error.join('\n'),
      /spool: damaged record .* 10 events in \d+ bytes kept in .*\.damaged$/,
    )
    assert.equal(haraka.accounting.counters.dropped, 10)
    await haraka.add(5)
    await allOf(26)
    const lost = Array.from({ length: 10 }, (_, i) => `r${21 + i}@a.test`)
    assert.deepEqual(
      await inStreams(),
      expected(36).filter((rcpt) => !lost.includes(rcpt)),
    )
  })

  test('starts without a server, and brings the events when there is one', async () => {
    proxy.mode = 'refuse'
    const haraka = process_(SOON)
    await haraka.add(25)
    assert.deepEqual(await inStreams(), [])
    proxy.mode = 'pass'
    await allOf(25)
    assert.deepEqual(await inStreams(), expected(25))
  })

  test('keeps publishing what comes while the spool is drained', async () => {
    const haraka = await connected(SOON)
    proxy.mode = 'stall'
    const during = Array.from({ length: 100 }, () => sleep(Math.random() * 300).then(() => haraka.add(5)))
    await sleep(150)
    proxy.mode = 'pass'
    await Promise.all(during)
    await allOf(501)
    assert.deepEqual(await inStreams(), expected(501))
  })

  test('is refused by a full server and brings everything when it has room', async () => {
    const haraka = await connected(SOON)
    await valkey.with((command) => command('CONFIG', 'SET', 'maxmemory', 1))
    try {
      await haraka.add(20)
      assert.equal((await inStreams()).length, 1)
    } finally {
      await valkey.with((command) => command('CONFIG', 'SET', 'maxmemory', 0))
    }
    await allOf(21)
    assert.deepEqual(await inStreams(), expected(21))
  })

  test('loads its script again when the server forgot it', async () => {
    const haraka = await connected()
    await valkey.with((command) => command('SCRIPT', 'FLUSH'))
    await haraka.add(3)
    assert.deepEqual(await inStreams(), expected(4))
    assert.equal(haraka.accounting.counters.spooled, 0)
  })

  test('sends again what the server lost after it had acknowledged it (trap 26)', async () => {
    const haraka = await connected()
    for (let i = 0; i < 5; i++) await haraka.add(10)
    await valkey.with((command) => command('FLUSHALL'))
    await haraka.add(1)
    assert.deepEqual(await inStreams(), expected(52))
    assert.equal(haraka.lines.warn.filter((line) => line.startsWith('gap ')).length, 1)
  })

  test('reports as a gap what the server lost and the ring no longer holds', async () => {
    const haraka = await connected({ ring_seconds: 0 })
    await haraka.add(10)
    await haraka.add(5, 'bounce')
    await sleep(5)
    await valkey.with((command) => command('FLUSHALL'))
    await haraka.add(2)
    await haraka.add(2)
    const ledger = await ledgerOf(valkey)
    assert.equal(ledger['delivered:gap'], 11)
    assert.equal(ledger['bounce:gap'], 5)
    assert.equal((await inStreams()).length, 4)
  })

  test('closes all partitions at once where the server stalls, long before Haraka ends it', async () => {
    const haraka = process_({ ...SOON, partitions: 16, redis: { timeout_ms: 2000 } })
    await until(() => haraka.accounting.isUp)
    proxy.mode = 'stall'
    const hooks = Array.from({ length: 32 }, (_, i) => haraka.one('delivered', `JOB-${i}.1`))
    const begin = performance.now()
    await haraka.accounting.close()
    assert.ok(performance.now() - begin < 30_000, 'asked one after the other they take 32 s and more')
    await Promise.all(hooks)
    assert.equal(haraka.accounting.counters.spooled, 32)
  })

  test('outlives a server that does not tell the wanted headers, whatever the log answers', async () => {
    await valkey.with((command) => command('SET', '{haraka:accounting}:wanted', 'no set'))
    const haraka = process_({ headers: 'x-own' })
    await haraka.accounting.ready()
    await haraka.add(1)
    assert.match(haraka.lines.debug.join('\n'), /WRONGTYPE/)
    assert.deepEqual(haraka.accounting.wanted, ['x-own'])
  })

  test('keeps the headers that were wanted where the server was emptied, and takes what workers want then', async (t) => {
    await valkey.with((command) => command('SADD', '{haraka:accounting}:wanted', '-', 'x-job'))
    const exchanges = []
    const { setTimeout: real } = globalThis
    t.mock.method(globalThis, 'setTimeout', (work, ms, ...rest) => {
      if (ms === 30_000) exchanges.push(work)
      return real(work, ms, ...rest)
    })
    const haraka = process_()
    await until(() => haraka.accounting.wanted.includes('x-job'))
    await valkey.with((command) => command('FLUSHALL'))
    await exchanges[0]()
    assert.deepEqual(haraka.accounting.wanted, ['x-job'])
    await valkey.with((command) => command('SADD', '{haraka:accounting}:wanted', '-'))
    await exchanges[0]()
    assert.deepEqual(haraka.accounting.wanted, [])
  })

  test('leaves a last note that tells what became of the last events', async () => {
    const haraka = await connected()
    const hooks = haraka.add(20)
    await haraka.accounting.close()
    await hooks
    const [, note] = await valkey.with((command) => command('HGETALL', '{haraka:accounting}:nodes'))
    assert.equal(JSON.parse(note).published, 21)
  })

  test('lets answers go after max_hold_ms when neither server nor disk answers, and keeps the events', async () => {
    const haraka = await connected({ ...SOON, max_hold_ms: 100, spool_dir: path.join(__filename, 'spool') })
    const before = haraka.accounting.counters.unsafe
    proxy.mode = 'stall'
    await haraka.add(1)
    assert.equal(haraka.accounting.counters.unsafe, before + 1)
    proxy.mode = 'pass'
    await allOf(2)
  })
})
