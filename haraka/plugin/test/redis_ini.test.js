'use strict'

const assert = require('node:assert/strict')
const { mkdirSync, rmSync, writeFileSync } = require('node:fs')
const path = require('node:path')
const { afterEach, beforeEach, test } = require('node:test')

const { RedisIni, parse } = require('../lib/redis_ini')
const { temporaryDirectory, until } = require('./support/process')

const WATCH_MS = 10

let home, file, ini
beforeEach(() => {
  home = temporaryDirectory()
  file = path.join(home.dir, 'redis.ini')
})
afterEach(() => {
  ini?.close()
  home.remove()
})

test('sections and keys are read as Haraka reads them', () => {
  const text =
    '; a comment\nx=1\n\n[server]\r\n host = a \nport=6379\n# too\n[opts]\npassword=p=;s\n[server]\ndb=\n'
  assert.deepEqual(parse(text), {
    main: { x: '1' },
    server: { host: 'a', port: '6379', db: '' },
    opts: { password: 'p=;s' },
  })
})

test('a file that is not there says nothing', () => {
  ini = new RedisIni(file, () => {})
  assert.deepEqual(ini.read(), {})
})

test('what is there and cannot be read is an error', () => {
  mkdirSync(file)
  ini = new RedisIni(file, () => {})
  assert.throws(() => ini.read(), /a regular file expected/)
})

test('it is noticed when the file is made, edited and removed', async () => {
  let changes = 0
  ini = new RedisIni(file, () => changes++, WATCH_MS)
  ini.read()
  for (const [what, work] of [
    ['made', () => writeFileSync(file, '[server]\nport=1\n')],
    ['edited', () => writeFileSync(file, '[server]\nport=2222\n')],
    ['removed', () => rmSync(file)],
  ]) {
    const before = changes
    work()
    await until(() => changes > before)
    assert.deepEqual(ini.read().server?.port, { made: '1', edited: '2222' }[what])
  }
})
