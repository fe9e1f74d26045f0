'use strict'

// Whoever can write below spool_dir writes records with a good checksum, links and pipes. None of it is published, followed
// or waited for, and what stands behind it is brought.

const assert = require('node:assert/strict')
const { execFileSync } = require('node:child_process')
const { createHash } = require('node:crypto')
const {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} = require('node:fs')
const path = require('node:path')
const { after, afterEach, before, beforeEach, describe, test } = require('node:test')

const { Backlog } = require('../lib/backlog')
const { form } = require('../lib/batch')
const { Spool } = require('../lib/spool')
const { SpoolFile } = require('../lib/spool_file')
const { claim } = require('../lib/spool_home')
const { DAMAGED, INCOMPLETE, decode, encode } = require('../lib/spool_record')
const { start, temporaryDirectory, until } = require('./support/process')
const { eventsOf } = require('./support/streams')
const { Valkey } = require('./support/valkey')

const TAG = 'haraka:accounting'
const DEAD = 'aaaaaaaaaaaa'
const PRODUCER = `mx1-${DEAD}`
const EVENTS = '[{"n":1}]'

/** A record of these fields whose checksum is right. */
function signed(fields, payload = EVENTS) {
  const sum = createHash('sha256').update(JSON.stringify(fields)).update(payload).digest('hex').slice(0, 16)
  return Buffer.from(`${JSON.stringify([...fields, sum])}\n${payload}\n`)
}

const usual = { version: 2, producer: PRODUCER, tag: TAG, seq: 2, parts: [['bounce', 1, 9]], sent: 0 }
const record = (changed, payload) => signed(Object.values({ ...usual, ...changed }), payload)
const good = (seq) => encode(form(PRODUCER, seq, [{ type: 'bounce', body: `"n":${seq}` }]), TAG)
const bounce = (count, bytes = 9) => ({ parts: [['bounce', count, bytes]] })

