'use strict'

// What a process leaves on disk when it dies is brought by another one.

const assert = require('node:assert/strict')
const { fork } = require('node:child_process')
const { once } = require('node:events')
const {
  appendFileSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} = require('node:fs')
const net = require('node:net')
const path = require('node:path')
const { after, afterEach, before, beforeEach, describe, test } = require('node:test')

const { partitionOf } = require('../lib/keys')
const { SpoolHome, claim } = require('../lib/spool_home')
const { decode, encode } = require('../lib/spool_record')
const { Proxy } = require('./support/proxy')
const { expected, recipients, sleep, start, temporaryDirectory, until } = require('./support/process')
const { eventsOf, ledgerOf } = require('./support/streams')
const { Valkey } = require('./support/valkey')

// Files that were brought go at once. Hooks are not let go before their events are safe, however busy the disk is.
const OPTIONS = { spool_after_ms: 50, max_hold_ms: 20_000, ring_seconds: 0, redis: { timeout_ms: 5000 } }

const OWNER = 'aaaaaaaaaaaa'
const CLAIMER = 'bbbbbbbbbbbb'
const OTHER = 'cccccccccccc'
const fail = (name, error) => assert.fail(`${name}: ${error.message}`)

describe('batches of a dead process', () => {
  let valkey, proxy, home
  const children = []
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
    for (const child of children.splice(0)) child.kill('SIGKILL')
    await Promise.all(running.splice(0).map(({ accounting }) => accounting.retire()))
    await proxy.stop()
    home.remove()
  })

  async function child(options = {}) {
    const forked = fork(path.join(__dirname, 'support', 'dying.js'), [
      proxy.port,
      home.dir,
      JSON.stringify({ ...OPTIONS, ...options }),
    ])
    children.push(forked)
    await once(forked, 'message')
    return forked
  }
  async function add(forked, events, spread = false) {
    forked.send({ events, spread })
    await once(forked, 'message')
  }
  async function kill(forked) {
    forked.kill('SIGKILL')
    await once(forked, 'exit')
  }
  function successor(options = {}) {
    const started = start(proxy.port, home.dir, { ...OPTIONS, ...options })
    running.push(started)
    return started
  }
  const root = () => path.join(home.dir, 'accounting_spool')
  const spooled = () => readdirSync(root(), { recursive: true }).filter((name) => name.endsWith('.spool'))
  const inStreams = async () => recipients(await eventsOf(valkey))
  /** What the only note says of claims. */
  async function lastNote() {
    const [, note] = await valkey.with((command) => command('HGETALL', '{haraka:accounting}:nodes'))
    const { claimed, claimedBytes, claimedDrained } = JSON.parse(note)
    return { claimed, claimedBytes, claimedDrained }
  }
  const drained = () => until(() => spooled().length === 0)

  /** A dead process that left `events` events in one spool file, `batches` batches at least. */
  async function leftBehind(events = 30) {
    proxy.mode = 'refuse'
    const forked = await child()
    for (let i = 0; i < 3; i++) await add(forked, events / 3)
    await kill(forked)
    const [file] = spooled()
    return path.join(root(), file)
  }

  test('are brought by the next one, each event once, and their files removed', async () => {
    await leftBehind(30)
    proxy.mode = 'pass'
    successor()
    await drained()
    assert.deepEqual(await inStreams(), expected(30))
    await until(() => readdirSync(root()).length === 1)
  })

  test('that had arrived already are duplicates, not doubled', async () => {
    const forked = await child()
    await add(forked, 1)
    await until(async () => (await inStreams()).length === 1)
    proxy.mode = 'swallow'
    await add(forked, 10)
    await until(async () => (await inStreams()).length > 1)
    await kill(forked)
    proxy.mode = 'pass'
    const haraka = successor()
    await drained()
    assert.deepEqual(await inStreams(), expected(11))
    assert.ok((await ledgerOf(valkey))['delivered:duplicates'] > 0)
    assert.deepEqual(haraka.lines.warn.filter(isDoubt), [])
  })

  /** A dead process' spool: a batch that had arrived, although it had no answer, and one that was never sent. */
  async function ambiguous() {
    const forked = await child({ spool_after_ms: 250 })
    await add(forked, 1)
    await until(async () => (await inStreams()).length === 1)
    await drained()
    proxy.mode = 'swallow'
    await add(forked, 5)
    await until(async () => (await inStreams()).length === 6)
    proxy.mode = 'refuse'
    await add(forked, 5)
    await kill(forked)
    // Workers forget it after a month.
    await valkey.with((command) => command('DEL', '{haraka:accounting}:producers'))
    const [name] = spooled()
    return path.join(root(), name)
  }
  const isDoubt = (line) => line.includes('may stand twice')

  test('are named where they may stand twice: sent long ago, by a producer that the server has forgotten', async () => {
    const file = await ambiguous()
    const records = []
    const bytes = readFileSync(file)
    for (let at = 0; at < bytes.length; at = records.at(-1).end) records.push(decode(bytes, at))
    assert.ok(Date.now() - records[0].sent < 60_000, 'the file says when')
    assert.deepEqual(
      records.slice(1).filter(({ sent }) => sent > 0),
      [],
    )
    const monthAgo = Date.now() - 30 * 86_400_000
    writeFileSync(
      file,
      Buffer.concat(records.map(({ batch, tag, sent }) => encode(batch, tag, sent && monthAgo))),
    )
    proxy.mode = 'pass'
    const haraka = successor()
    await drained()
    const twice = expected(6).filter((rcpt) => rcpt !== 'r0@a.test')
    assert.deepEqual(await inStreams(), expected(11).concat(twice).sort())
    const [line, ...more] = haraka.lines.warn.filter(isDoubt)
    const [producer] = path.basename(file).split('~')
    assert.match(line, new RegExp(`^5 events may .* eventIds ${producer}:2:0 to ${producer}:2:4$`))
    assert.deepEqual(more, [])
  })

  test('are named, all of a file, where another process had begun to bring it', async () => {
    const file = await ambiguous()
    renameSync(file, file.replace(/\.spool$/, '.sent.spool'))
    proxy.mode = 'pass'
    const haraka = successor()
    await drained()
    assert.match(haraka.lines.warn.find(isDoubt), /^10 events may stand twice/)
  })

  test('are not doubted where the server cannot have forgotten their producer yet', async () => {
    await ambiguous()
    proxy.mode = 'pass'
    const haraka = successor()
    await drained()
    assert.deepEqual(haraka.lines.warn.filter(isDoubt), [])
  })

  test('stand in a file that says so, from when they are about to be sent', async () => {
    await leftBehind(30)
    await valkey.with((command) => command('SET', '{haraka:accounting}:ledger', 'no hash'))
    const claimer = await child()
    await until(() => spooled().some((name) => name.includes('~') && name.endsWith('~1.spool')))
    proxy.mode = 'pass'
    await until(() => spooled().some((name) => name.endsWith('~1.sent.spool')))
    await kill(claimer)
    await valkey.with((command) => command('DEL', '{haraka:accounting}:ledger'))
    successor()
    await drained()
    assert.deepEqual(await inStreams(), expected(30))
  })

  test('of which only the first had arrived are brought under the number that each has (trap 25)', async () => {
    const forked = await child()
    await add(forked, 1)
    await until(async () => (await inStreams()).length === 1)
    proxy.mode = 'swallow'
    await add(forked, 5)
    await until(async () => (await inStreams()).length === 6)
    proxy.mode = 'refuse'
    proxy.reset()
    await add(forked, 5)
    await kill(forked)
    proxy.mode = 'pass'
    successor()
    await drained()
    assert.deepEqual(await inStreams(), expected(11))
  })

  test('are brought although the server does not know the producer any more (trap 28)', async () => {
    proxy.mode = 'pass'
    const forked = await child()
    await add(forked, 5)
    await until(async () => (await inStreams()).length === 5)
    await drained()
    proxy.mode = 'refuse'
    proxy.reset()
    await add(forked, 5)
    await kill(forked)
    await valkey.with((command) => command('DEL', '{haraka:accounting}:producers'))
    proxy.mode = 'pass'
    const haraka = successor()
    await drained()
    assert.deepEqual(await inStreams(), expected(10))
    assert.equal(haraka.lines.warn.filter((line) => line.startsWith('gap ')).length, 1)
  })

  test('are left alone while their process lives, even when it is stopped', async () => {
    proxy.mode = 'refuse'
    const forked = await child()
    await add(forked, 5)
    forked.kill('SIGSTOP')
    const before = spooled()
    const haraka = successor()
    await haraka.add(1)
    await sleep(200)
    assert.deepEqual(
      spooled().filter((name) => before.includes(name)),
      before,
    )
    forked.kill('SIGCONT')
  })

  test('are claimed again when their claimer dies too', async () => {
    await leftBehind(30)
    const claimer = await child()
    await until(() => readdirSync(root()).some((name) => name.includes('~')))
    await kill(claimer)
    proxy.mode = 'pass'
    successor()
    await drained()
    assert.deepEqual(await inStreams(), expected(30))
  })

  test('are brought although those of another cannot be read, which is told once', async () => {
    const file = await leftBehind(30)
    const bad = path.join(root(), '000000000000')
    mkdirSync(path.join(bad, 'mx1-000000000000~1.spool'), { recursive: true })
    proxy.mode = 'pass'
    const haraka = successor()
    await until(async () => (await inStreams()).length === 30)
    await until(() => !spooled().some((name) => name.endsWith(path.basename(file))))
    assert.deepEqual(await inStreams(), expected(30))
    assert.equal(haraka.lines.error.filter((line) => line.includes('~000000000000')).length, 1)
  })

  test('are brought to one partition although another refuses its own, which is told', async () => {
    proxy.mode = 'refuse'
    const forked = await child({ partitions: 2 })
    await add(forked, 40, true)
    await kill(forked)
    const arrived = async (index) => recipients(await eventsOf(valkey, `haraka:accounting:${index}`)).length
    const second = Array.from({ length: 40 }, (_, i) => partitionOf(`JOB-${i}.1`, 2)).filter(Boolean).length
    const ledger = '{haraka:accounting:0}:ledger'
    await valkey.with((command) => command('SET', ledger, 'no hash'))
    proxy.mode = 'pass'
    const haraka = successor({ partitions: 2 })
    await until(async () => (await arrived(1)) === second)
    assert.equal(await arrived(0), 0)
    assert.match(
      haraka.lines.warn.join('\n'),
      /cannot publish to {haraka:accounting:0}: .*ledger is a string/,
    )
    await valkey.with((command) => command('DEL', ledger))
    await drained()
    assert.equal(await arrived(0), 40 - second)
  })

  test('are brought again when the server loses them within ring_seconds', async () => {
    await leftBehind(30)
    proxy.mode = 'pass'
    successor({ ring_seconds: 2 })
    await until(async () => (await inStreams()).length === 30)
    await valkey.with((command) => command('FLUSHALL'))
    await until(async () => (await inStreams()).length === 30)
    await drained()
    assert.deepEqual(await inStreams(), expected(30))
  })

  test('count with all their files against the room of the spool', async () => {
    proxy.mode = 'refuse'
    for (let i = 0; i < 2; i++) {
      const forked = await child()
      await add(forked, 4000)
      await kill(forked)
    }
    const haraka = successor({ spool_max_mb: 1 })
    await until(async () => {
      await haraka.add(1)
      return haraka.lines.error.some((line) => /cannot spool, on_full=drop: no room/.test(line))
    })
    proxy.mode = 'pass'
    await until(async () => (await inStreams()).length >= 8000)
    await drained()
  })

  test("stand in the claimer's note with their producer, until they are brought and after", async () => {
    const file = await leftBehind(30)
    const left = {
      claimed: [path.basename(file).split('~')[0]],
      claimedBytes: statSync(file).size,
      claimedDrained: 0,
    }
    await valkey.with((command) => command('SET', '{haraka:accounting}:ledger', 'no hash'))
    proxy.mode = 'pass'
    const claimer = successor()
    await until(() => claimer.lines.warn.length > 0)
    await claimer.accounting.retire()
    running.splice(0)
    assert.deepEqual(await lastNote(), left)
    await valkey.with((command) => command('DEL', '{haraka:accounting}:ledger', '{haraka:accounting}:nodes'))
    const last = successor()
    await drained()
    await last.accounting.retire()
    running.splice(0)
    assert.deepEqual(await lastNote(), { ...left, claimedBytes: 0, claimedDrained: 30 })
  })

  test('are claimed by one of several that come at once', async () => {
    await leftBehind(30)
    proxy.mode = 'pass'
    for (let i = 0; i < 4; i++) successor()
    await drained()
    assert.deepEqual(await inStreams(), expected(30))
    assert.equal((await ledgerOf(valkey))['delivered:duplicates'], undefined)
  })

  test('stay for others when accounting retires while they wait, and it makes no directory any more', async (t) => {
    await leftBehind(30)
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const retired = start(proxy.port, home.dir, OPTIONS)
    t.mock.timers.tick(0)
    await until(() => readdirSync(root()).some((name) => name.includes('~')))
    await retired.accounting.retire()
    const before = readdirSync(root())
    assert.equal(before.length, 1)
    t.mock.timers.tick(120_000)
    // Another one's directory takes as long to make as one of the retired would.
    for (const id of [OWNER, CLAIMER, OTHER]) {
      const another = new SpoolHome(root(), id)
      await another.dir()
      await another.close()
    }
    assert.deepEqual(readdirSync(root()), before)
  })

  test('are brought without a torn last record, which is reported', async () => {
    const file = await leftBehind(30)
    appendFileSync(file, readFileSync(file).subarray(0, 200))
    proxy.mode = 'pass'
    const haraka = successor()
    await drained()
    assert.deepEqual(await inStreams(), expected(30))
    assert.match(haraka.lines.warn.join('\n'), /torn last record .* 200 bytes skipped/)
  })

  test('are brought up to a damaged record, and the rest is kept', async () => {
    const file = await leftBehind(30)
    const bytes = readFileSync(file)
    bytes[bytes.length - 20] ^= 1
    writeFileSync(file, bytes)
    proxy.mode = 'pass'
    const haraka = successor()
    await drained()
    const events = await inStreams()
    assert.ok(events.length >= 1 && events.length < 30, `${events.length} events`)
    assert.match(haraka.lines.error.join('\n'), /damaged bytes .*\.spool\.damaged/)
    assert.equal(
      readdirSync(root(), { recursive: true }).filter((name) => name.endsWith('.damaged')).length,
      1,
    )
  })

  test('are brought in the order of their files, the tenth after the ninth', async () => {
    const file = await leftBehind(30)
    const bytes = readFileSync(file, 'latin1')
    const records = bytes.split(/(?<=\n)(?=\[2,"mx1-)/)
    const dir = path.dirname(file)
    const producer = path.basename(file).split('~')[0]
    writeFileSync(file, '')
    for (const [i, record] of records.entries()) {
      writeFileSync(path.join(dir, `${producer}~${9 + i}.spool`), Buffer.from(record, 'latin1'))
    }
    assert.ok(records.length > 1)
    proxy.mode = 'pass'
    successor()
    await drained()
    assert.deepEqual(await inStreams(), expected(30))
  })
})

describe('the directory of a process', () => {
  let home
  beforeEach(() => {
    home = temporaryDirectory()
  })
  afterEach(() => home.remove())

  test('is not claimed while its process lives, and is as soon as it has closed it', async () => {
    const living = new SpoolHome(home.dir, OWNER)
    writeFileSync(path.join(await living.dir(), 'p~1.spool'), 'x')
    assert.deepEqual(await claim(home.dir, CLAIMER, fail), [])
    await living.close()
    assert.deepEqual(await claim(home.dir, CLAIMER, fail), [path.join(home.dir, `${CLAIMER}~${OWNER}`)])
  })

  test('is gone when it is closed empty', async () => {
    const living = new SpoolHome(home.dir, OWNER)
    await living.dir()
    await living.close()
    assert.deepEqual(readdirSync(home.dir), [])
  })

  test('is made again when somebody removed it', async () => {
    const living = new SpoolHome(path.join(home.dir, 'spool'), OWNER)
    await living.dir()
    rmSync(path.join(home.dir, 'spool'), { recursive: true })
    mkdirSync(path.join(home.dir, 'spool'))
    assert.equal(readdirSync(await living.dir()).length, 1)
    assert.deepEqual(await claim(path.join(home.dir, 'spool'), CLAIMER, fail), [])
    await living.close()
  })

  test('is not made again where spool_dir itself is gone, which is not made in its place', async () => {
    const root = path.join(home.dir, 'spool')
    const living = new SpoolHome(root, OWNER)
    await living.dir()
    renameSync(root, `${root}.away`)
    for (let i = 0; i < 2; i++) await assert.rejects(living.dir(), { code: 'ENOENT' })
    assert.deepEqual(readdirSync(home.dir), ['spool.away'])
    renameSync(`${root}.away`, root)
    assert.equal(await living.dir(), path.join(root, OWNER))
    await living.close()
  })

  test('is not made again once it is closed, also while it was being made', async () => {
    const closed = new SpoolHome(home.dir, OWNER)
    const making = closed.dir()
    await closed.close()
    await making
    await assert.rejects(closed.dir(), /closed/)
    assert.deepEqual(readdirSync(home.dir), [])
  })

  test('outlives every error of its socket', async (t) => {
    const servers = []
    const { createServer } = net
    t.mock.method(net, 'createServer', (...args) => {
      servers.push(createServer(...args))
      return servers.at(-1)
    })
    const living = new SpoolHome(home.dir, OWNER)
    await living.dir()
    for (let i = 0; i < 3; i++) servers[0].emit('error', new Error('accept ENFILE'))
    assert.deepEqual(await claim(home.dir, CLAIMER, fail), [])
    await living.close()
  })

  test('works below a path that is too long for a socket', async () => {
    const deep = path.join(home.dir, 'd'.repeat(120))
    const living = new SpoolHome(deep, OWNER)
    writeFileSync(path.join(await living.dir(), 'p~1.spool'), 'x')
    assert.deepEqual(await claim(deep, CLAIMER, fail), [])
    await living.close()
    assert.equal((await claim(deep, CLAIMER, fail)).length, 1)
  })

  test("that is being made is nobody's to claim", async () => {
    mkdirSync(path.join(home.dir, `.${OTHER}`))
    assert.deepEqual(await claim(home.dir, CLAIMER, fail), [])
    assert.deepEqual(readdirSync(home.dir), [`.${OTHER}`])
  })

  test('shares a directory with the mail queue and other things, none of which is touched', async () => {
    mkdirSync(path.join(home.dir, 'queue'))
    writeFileSync(path.join(home.dir, 'queue', '1795373309671_0_1_1_1_1_mx1'), 'mail')
    for (const name of ['empty', '.hidden', OWNER.toUpperCase(), `${OWNER}~old`, `${OWNER}0`])
      mkdirSync(path.join(home.dir, name))
    writeFileSync(path.join(home.dir, 'notes.txt'), 'x')
    const before = readdirSync(home.dir, { recursive: true })
    assert.deepEqual(await claim(home.dir, CLAIMER, fail), [])
    assert.deepEqual(readdirSync(home.dir, { recursive: true }), before)
  })

  test("is claimed although old hidden files of somebody else's lie beside it", async () => {
    const longAgo = new Date(Date.now() - 2 * 3_600_000)
    writeFileSync(path.join(home.dir, '.keep'), '')
    utimesSync(path.join(home.dir, '.keep'), longAgo, longAgo)
    mkdirSync(path.join(home.dir, OWNER))
    assert.deepEqual(await claim(home.dir, CLAIMER, fail), [path.join(home.dir, `${CLAIMER}~${OWNER}`)])
  })

  test('is claimed although another entry cannot be dealt with, which is told', async () => {
    const longAgo = new Date(Date.now() - 2 * 3_600_000)
    const bad = path.join(home.dir, `.${OTHER}`)
    writeFileSync(bad, 'a file where a directory is expected')
    utimesSync(bad, longAgo, longAgo)
    mkdirSync(path.join(home.dir, OWNER))
    const told = []
    const mine = await claim(home.dir, CLAIMER, (name, error) => told.push([name, error.code]))
    assert.deepEqual(mine, [path.join(home.dir, `${CLAIMER}~${OWNER}`)])
    assert.deepEqual(told, [[`.${OTHER}`, 'ENOTDIR']])
  })
})
