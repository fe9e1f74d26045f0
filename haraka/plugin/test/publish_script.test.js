'use strict'

const assert = require('node:assert/strict')
const { readFileSync } = require('node:fs')
const path = require('node:path')
const { after, before, beforeEach, describe, test } = require('node:test')

const { ofPartition } = require('../lib/keys')
const { eventsOf, ledgerOf } = require('./support/streams')
const { Valkey } = require('./support/valkey')

const SCRIPT = readFileSync(path.join(__dirname, '..', 'lib', 'publish.lua'), 'utf8')
const KEYS = ofPartition('haraka:accounting', 0, 1).publish
const [PRODUCERS, LEDGER, DELIVERED, , BOUNCE] = KEYS

describe('the publish script', () => {
  let valkey, client

  before(async () => {
    valkey = await Valkey.start()
    client = await valkey.client()
  })
  after(async () => {
    client.destroy()
    await valkey.stop()
  })
  beforeEach(() => client.sendCommand(['FLUSHALL']))

  const command = (...args) => client.sendCommand(args.map(String))
  const publish = (...argv) => command('EVAL', SCRIPT, 5, ...KEYS, ...argv)
  const one = (seq, ...rest) => publish('p', seq, '', 'delivered', 1, `[{"seq":${seq}}]`, ...rest)
  const everything = async () => JSON.stringify([await eventsOf(valkey), await ledgerOf(valkey)])

  test('adds an entry for each type, with its count and running number', async () => {
    assert.deepEqual(await publish('p', 1, '', 'delivered', 2, '[{},{}]', 'bounce', 1, '[{}]'), ['OK'])
    assert.deepEqual(await publish('p', 2, '', 'delivered', 1, '[{}]'), ['OK'])
    const events = await eventsOf(valkey)
    assert.deepEqual([events.delivered.length, events.deferred.length, events.bounce.length], [3, 0, 1])
    assert.deepEqual(await ledgerOf(valkey), { 'delivered:published': 3, 'bounce:published': 1 })
  })

  test('says of each entry which batch it is, behind its events', async () => {
    await publish('mx1-aaaaaaaaaaaa', 1, '', 'delivered', 1, '[{}]')
    await publish('mx1-aaaaaaaaaaaa', 2, '', 'delivered', 1, '[{}]', 'bounce', 2, '[{},{}]')
    const fields = async (key) => (await command('XRANGE', key, '-', '+')).map(([, each]) => each)
    assert.deepEqual(await fields(DELIVERED), [
      ['events', '[{}]', 'n', '1', 'at', '1', 'b', 'mx1-aaaaaaaaaaaa:1'],
      ['events', '[{}]', 'n', '1', 'at', '2', 'b', 'mx1-aaaaaaaaaaaa:2'],
    ])
    assert.deepEqual(await fields(BOUNCE), [
      ['events', '[{},{}]', 'n', '2', 'at', '2', 'b', 'mx1-aaaaaaaaaaaa:2'],
    ])
  })

  test("remembers the producer's number and the server's time in ms", async () => {
    await one(1)
    const [seq, at] = (await command('HGET', PRODUCERS, 'p')).split(':')
    assert.equal(seq, '1')
    assert.ok(Math.abs(Number(at) - Date.now()) < 60_000, at)
  })

  test('takes a copy for a duplicate and counts its events', async () => {
    await one(1)
    await one(2)
    assert.deepEqual(await one(1), ['DUPLICATE', 2])
    assert.deepEqual(await one(2), ['DUPLICATE', 2])
    assert.equal((await eventsOf(valkey)).delivered.length, 2)
    assert.equal((await ledgerOf(valkey))['delivered:duplicates'], 2)
  })

  test('answers a number that leaves something out with the last one it has, and adds nothing', async () => {
    assert.deepEqual(await one(2), ['GAP', 0])
    await one(1)
    assert.deepEqual(await one(3), ['GAP', 1])
    assert.equal((await eventsOf(valkey)).delivered.length, 1)
  })

  test('accepts a gap that the producer has given up, and counts its events by type', async () => {
    await one(1)
    assert.deepEqual(await publish('p', 5, '3 0 4', 'delivered', 1, '[{}]'), ['OK'])
    assert.deepEqual(await one(6), ['OK'])
    assert.deepEqual(await ledgerOf(valkey), {
      'delivered:published': 3,
      'delivered:gap': 3,
      'bounce:gap': 4,
    })
  })

  test('counts no gap where there is none after all', async () => {
    await one(1)
    assert.deepEqual(await publish('p', 2, '3 0 4', 'delivered', 1, '[{}]'), ['OK'])
    assert.equal((await ledgerOf(valkey))['delivered:gap'], undefined)
  })

  test('keeps producers apart', async () => {
    await one(1)
    assert.deepEqual(await publish('q', 1, '', 'delivered', 1, '[{}]'), ['OK'])
    assert.deepEqual(await publish('r', 2, '', 'delivered', 1, '[{}]'), ['GAP', 0])
  })

  for (const [what, argv] of [
    ['no triple', ['p', 1, '']],
    ['half a triple', ['p', 1, '', 'delivered', 1]],
    ['a producer without a name', ['', 1, '', 'delivered', 1, '[{}]']],
    ['the number 0', ['p', 0, '', 'delivered', 1, '[{}]']],
    ['a number that is none', ['p', '1x', '', 'delivered', 1, '[{}]']],
    ['a number that no double holds', ['p', '9007199254740993', '', 'delivered', 1, '[{}]']],
    ['an unknown type', ['p', 1, '', 'lost', 1, '[{}]']],
    ['a repeated type', ['p', 1, '', 'delivered', 1, '[{}]', 'delivered', 1, '[{}]']],
    [
      'a count that is none, after a good triple',
      ['p', 1, '', 'delivered', 1, '[{}]', 'bounce', 'x', '[{}]'],
    ],
    ['the count 0', ['p', 1, '', 'delivered', 0, '[]']],
    [
      'events that are no array, after a good triple',
      ['p', 1, '', 'delivered', 1, '[{}]', 'bounce', 1, '{}'],
    ],
    ['two counts given up', ['p', 3, '1 2', 'delivered', 1, '[{}]']],
    ['a count given up that is too large', ['p', 3, '1 2 99999999999999999999', 'delivered', 1, '[{}]']],
  ]) {
    test(`refuses ${what} and writes nothing`, async () => {
      await assert.rejects(publish(...argv), /publish:/)
      assert.equal(await command('DBSIZE'), 0)
    })
  }

  for (const [index, key] of KEYS.entries()) {
    test(`refuses a ${key} of another type and writes nothing`, async () => {
      await command('SET', key, 'x')
      await assert.rejects(
        publish('p', 1, '', 'delivered', 1, '[{}]', 'deferred', 1, '[{}]', 'bounce', 1, '[{}]'),
        /is a string/,
      )
      assert.equal(await command('DBSIZE'), 1, `keys beside number ${index + 1}`)
    })
  }

  for (const value of ['many', '1.5', '0x10', '007', '']) {
    test(`refuses a ledger whose counter is "${value}" and writes nothing`, async () => {
      await command('HSET', LEDGER, 'bounce:published', value)
      await assert.rejects(publish('p', 1, '', 'delivered', 1, '[{}]', 'bounce', 1, '[{}]'), /not a count/)
      assert.equal(await command('EXISTS', DELIVERED, PRODUCERS), 0)
    })
  }

  test('refuses a copy, or a gap, whose counter is no number, and writes nothing', async () => {
    await one(1)
    await command('HSET', LEDGER, 'delivered:duplicates', 'x', 'bounce:gap', '1.5')
    const before = await command('HGETALL', LEDGER)
    await assert.rejects(one(1), /delivered:duplicates is not a count/)
    await assert.rejects(publish('p', 3, '0 0 1', 'delivered', 1, '[{}]'), /bounce:gap is not a count/)
    assert.deepEqual(await command('HGETALL', LEDGER), before)
    assert.deepEqual(await one(2), ['OK'])
  })

  test('refuses a producer whose number cannot be read and writes nothing', async () => {
    await command('HSET', PRODUCERS, 'p', 'soon')
    await assert.rejects(one(1), /unreadable/)
    assert.equal(await command('EXISTS', DELIVERED, LEDGER), 0)
  })

  test('is refused whole by a full server', async () => {
    await one(1)
    const before = await everything()
    await command('CONFIG', 'SET', 'maxmemory', 1)
    try {
      await assert.rejects(one(2, 'bounce', 1, '[{}]'), /OOM/)
    } finally {
      await command('CONFIG', 'SET', 'maxmemory', 0)
    }
    assert.equal(await everything(), before)
    assert.deepEqual(await one(2), ['OK'])
  })
})