const HOSTILE = {
  'a negative version': record({ version: -1 }),
  'a version that is no number': record({ version: null }),
  'a producer that is a number': record({ producer: 7 }),
  'a producer without a name': record({ producer: '' }),
  'a producer with a line break': record({ producer: 'a\nb' }),
  'a producer that leads elsewhere': record({ producer: '../../x' }),
  'a producer of 201 characters': record({ producer: 'p'.repeat(201) }),
  'another producer': record({ producer: 'mx1-bbbbbbbbbbbb' }),
  'another hash tag': record({ tag: 'other' }),
  'a hash tag with braces': record({ tag: 'a}{b' }),
  'a hash tag that is an object': record({ tag: {} }),
  'a hash tag of 201 characters': record({ tag: 't'.repeat(201) }),
  'a seq that is text': record({ seq: '2' }),
  'a seq of 0': record({ seq: 0 }),
  'a negative seq': record({ seq: -2 }),
  'a broken seq': record({ seq: 2.5 }),
  'a seq of 16 digits': record({ seq: 1e15 }),
  'a seq that is not there': record({ seq: null }),
  'no parts': record({ parts: [] }, ''),
  'parts that are a number': record({ parts: 5 }),
  'parts that are text': record({ parts: 'abc' }),
  'the type __proto__': record({ parts: [['__proto__', 1, 9]] }),
  'the type constructor': record({ parts: [['constructor', 1, 9]] }),
  'a type that is a list': record({ parts: [[['bounce'], 1, 9]] }),
  'a type twice': record({ parts: [['bounce', 1, 9], ['bounce', 1, 9]] }, EVENTS + EVENTS), // prettier-ignore
  'a negative count': record(bounce(-1)),
  'a count of 0': record(bounce(0, 2), '[]'),
  'a count that is text': record(bounce('1')),
  'a huge count': record(bounce(1e300)),
  'more events than there are': record(bounce(2)),
  'fewer events than there are': record(bounce(1, 17), '[{"n":1},{"n":2}]'),
  'negative bytes': record({ parts: [['bounce', 1, 18], ['deferred', 1, -9]] }), // prettier-ignore
  'more bytes than a batch has': record(bounce(1, 2 ** 40)),
  'more bytes than there are': record(bounce(1, 100)),
  'an object instead of events': record(bounce(1, 7), '{"n":1}'),
  'no JSON': record(bounce(1, 9), '[{"n":1},'),
  'a negative time': record({ sent: -1 }),
  'a time that is text': record({ sent: 'now' }),
  'another checksum': Buffer.from(
    record({})
      .toString()
      .replace(/\w{16}"/, '0000000000000000"'),
  ),
  'no checksum': Buffer.from('[]\nx\n'),
  'an object': Buffer.from('{"length":7}\n[]\n'),
  nothing: Buffer.from('\n\n\n'),
  'a list without end': Buffer.from(`${'['.repeat(3000)}\n`),
}

describe('a record with a good checksum', () => {
  test('and usual values is one', () => {
    assert.equal(decode(record({})).batch.seq, 2)
  })

  for (const [what, bytes] of Object.entries(HOSTILE)) {
    test(`is damaged with ${what}`, async () => {
      const home = temporaryDirectory()
      const name = path.join(home.dir, 'x.spool')
      writeFileSync(name, Buffer.concat([bytes, good(3)]))
      const file = await SpoolFile.existing(name, { producer: PRODUCER, tag: TAG })
      const { records, stop, why } = await file.read(1e6)
      assert.deepEqual([records, stop], [[], DAMAGED])
      assert.match(why, /\w/)
      assert.equal((await file.skip()).bytes, bytes.length)
      assert.deepEqual(
        (await file.read(1e6)).records.map(({ batch }) => batch.seq),
        [3],
      )
      await file.close()
      home.remove()
    })
  }

  test('that was cut off the file while its process lives is counted, and nothing waits for it', async () => {
    const home = temporaryDirectory()
    const spool = new Spool({ home: { dir: () => home.dir }, name: PRODUCER, tag: TAG, maxBytes: 1e6 })
    for (const seq of [1, 2]) await spool.append(form(PRODUCER, seq, [{ type: 'bounce', body: '"n":1' }]))
    truncateSync(path.join(home.dir, `${PRODUCER}~1.spool`))
    await assert.rejects(
      spool.peek(1e6),
      (error) => error.events === 2 && /the file was cut/.test(error.message),
    )
    assert.equal(spool.isEmpty, true)
    assert.deepEqual(readdirSync(home.dir), [`${PRODUCER}~1.sent.spool.damaged`])
    home.remove()
  })

  test('is torn at the end of a file alone: a length that is wrong keeps nothing back', () => {
    const torn = good(1).subarray(0, -3)
    assert.equal(decode(torn).stop, INCOMPLETE)
    assert.equal(decode(Buffer.concat([torn, Buffer.from('\n'), good(2)])).stop, DAMAGED)
  })

  test('is found again behind megabytes of what looks like one, in one pass', async () => {
    const home = temporaryDirectory()
    const name = path.join(home.dir, 'x.spool')
    const claims = signed([2, PRODUCER, TAG, 1, [['bounce', 1, 8_000_000]], 0]).subarray(0, -10)
    writeFileSync(name, Buffer.concat([...Array.from({ length: 80_000 }, () => claims), good(9)]))
    const file = await SpoolFile.existing(name)
    const begun = performance.now()
    assert.equal((await file.read(1)).stop, DAMAGED)
    await file.skip()
    assert.ok(performance.now() - begun < 20_000)
    assert.equal((await file.read(1)).records[0].batch.seq, 9)
    await file.close()
    home.remove()
  })
})

describe('below spool_dir', () => {
  let valkey, home, haraka
  before(async () => {
    valkey = await Valkey.start()
  })
  after(() => valkey.stop())
  beforeEach(async () => {
    await valkey.with((command) => command('FLUSHALL'))
    home = temporaryDirectory()
    mkdirSync(dead(), { recursive: true })
  })
  afterEach(async () => {
    await haraka?.accounting.retire()
    haraka = undefined
    home.remove()
  })
  const root = () => path.join(home.dir, 'accounting_spool')
  const dead = (name = '') => path.join(root(), DEAD, name)
  const numbers = async () => (await eventsOf(valkey)).bounce.map(({ n }) => n)
  const all = () => readdirSync(root(), { recursive: true })
  const brought = async (count) => {
    haraka = start(valkey.port, home.dir, { ring_seconds: 0 })
    await until(async () => (await numbers()).length >= count)
    await until(() => !all().some((name) => name.endsWith('.spool') && name.includes('mx1-')))
  }

  test('hostile records are kept and counted, told once with file and offset, and hold up none of those around them', async () => {
    const bad = [HOSTILE['a negative count'], HOSTILE['the type __proto__'], HOSTILE['a seq that is text']]
    const content = Buffer.concat([good(1), bad[0], good(2), ...bad.slice(1), good(3)])
    writeFileSync(dead(`${PRODUCER}~1.spool`), content)
    writeFileSync(dead(`${PRODUCER}~2.spool`), good(4))
    await brought(4)
    assert.deepEqual(await numbers(), [1, 2, 3, 4])
    const [kept, ...more] = all().filter((name) => name.endsWith('.damaged'))
    assert.deepEqual(more, [])
    assert.deepEqual(readFileSync(path.join(root(), kept)), content)
    const [told, ...rest] = haraka.lines.error
    const what = `${bad[0].length} damaged bytes at ${good(1).length} of ${PRODUCER}~1.sent.spool`
    assert.ok(told.startsWith(`${what} (parts: `), told)
    assert.deepEqual(rest, [])
    assert.equal(haraka.accounting.counters.damaged, 2)
    assert.equal(haraka.accounting.counters.dropped, 0)
  })

  test('links, pipes and directories in the place of spool files are told and left alone', async () => {
    const elsewhere = path.join(home.dir, 'elsewhere.spool')
    writeFileSync(elsewhere, good(7))
    symlinkSync(elsewhere, dead(`${PRODUCER}~1.spool`))
    execFileSync('mkfifo', [dead(`${PRODUCER}~2.spool`)])
    mkdirSync(dead(`${PRODUCER}~3.spool`))
    writeFileSync(dead('odd name~4.spool'), good(8))
    writeFileSync(dead(`${PRODUCER}~5.spool`), good(5))
    haraka = start(valkey.port, home.dir, { ring_seconds: 0 })
    await until(async () => (await numbers()).length > 0)
    await until(() => !all().some((name) => name.endsWith('~5.spool') || name.endsWith('~5.sent.spool')))
    assert.deepEqual(await numbers(), [5])
    assert.deepEqual(readFileSync(elsewhere), good(7))
    for (const name of [1, 2, 3].map((number) => `${PRODUCER}~${number}.spool`).concat('odd name~4.spool')) {
      assert.ok(
        all().some((each) => each.endsWith(name)),
        name,
      )
      assert.equal(haraka.lines.error.filter((line) => line.includes(`/${name}: a regular file `)).length, 1)
    }
  })

  test('a link in the place of a directory is neither claimed nor cleared', async () => {
    const elsewhere = path.join(home.dir, 'elsewhere')
    mkdirSync(elsewhere)
    writeFileSync(path.join(elsewhere, `${PRODUCER}~1.spool`), good(7))
    writeFileSync(path.join(elsewhere, 'alive'), "somebody else's")
    const links = ['bbbbbbbbbbbb', 'cccccccccccc~dddddddddddd', '.eeeeeeeeeeee']
    for (const link of links) symlinkSync(elsewhere, path.join(root(), link))
    const longAgo = String(Date.now() / 1000 - 7200)
    execFileSync('touch', ['-h', '-d', `@${longAgo}`, path.join(root(), '.eeeeeeeeeeee')])
    execFileSync('touch', ['-d', `@${longAgo}`, elsewhere])
    const told = []
    const mine = await claim(root(), 'cccccccccccc', (name, error) => told.push([name, error.code]))
    assert.deepEqual(mine, [path.join(root(), `cccccccccccc~${DEAD}`)])
    assert.deepEqual(
      told.sort(),
      links.map((name) => [name, 'ENOTDIR']).sort((a, b) => (a[0] < b[0] ? -1 : 1)),
    )
    assert.deepEqual(readdirSync(elsewhere).sort(), ['alive', `${PRODUCER}~1.spool`])
    assert.ok(links.every((name) => existsSync(path.join(root(), name))))
  })

  test('a backlog of nothing but damage is kept, and leaves no keys on the server', async () => {
    writeFileSync(dead(`${PRODUCER}~1.spool`), 'x\n'.repeat(200_000))
    const [backlog] = await Backlog.in(dead())
    assert.equal(backlog.tag, undefined)
    await brought(0)
    await until(() => all().some((name) => name.endsWith('.damaged')))
    const keys = await valkey.with((command) => command('KEYS', '*undefined*'))
    assert.deepEqual(keys, [])
  })
})
