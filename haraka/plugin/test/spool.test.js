'use strict'

const assert = require('node:assert/strict')
const { execFileSync } = require('node:child_process')
const { createHash } = require('node:crypto')
const { readdirSync, readlinkSync, statSync, writeFileSync, readFileSync } = require('node:fs')
const { open } = require('node:fs/promises')
const path = require('node:path')
const { afterEach, beforeEach, describe, test } = require('node:test')

const { form } = require('../lib/batch')
const { Spool } = require('../lib/spool')
const { SpoolFile } = require('../lib/spool_file')
const { SpoolHome } = require('../lib/spool_home')
const { DAMAGED, INCOMPLETE, decode, encode } = require('../lib/spool_record')
const { temporaryDirectory } = require('./support/process')

const TAG = 'haraka:accounting'

function batch(seq, events = 3, size = 100) {
  const types = ['delivered', 'deferred', 'bounce']
  return form(
    'p-1',
    seq,
    Array.from({ length: events }, (_, i) => ({ type: types[i % 3], body: `"x":"${'é'.repeat(size)}"` })),
  )
}

describe('a spool record', () => {
  test('reads back with the same producer, number, tag and bytes', () => {
    const record = Buffer.concat([encode(batch(1), TAG), encode(batch(2), 'other')])
    const first = decode(record)
    assert.deepEqual(first.batch.args(), batch(1).args())
    assert.deepEqual(first.batch.counts, [1, 1, 1])
    const second = decode(record, first.end)
    assert.deepEqual([second.batch.seq, second.tag, second.end], [2, 'other', record.length])
  })

  test('is incomplete wherever it is cut, and damaged whichever byte is changed', () => {
    const record = encode(batch(1, 3, 5), TAG)
    for (let length = 0; length < record.length; length++) {
      assert.equal(decode(record.subarray(0, length)).stop, INCOMPLETE, `cut at ${length}`)
    }
    for (let i = 0; i < record.length; i++) {
      const changed = Buffer.from(record)
      changed[i] ^= 0x01
      const found = decode(changed)
      assert.ok(found.stop === DAMAGED || found.stop === INCOMPLETE, `byte ${i}`)
    }
  })

  test('says when its batch was sent, if it was', () => {
    assert.equal(decode(encode(batch(1), TAG, 1795373309671)).sent, 1795373309671)
    assert.equal(decode(encode(batch(1), TAG)).sent, 0)
  })

  test('of the version that did not say so may have been sent, and one of a later version is not guessed at', () => {
    const record = encode(batch(1), TAG)
    const payload = record.subarray(record.indexOf('\n') + 1)
    const withHeader = (fields) => {
      const sum = createHash('sha256')
        .update(JSON.stringify(fields))
        .update(payload.subarray(0, -1))
        .digest('hex')
      return Buffer.concat([Buffer.from(`${JSON.stringify([...fields, sum.slice(0, 16)])}\n`), payload])
    }
    const parts = batch(1).parts.map(({ type, count, json }) => [type, count, json.length])
    const old = decode(withHeader(['p-1', TAG, 1, parts]))
    assert.deepEqual(old.batch.args(), batch(1).args())
    assert.deepEqual([old.tag, old.sent > 0], [TAG, true])
    assert.equal(decode(withHeader([2, 'p-1', TAG, 1, parts, 0])).sent, 0)
    assert.equal(decode(withHeader([3, 'p-1', TAG, 1, parts, 0])).stop, DAMAGED)
  })

  test('is not looked for in zeros or noise', () => {
    assert.equal(decode(Buffer.alloc(10_000)).stop, DAMAGED)
    assert.equal(decode(Buffer.from('{}\n'.repeat(100))).stop, DAMAGED)
  })
})

/** From now on no file can be written beyond its first byte; returns what ends that. */
function limitFiles() {
  const limit = (size) => execFileSync('prlimit', ['--pid', process.pid, `--fsize=${size}:unlimited`])
  limit(0)
  return () => limit('unlimited')
}

function descriptors() {
  return readdirSync('/proc/self/fd').length
}

/** Paths of the directories that are synced from now on, as it happens. */
async function syncedDirectories(t) {
  const handle = await open('/dev/null')
  const synced = []
  const { sync } = Object.getPrototypeOf(handle)
  t.mock.method(Object.getPrototypeOf(handle), 'sync', function () {
    synced.push(readlinkSync(`/proc/self/fd/${this.fd}`))
    return sync.call(this)
  })
  await handle.close()
  return synced
}

