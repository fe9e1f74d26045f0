'use strict'

// What the plugin reads beside its spool: ini files, the files that they name, what workers want, what servers answer.

const assert = require('node:assert/strict')
const { execFileSync } = require('node:child_process')
const { symlinkSync, writeFileSync } = require('node:fs')
const net = require('node:net')
const path = require('node:path')
const { after, afterEach, before, beforeEach, describe, test } = require('node:test')

const fixtures = require('haraka-test-fixtures')

const { names, queued } = require('../lib/headers')
const { RedisIni, parse } = require('../lib/redis_ini')
const { read } = require('../lib/settings')
const { printable } = require('../lib/log_line')
const { WantedHeaders } = require('../lib/wanted_headers')
const { log, sleep, start, temporaryDirectory, until } = require('./support/process')
const { Valkey } = require('./support/valkey')

describe('a file that is none', () => {
  let home, haraka
  beforeEach(() => {
    home = temporaryDirectory()
  })
  afterEach(async () => {
    await haraka?.accounting.retire()
    haraka = undefined
    home.remove()
  })
  const pipe = (name) => {
    execFileSync('mkfifo', [path.join(home.dir, name)])
    return path.join(home.dir, name)
  }

  test('is refused as redis.ini, and keeps nobody waiting', () => {
    const ini = new RedisIni(pipe('redis.ini'), () => {})
    assert.throws(() => ini.read(), /a regular file expected/)
    ini.close()
  })

  test('is refused as redis.ini where it has no end', () => {
    const file = path.join(home.dir, 'redis.ini')
    symlinkSync('/dev/zero', file)
    const ini = new RedisIni(file, () => {})
    assert.throws(() => ini.read(), /a regular file expected/)
    ini.close()
  })

  for (const key of ['password_file', 'tls_ca', 'tls_cert', 'tls_key']) {
    test(`is named where it is the ${key}, as why nothing is published`, async () => {
      const file = pipe(key)
      haraka = start(1, home.dir, { redis: { [key]: file, tls: key.startsWith('tls') } })
      await until(() => haraka.lines.warn.some((line) => line.includes(`${file}: a regular file expected`)))
    })
  }

  test('a password may stand behind a link, as container platforms have it', async () => {
    writeFileSync(path.join(home.dir, 'secret'), 'x\n')
    symlinkSync('secret', path.join(home.dir, 'password'))
    haraka = start(1, home.dir, { redis: { password_file: path.join(home.dir, 'password') } })
    await until(() => haraka.lines.warn.length > 0)
    assert.match(haraka.lines.warn[0], /ECONNREFUSED/)
  })
})

describe('headers that are wanted', () => {
  test('are no names that every object has: with one of these no header of any mail was kept', () => {
    const made = newTransaction()
    made.header.parse(['X-Job: a\n'])
    const wanted = names(['constructor', '__proto__', 'x-job', 'toString', 'hasOwnProperty'])
    assert.deepEqual(queued(made, wanted).custom, { 'x-job': 'a' })
  })

  test('are texts: what is none is left out, however it is made', () => {
    const nested = JSON.parse(`${'['.repeat(5000)}${']'.repeat(5000)}`)
    assert.deepEqual(names([nested, { toString: null }, null, 7, 'x-job']), ['x-job'])
  })

  for (const [what, content] of Object.entries({
    'objects that are no texts': '{"key":[{"toString":null},"x-job"]}',
    'lists without end': `{"key":[${'['.repeat(20_000)}${']'.repeat(20_000)},"x-job"]}`,
    'the same twice': '{"key":["x-job","X-JOB"]}',
  })) {
    test(`are remembered from a file that holds ${what}`, () => {
      const home = temporaryDirectory()
      writeFileSync(path.join(home.dir, 'wanted_headers.json'), content)
      const remembered = new WantedHeaders({ root: home.dir, id: 'x' }, 'key', log())
      assert.deepEqual(remembered.read(), ['x-job'])
      home.remove()
    })
  }

  for (const key of ['__proto__', 'constructor', 'key']) {
    test(`are not remembered under ${key} where nothing is`, () => {
      const home = temporaryDirectory()
      writeFileSync(path.join(home.dir, 'wanted_headers.json'), '{"__proto__":7}')
      assert.equal(new WantedHeaders({ root: home.dir, id: 'x' }, key, log()).read(), undefined)
      home.remove()
    })
  }

  test('are not waited for where the file is a pipe', () => {
    const home = temporaryDirectory()
    execFileSync('mkfifo', [path.join(home.dir, 'wanted_headers.json')])
    const logged = log()
    assert.equal(new WantedHeaders({ root: home.dir, id: 'x' }, 'key', logged).read(), undefined)
    assert.match(logged.lines.warn[0], /a regular file expected; it is ignored/)
    home.remove()
  })
})

function newTransaction() {
  const connection = fixtures.connection.createConnection()
  connection.init_transaction()
  return connection.transaction
}

