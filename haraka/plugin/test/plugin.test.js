'use strict'

// The plugin as Haraka loads it, with the hooks that it registers.

const assert = require('node:assert/strict')
const { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } = require('node:fs')
const path = require('node:path')
const { afterEach, beforeEach, describe, test } = require('node:test')

const fixtures = require('haraka-test-fixtures')

const { NOTES } = require('../lib/event')
const { calls } = require('./support/hooks')
const { until, temporaryDirectory } = require('./support/process')
const { Valkey } = require('./support/valkey')

const HOOKS = ['mail', 'pre_send_trans_email', 'send_email', 'delivered', 'deferred', 'bounce']

describe('the plugin', () => {
  let home, plugin, logged
  const started = []

  beforeEach(() => {
    home = temporaryDirectory()
    mkdirSync(path.join(home.dir, 'config'))
    process.env.HARAKA = home.dir
    // No server there: what becomes of an event then is publisher.test.js's business.
    ini('[redis]\nport=1')
    global.server = { notes: {} }
  })
  afterEach(async () => {
    for (const each of started.splice(0)) {
      await each.shutdown()
      await each.accounting?.retire()
    }
    delete process.env.HARAKA
    home.remove()
  })

  function ini(text, file = 'accounting_stream.ini') {
    writeFileSync(path.join(home.dir, 'config', file), text)
  }
  function load() {
    plugin = new fixtures.plugin('index')
    logged = []
    for (const level of ['debug', 'info', 'warn', 'error'])
      plugin[`log${level}`] = (line) => logged.push(`${level}: ${line}`)
    plugin.hooks = {}
    plugin.register()
    started.push(plugin)
    return plugin
  }
  /** Let the plugin hear of an edit of its ini at once: haraka-config reads a file once, and tells 5 s later. */
  function edit(main) {
    const { get } = plugin.config
    plugin.config.get = (name, ...rest) =>
      name === 'accounting_stream.ini' ? { main, redis: { port: 1 } } : get.call(plugin.config, name, ...rest)
    plugin.load_accounting_ini()
  }
  const next = () => {
    const answers = []
    return Object.assign((...args) => answers.push(args), { answers })
  }

  test('says that it is ready once its hooks are in place', () => {
    load()
    for (const hook of [...HOOKS, 'init_master', 'init_child']) assert.ok(plugin.hooks[hook], hook)
    assert.equal(logged.at(-1), 'info: Plugin is Ready!')
  })

  test('has no timeout by Haraka, whose answer to it would be that no bounce message is sent', () => {
    load()
    assert.equal(plugin.timeout, 0)
  })

  test('starts in a single process and in workers, not in their master', () => {
    load()
    global.server = { notes: {}, cluster: { isMaster: true } }
    const inMaster = next()
    plugin.start_accounting(inMaster)
    assert.equal(plugin.accounting, undefined)
    global.server = { notes: {} }
    plugin.start_accounting(next())
    assert.ok(plugin.accounting)
    const { accounting } = plugin
    plugin.start_accounting(next())
    assert.equal(plugin.accounting, accounting, 'init_master and init_child both run')
    assert.deepEqual(inMaster.answers, [[]])
  })

  test('does not keep Haraka from loading its queue where Redis is not there, but mail that needs to know the headers', async () => {
    load()
    const begun = next()
    plugin.start_accounting(begun)
    assert.deepEqual(begun.answers, [[]])
    const queued = next()
    plugin.keep_headers(queued, { transaction: { notes: {}, header: { get_all: () => [] } } })
    assert.deepEqual(queued.answers, [])
    await until(() => queued.answers.length > 0)
    assert.deepEqual(queued.answers, [[]])
  })

  for (const scenario of ['s01_single_ok', 's04_rcpt_5xx', 's08_retry_then_ok', 's15_refused']) {
    test(`calls next() at once, once and without an argument for every hook of ${scenario}`, () => {
      load()
      plugin.start_accounting(next())
      for (const { type, hmail, params } of calls(scenario)) {
        const answered = next()
        plugin[`account_${type}`](answered, hmail, params)
        assert.deepEqual(answered.answers, [[]])
      }
      assert.equal(plugin.accounting.counters.skipped, 0)
    })
  }

  test('answers the hook and warns where the queue file could not be read', () => {
    load()
    plugin.start_accounting(next())
    const answered = next()
    plugin.account_deferred(
      answered,
      { num_failures: 1, todo: null },
      { delay: 64, err: 'Error reading queue file' },
    )
    assert.deepEqual(answered.answers, [[]])
    assert.match(logged.at(-1), /^warn: deferred: nothing to account for/)
    assert.equal(plugin.accounting.counters.skipped, 1)
  })

  test('answers the hook and says so where the arguments are not what they should be', () => {
    load()
    plugin.start_accounting(next())
    for (const [hook, hmail, params] of [
      ['delivered', { todo: {} }, undefined],
      ['delivered', undefined, []],
      ['deferred', { todo: {} }, {}],
      ['deferred', { todo: {} }, undefined],
      ['bounce', { todo: { rcpt_to: 5 } }, new Error('x')],
    ]) {
      const answered = next()
      plugin[`account_${hook}`](answered, hmail, params)
      assert.deepEqual(answered.answers, [[]], hook)
      assert.match(logged.at(-1), /^error: .* not accounted for/)
    }
  })

  /** A queue item with a message of its own, as far as answers have to do with it. */
  class Item {
    num_failures = 0
    answers = []
    constructor(number = 1) {
      this.todo = { uuid: `U.${number}`, rcpt_to: [{ address: `r${number}@a.test` }] }
    }
    delivered_respond(retval) {
      this.answers.push(['delivered', retval])
    }
    deferred_respond(retval) {
      this.answers.push(['deferred', retval])
    }
    bounce_respond(retval) {
      this.answers.push(['bounce', retval])
    }
  }

  test("has Haraka's answer wait until the event is safe, not the hook", async () => {
    load()
    plugin.start_accounting(next())
    const item = new Item()
    plugin.account_delivered(() => item.delivered_respond(CONT), item, ['h', '192.0.2.1'])
    assert.deepEqual(item.answers, [])
    await until(() => item.answers.length > 0)
    assert.equal(plugin.accounting.counters.spooled, 1, 'on disk, since no server is there')
    assert.deepEqual(item.answers, [['delivered', CONT]])
  })

  test('counts as unsafe what it cannot have wait, and accounts for it all the same', async () => {
    load()
    plugin.start_accounting(next())
    const item = Object.assign(new Item(), { delivered_respond: () => item.answers.push('at once') })
    plugin.account_delivered(() => item.delivered_respond(CONT), item, ['h', '192.0.2.1'])
    assert.deepEqual(item.answers, ['at once'])
    assert.equal(plugin.accounting.counters.unsafe, 1)
    await until(() => plugin.accounting.counters.spooled === 1)
  })

  test("lets what is thrown behind a hook of its go to Haraka, as any plugin's, and accounts for all", async () => {
    load()
    plugin.start_accounting(next())
    const thrown = new Error('of another plugin')
    const throws = () => {
      throw thrown
    }
    assert.throws(() => plugin.account_delivered(throws, new Item(1), ['h', '192.0.2.1']), thrown)
    plugin.account_delivered(next(), new Item(2), ['h', '192.0.2.1'])
    await until(() => plugin.accounting.counters.spooled === 2)
  })

  test('goes before all other plugins at its hooks, also before those of the same priority that are listed earlier', () => {
    load()
    const other = (priority) => ({ plugin: 'other', method: 'hook_bounce', priority })
    const registered = {}
    for (const hook of HOOKS) {
      const ours = { plugin: plugin.name, method: plugin.hooks[hook][0], priority: -100 }
      registered[hook] = [other(-100), ours, other(100)]
    }
    global.server = { notes: {}, plugins: { registered_hooks: registered } }
    plugin.start_accounting(next())
    for (const hook of HOOKS)
      assert.deepEqual(
        registered[hook].map((each) => each.priority),
        [-100, -100, 100],
      )
    assert.deepEqual(
      Object.values(registered).map(([first]) => first.plugin),
      Array(HOOKS.length).fill(plugin.name),
    )
    assert.deepEqual(
      logged.filter((line) => line.startsWith('warn')),
      [],
    )
  })

  test('says so where it cannot go first', () => {
    load()
    global.server = { notes: {}, plugins: {} }
    plugin.start_accounting(next())
    assert.equal(
      logged.filter((line) => /^warn: hook .* stays behind other plugins/.test(line)).length,
      HOOKS.length,
    )
  })

  test('sends bounce messages on their way by default, and stops them after all other plugins when asked to', async () => {
    load()
    const bounced = async () => {
      const item = new Item()
      const answered = next()
      plugin.account_bounce((...args) => (answered(...args), item.bounce_respond(CONT)), item, new Error('x'))
      await until(() => item.answers.length > 0)
      return [...answered.answers, ...item.answers]
    }
    assert.deepEqual(await bounced(), [[], ['bounce', CONT]])
    assert.deepEqual(plugin.hooks.bounce, ['account_bounce'])
    plugin.settings = { ...plugin.settings, suppress_dsn: true }
    assert.deepEqual(await bounced(), [[], ['bounce', OK]])
  })

  test('stops a bounce message by its own answer where it cannot be stopped later', () => {
    load()
    plugin.settings = { ...plugin.settings, suppress_dsn: true }
    const answered = next()
    plugin.account_bounce(answered, { todo: { rcpt_to: [{ address: 'r@a.test' }] } }, new Error('x'))
    assert.deepEqual(answered.answers, [[OK]])
  })

  test('keeps HELO and the wanted headers as plain strings in the notes', () => {
    ini('headers=X-Campaign, Subject\n[redis]\nport=1')
    load()
    const connection = fixtures.connection.createConnection()
    connection.init_transaction()
    connection.hello = { host: 'client.example' }
    connection.transaction.header.parse([
      'Subject: a\r\n\tb\r\n',
      'X-Campaign: one\n',
      'X-Campaign: two\n',
      'Other: x\n',
    ])
    const answered = next()
    plugin.keep_helo(answered, connection)
    // Queued by a plugin: Haraka knows the transaction only.
    plugin.keep_headers(answered, { transaction: connection.transaction })
    assert.deepEqual(answered.answers, [[], []])
    assert.deepEqual(JSON.parse(JSON.stringify(connection.transaction.notes[NOTES])), {
      helo: 'client.example',
      custom: { 'x-campaign': 'one', subject: 'a\tb' },
    })
  })

  test('lets a message without a transaction header pass', () => {
    load()
    const answered = next()
    plugin.keep_helo(answered, {})
    plugin.keep_headers(answered, {})
    assert.deepEqual(answered.answers, [[], []])
    assert.match(logged.at(-2), /^error: HELO not kept/)
    assert.match(logged.at(-1), /^error: headers not kept/)
  })

  test('with src_ip=notes looks at no connection, and forgets what it saw of one before that was set', async () => {
    ini('src_ip=socket\n[redis]\nport=1')
    load()
    plugin.start_accounting(next())
    class Item {
      todo = { uuid: 'U.1', rcpt_to: [{ address: 'r@a.test' }] }
      num_failures = 0
      try_deliver_host_on_socket(mx, host, port, socket) {
        return [mx, host, port, socket]
      }
    }
    const [seen, unseen] = [new Item(), new Item()]
    const deliver = (item) => {
      plugin.watch_socket(next(), item)
      item.try_deliver_host_on_socket({}, 'h', 25, { localAddress: '192.0.2.9' })
      plugin.account_delivered(next(), item, ['h', '192.0.2.1'])
    }
    deliver(seen)
    plugin.settings = { ...plugin.settings, src_ip: 'notes' }
    plugin.account_delivered(next(), seen, ['h', '192.0.2.1'])
    deliver(unseen)
    assert.equal(Object.hasOwn(unseen, 'try_deliver_host_on_socket'), false)
    await until(() => plugin.accounting.counters.spooled === 3)
    const root = path.join(home.dir, 'accounting_spool')
    const files = readdirSync(root, { recursive: true }).filter((name) => name.endsWith('.spool'))
    const spool = files.map((name) => readFileSync(path.join(root, name), 'latin1')).join('')
    assert.deepEqual([spool.split('"srcIp":"192.0.2.9"').length, spool.split('"jobId"').length], [2, 4])
  })

  test('takes an edited ini without registering its hooks again', async () => {
    load()
    plugin.start_accounting(next())
    const hooks = JSON.stringify(plugin.hooks)
    const before = plugin.accounting
    plugin.load_accounting_ini()
    assert.equal(plugin.accounting, before, 'nothing changed')
    edit({ headers: 'x-new' })
    assert.notEqual(plugin.accounting, before)
    assert.deepEqual(plugin.accounting.wanted, ['x-new'])
    assert.equal(JSON.stringify(plugin.hooks), hooks)
  })

  test('takes no edit any more once it is shut down', async () => {
    load()
    plugin.start_accounting(next())
    const before = plugin.accounting
    await plugin.shutdown()
    edit({ max_hold_ms: '100' })
    assert.equal(plugin.settings.max_hold_ms, 100)
    assert.equal(plugin.accounting, before)
  })

  test("hears of an edit of redis.ini and keeps it from no other plugin that reads it by Haraka's means", async () => {
    ini('headers=x-own')
    ini('[server]\nport=1\n', 'redis.ini')
    load()
    let heard = 0
    plugin.config.get('redis.ini', () => heard++)
    plugin.load_accounting_ini()
    assert.equal(plugin.settings.redis.port, 1)
    ini('[server]\nport=2\n', 'redis.ini')
    await until(() => heard > 0 && plugin.settings.redis.port === 2)
  })

  test('knows the headers that workers wanted when it starts again while Redis is away, and does not wait', async () => {
    const valkey = await Valkey.start()
    try {
      ini(`headers=x-own\n[redis]\nport=${valkey.port}`)
      await valkey.with((command) => command('SADD', '{haraka:accounting}:wanted', '-', 'x-job'))
      load()
      plugin.start_accounting(next())
      await until(() => plugin.accounting.wanted.includes('x-job'))
      await until(() => existsSync(path.join(home.dir, 'accounting_spool', 'wanted_headers.json')))
      await plugin.shutdown()
    } finally {
      await valkey.stop()
    }
    load()
    plugin.start_accounting(next())
    assert.deepEqual(plugin.accounting.wanted.toSorted(), ['x-job', 'x-own'])
    const connection = fixtures.connection.createConnection()
    connection.init_transaction()
    connection.transaction.header.parse(['X-Job: a\n'])
    const queued = next()
    plugin.keep_headers(queued, connection)
    assert.deepEqual(queued.answers, [[]])
    assert.deepEqual(connection.transaction.notes[NOTES].custom, { 'x-job': 'a' })
  })

  for (const content of [
    '{',
    '[]',
    'null',
    '{"haraka:accounting":"x-job"}',
    '{"haraka:accounting":["a b",5,{}]}',
  ]) {
    test(`makes do without what it remembers of headers where that is ${content}`, () => {
      mkdirSync(path.join(home.dir, 'accounting_spool'))
      writeFileSync(path.join(home.dir, 'accounting_spool', 'wanted_headers.json'), content)
      load()
      plugin.start_accounting(next())
      assert.deepEqual(
        plugin.accounting.wanted.filter((name) => name !== '5'),
        [],
      )
    })
  }

  test('names what is wrong in the ini and goes on with the default', () => {
    ini('max_hold_ms=soon\nheader=x\n[redis]\nport=1\n[spool]\ndir=x')
    load()
    assert.equal(plugin.settings.max_hold_ms, 500)
    const errors = logged.filter((line) => line.startsWith('error')).join('\n')
    assert.match(errors, /max_hold_ms=soon: a whole number from 1 to 20000 expected/)
    assert.match(errors, /header: no such key, the nearest is headers/)
    assert.match(errors, /\[spool\]: no such section/)
  })
})