describe('the spool', () => {
  let home
  beforeEach(() => {
    home = temporaryDirectory()
  })
  afterEach(() => home.remove())

  const spool = (options = {}) =>
    new Spool({
      home: { dir: async () => home.dir },
      name: 'p',
      tag: TAG,
      maxBytes: 1e6,
      fsync: true,
      ...options,
    })
  const numbers = (batches) => batches.map(({ seq }) => seq)
  const files = () => readdirSync(home.dir)

  test('gives batches back in the order of their numbers, over several files', async () => {
    const spooled = spool({ fileBytes: 2000 })
    for (let seq = 1; seq <= 20; seq++) await spooled.append(batch(seq))
    assert.ok(files().length > 3)
    const found = []
    while (!spooled.isEmpty) {
      for (const each of await spooled.peek(1500)) {
        found.push(each.seq)
        spooled.drained(each)
      }
      await spooled.shrink()
    }
    assert.deepEqual(
      found,
      Array.from({ length: 20 }, (_, i) => i + 1),
    )
    assert.deepEqual(files(), [])
    assert.equal(spooled.bytes, 0)
  })

  test('gives again what was not drained', async () => {
    const spooled = spool()
    for (let seq = 1; seq <= 3; seq++) await spooled.append(batch(seq))
    const [first] = await spooled.peek(1e6)
    spooled.drained(first)
    assert.deepEqual(numbers(await spooled.peek(1e6)), [2, 3])
  })

  test('reads a batch that is larger than what is read at once', async () => {
    const spooled = spool({ maxBytes: 1e8 })
    await spooled.append(batch(1, 9, 200_000))
    assert.deepEqual(numbers(await spooled.peek(1000)), [1])
  })

  test('refuses what would exceed its room, and has room again when files are drained', async () => {
    const spooled = spool({ maxBytes: 4000, fileBytes: 1500 })
    let seq = 0
    await assert.rejects(async () => {
      for (;;) await spooled.append(batch(++seq))
    }, /no room/)
    assert.ok(spooled.bytes <= 4000)
    for (const each of await spooled.peek(2000)) spooled.drained(each)
    await spooled.shrink()
    await spooled.append(batch(seq))
    assert.equal(numbers(await spooled.peek(1e6)).length > 0, true)
  })

  test('counts what is claimed from dead processes against its room', async () => {
    const spooled = spool({ maxBytes: 4000, elsewhere: () => 3900 })
    await assert.rejects(spooled.append(batch(1)), /no room/)
  })

  test('is for the mail server alone', async () => {
    await spool().append(batch(1))
    assert.equal(statSync(path.join(home.dir, files()[0])).mode & 0o777, 0o600)
  })

  test('keeps a file of which it cannot read a part, and goes on behind that', async () => {
    const spooled = spool()
    for (let seq = 1; seq <= 2; seq++) await spooled.append(batch(seq))
    const file = path.join(home.dir, files()[0])
    const bytes = readFileSync(file)
    bytes[5] ^= 0xff
    writeFileSync(file, bytes)
    await assert.rejects(spooled.peek(1e6), (error) => {
      assert.match(error.message, /^damaged record at 0 .* 3 events in \d+ bytes kept in .*\.damaged$/)
      return error.events === 3
    })
    await spooled.append(batch(3))
    for (const seq of [2, 3]) {
      const [found, ...more] = await spooled.peek(1e6)
      assert.deepEqual([found.seq, more], [seq, []])
      spooled.drained(found)
      await spooled.shrink()
    }
    assert.deepEqual(files(), ['p~1.sent.spool.damaged'])
    assert.deepEqual(readFileSync(path.join(home.dir, files()[0])), bytes)
  })

  test('still knows what it holds when it has let go of its files', async () => {
    const spooled = spool()
    await spooled.append(batch(1))
    const { bytes } = spooled
    await spooled.close()
    assert.equal(spooled.bytes, bytes)
    assert.equal(statSync(path.join(home.dir, files()[0])).size, bytes)
  })

  test('names a file that it begins to read, since what is read is sent, and goes on writing to it', async () => {
    const spooled = spool()
    await spooled.append(batch(1))
    assert.deepEqual(files(), ['p~1.spool'])
    spooled.drained((await spooled.peek(1e6))[0])
    await spooled.append(batch(2), 1795373309671)
    assert.deepEqual(files(), ['p~1.sent.spool'])
    assert.deepEqual(numbers(await spooled.peek(1e6)), [2])
  })

  test('does not remove a file that is being written while it is drained', async () => {
    const spooled = spool()
    await spooled.append(batch(1))
    const [first] = await spooled.peek(1e6)
    const writing = spooled.append(batch(2))
    spooled.drained(first)
    await spooled.shrink()
    await writing
    assert.deepEqual(numbers(await spooled.peek(1e6)), [2])
  })

  for (const fsync of [true, false]) {
    test(`has ${fsync ? 'each new name on disk before' : 'synced nothing when'} an append returns with spool_fsync=${fsync}`, async (t) => {
      const synced = await syncedDirectories(t)
      const root = path.join(home.dir, 'made', 'too')
      const owner = new SpoolHome(root, 'aaaaaaaaaaaa', fsync)
      const spooled = spool({ home: owner, fsync, fileBytes: 2000 })
      await spooled.append(batch(1))
      const own = path.join(root, 'aaaaaaaaaaaa')
      assert.deepEqual(synced.splice(0), fsync ? [root, path.dirname(root), home.dir, own] : [])
      for (let seq = 2; readdirSync(own).length < 3; seq++) await spooled.append(batch(seq))
      assert.deepEqual(synced.splice(0), fsync ? [own] : [], 'another file')
      await owner.close()
    })
  }

  test('keeps neither file nor descriptor of a write that failed, however often it is tried', async () => {
    const spooled = spool()
    await spooled.append(batch(1))
    const before = [files(), descriptors()]
    const unlimited = limitFiles()
    try {
      for (let i = 0; i < 10; i++) await assert.rejects(spooled.append(batch(2)), { code: 'EFBIG' })
      assert.deepEqual([files(), descriptors()], before)
    } finally {
      unlimited()
    }
    await spooled.append(batch(2))
    assert.deepEqual(numbers(await spooled.peek(1e6)), [1])
    assert.equal(files().length, 2)
  })

  test('begins another file after a failed write, so that nothing stands behind a torn record', async () => {
    const file = await SpoolFile.create(path.join(home.dir, 'x.spool'))
    await file.append(encode(batch(1), TAG), false)
    await file.close()
    await assert.rejects(file.append(encode(batch(2), TAG), false))
    const found = await SpoolFile.existing(path.join(home.dir, 'x.spool'))
    const { records } = await found.read(1e6)
    assert.deepEqual(
      records.map(({ batch: each }) => each.seq),
      [1],
    )
    await found.close()
  })
})