describe('an ini', () => {
  const blanks = ' '.repeat(60_000)

  for (const [what, line] of Object.entries({
    'blanks in a value': `a=x${blanks}y`,
    'blanks and a line separator': `a=${blanks}x\u2028${blanks}y`,
    'blanks before a value': `a=${blanks}`,
    'blanks behind a key': `a${blanks}!`,
    'a section without end': `[${blanks}`,
    'a key without end': `${'a'.repeat(60_000)}!`,
  })) {
    test(`is read in no time with ${what}`, () => {
      const begun = performance.now()
      for (let i = 0; i < 10; i++) parse(line)
      assert.ok(performance.now() - begun < 5000)
    })
  }

  test('gives nothing to objects that it does not name', () => {
    parse('[__proto__]\npolluted=1\n[constructor]\nprototype=1\n__proto__=1\n')
    assert.equal({}.polluted, undefined)
    const ini = JSON.parse(
      '{"main":{"__proto__":"x","constructor":"y"},"__proto__":{"node":"z"},"redis":{"__proto__":1}}',
    )
    const { settings, problems } = read(ini, { server: { __proto__: { host: 'x' }, constructor: 'y' } }, 'n')
    assert.equal(settings.node, 'n')
    assert.equal(problems.length, 4)
  })

  test('with hostile keys and values is answered in one printable line each, of a bounded length', () => {
    const hostile = '\u001b[2J\r\nforged line\u202e' + 'k'.repeat(1e6)
    const begun = performance.now()
    const ini = { main: { [hostile]: 1, partitions: hostile, key: hostile }, [hostile]: {} }
    const { problems } = read(ini, {}, 'n')
    assert.ok(performance.now() - begun < 5000)
    assert.equal(problems.length, 4)
    for (const line of problems) {
      assert.equal(printable(line, 400), line)
      assert.ok(line.length < 400)
    }
  })

  for (const key of ['k'.repeat(191), 'a\u0007b', 'a{b}', ' ']) {
    test(`is refused a key like ${JSON.stringify(key.slice(0, 5))} of ${key.length} characters`, () => {
      const { settings, problems } = read({ main: { key } }, {}, 'n')
      assert.equal(settings.key, 'haraka:accounting')
      assert.equal(problems.length, 1)
    })
  }
})

describe('a long node name and key', () => {
  let valkey, home
  before(async () => {
    valkey = await Valkey.start()
  })
  after(() => valkey.stop())

  test('leave batches that can be spooled, read and brought', async () => {
    home = temporaryDirectory()
    const key = 'k'.repeat(190)
    const options = {
      node: `${'n'.repeat(300)}/..\u00e9`,
      key,
      partitions: 2,
      spool_after_ms: 1,
      ring_seconds: 0,
    }
    const first = start(1, home.dir, options)
    await first.one()
    await first.accounting.retire()
    const second = start(valkey.port, home.dir, options)
    const inStreams = async () =>
      (await valkey.with((command) => command('KEYS', `{${key}:*}:delivered`))).length
    await until(async () => (await inStreams()) === 1)
    await second.accounting.retire()
    home.remove()
  })
})

describe('a server that answers what it likes', () => {
  let home, haraka, server, answer
  beforeEach(async () => {
    home = temporaryDirectory()
    server = net.createServer((socket) => {
      socket.on('error', () => {})
      socket.on('data', (data) => {
        for (const command of data.toString('latin1').split(/(?=\*\d+\r\n\$)/)) socket.write(answer(command))
      })
    })
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  })
  afterEach(async () => {
    await haraka.accounting.retire()
    server.close()
    home.remove()
  })

  for (const [what, reply] of Object.entries({
    'a word': '+OK\r\n',
    'a number': ':1\r\n',
    nothing: '$-1\r\n',
    'an empty list': '*0\r\n',
    'another word in a list': '*1\r\n+QUEUED\r\n',
    'a gap behind no number': '*2\r\n+GAP\r\n+x\r\n',
    'an escape': '-ERR \u001b[2J\r\n',
  })) {
    test(`is not taken to have a batch when that is ${what}`, async () => {
      answer = (command) => (/EVALSHA/i.test(command) ? reply : '*0\r\n')
      haraka = start(server.address().port, home.dir, { spool_after_ms: 1, redis: { timeout_ms: 1000 } })
      await haraka.one()
      await until(() => haraka.lines.warn.length > 0)
      assert.equal(haraka.accounting.counters.published, 0)
      assert.equal(haraka.accounting.counters.spooled, 1)
    })
  }
})

describe('a server that answers anything to what workers want', () => {
  for (const reply of [
    '+OK\r\n',
    ':7\r\n',
    '$3\r\nabc\r\n',
    '*1\r\n*1\r\n+x\r\n',
    '*1\r\n:1\r\n',
    '*-1\r\n',
  ]) {
    test(`like ${JSON.stringify(reply)} neither ends Haraka nor is taken for names`, async () => {
      const home = temporaryDirectory()
      let asked = 0
      const server = net.createServer((socket) => {
        socket.on('error', () => {})
        socket.on('data', (data) => {
          for (const command of data.toString('latin1').split(/(?=\*\d+\r\n\$)/)) {
            if (/SMEMBERS/.test(command)) asked++
            socket.write(/SMEMBERS/.test(command) ? reply : ':0\r\n')
          }
        })
      })
      await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
      const haraka = start(server.address().port, home.dir)
      await until(() => asked > 0)
      await sleep(100) // an error that nobody takes comes now, and is this test's
      assert.deepEqual(haraka.accounting.wanted, [])
      await haraka.accounting.retire()
      server.close()
      home.remove()
    })
  }
})

test('a line for the log holds nothing that a terminal obeys', () => {
  assert.equal(
    printable('a\u001b[31m\r\nb\u009b\u202e\ud800', 100),
    'a\\x1b[31m\\x0d\\x0ab\\x9b\\u202e\\ud800',
  )
  assert.ok(printable('x'.repeat(1e6), 2000).length <= 2000)
})
