'use strict'

const assert = require('node:assert/strict')
const path = require('node:path')
const { test } = require('node:test')

const config = require('haraka-config')

const { MAIN, REDIS, read } = require('../lib/settings')

const shipped = () => config.module_config(path.join(__dirname, '..')).get('accounting_stream.ini')
const redisOf = (own, haraka) => read({ main: {}, redis: own }, haraka, 'n').settings.redis

test('the shipped ini states every key at its default', () => {
  const ini = shipped()
  assert.deepEqual(Object.keys(ini.main), Object.keys(MAIN))
  assert.deepEqual(Object.keys(ini.redis), Object.keys(REDIS))
  const { settings, problems } = read(ini, {}, 'n')
  assert.deepEqual(problems, [])
  assert.deepEqual(settings, read({ main: {} }, {}, 'n').settings)
})

test("a node without a name takes Haraka's", () => {
  assert.equal(read({ main: {} }, {}, 'mx7').settings.node, 'mx7')
  assert.equal(read({ main: { node: 'own' } }, {}, 'mx7').settings.node, 'own')
})

test("Haraka's redis.ini says where Redis is, under all its names", () => {
  assert.equal(redisOf({}, { server: { host: 'a', port: 7 }, opts: { password: 's', db: 3 } }).host, 'a')
  const { port, password, database } = redisOf({}, { server: { port: 7 }, opts: { password: 's', db: 3 } })
  assert.deepEqual([port, password, database], [7, 's', 3])
  assert.equal(redisOf({}, { server: { ip: 'b' } }).host, 'b')
})

test("our own ini's answer to where Redis is has nothing of redis.ini mixed in", () => {
  const redis = redisOf({ host: 'own', port: '' }, { server: { host: 'a', port: 7, password: 'secret' } })
  assert.deepEqual([redis.host, redis.port, redis.password], ['own', '', ''])
})

test("what our own ini adds to redis.ini's server is added", () => {
  const redis = redisOf({ tls: 'true', password: 'own' }, { server: { host: 'a', password: 'theirs' } })
  assert.deepEqual([redis.host, redis.tls, redis.password], ['a', true, 'own'])
})

test('keys that are wrong are named and have their default', () => {
  const { settings, problems } = read(
    { main: { partitions: 0, spool_fsync: 'perhaps', on_full: 'wait', key: 'a{b}' }, redis: { prot: 1 } },
    {},
    'n',
  )
  assert.deepEqual(
    [settings.partitions, settings.spool_fsync, settings.on_full, settings.key],
    [1, true, 'drop', 'haraka:accounting'],
  )
  assert.equal(problems.length, 5)
  assert.match(problems.join('\n'), /\[redis\] prot: no such key, the nearest is port/)
})

test('a batch has time to reach the disk before its hooks are let go, whatever the ini says', () => {
  const of = (main) => read({ main }, {}, 'n')
  assert.deepEqual(of({ max_hold_ms: 400 }).problems, [])
  const { settings, problems } = of({ max_hold_ms: 100 })
  assert.equal(settings.spool_after_ms, 50)
  assert.deepEqual(problems, ['spool_after_ms=200: at most half of max_hold_ms=100 expected; 50 is used'])
  assert.equal(of({ max_hold_ms: 1, spool_after_ms: 9 }).settings.spool_after_ms, 1)
})

test('a spool that is too small for one batch of each partition is named, and has what they need', () => {
  const spool = (main) => {
    const { settings, problems } = read({ main }, {}, 'n')
    return [settings.spool_max_mb, problems]
  }
  assert.deepEqual(spool({ spool_max_mb: 5, partitions: 16 }), [5, []])
  assert.deepEqual(spool({ spool_max_mb: 1, partitions: 16 }), [
    5,
    ['spool_max_mb=1: at least 5 expected with partitions=16 and batch_max_kb=256; 5 is used'],
  ])
})

test('booleans are read in every spelling that Haraka has', () => {
  for (const word of ['true', 'yes', 'on', '1', 'enabled', true, 1])
    assert.equal(read({ main: { suppress_dsn: word } }, {}, 'n').settings.suppress_dsn, true)
  for (const word of ['false', 'no', 'off', '0', false, 0])
    assert.equal(read({ main: { spool_fsync: word } }, {}, 'n').settings.spool_fsync, false)
})
