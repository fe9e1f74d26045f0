'use strict'

// Where events go: one server, by URL, Unix socket, ACL user or TLS; a sentinel's master; the nodes of a cluster.

const assert = require('node:assert/strict')
const { execFileSync } = require('node:child_process')
const { once } = require('node:events')
const { readFileSync, writeFileSync } = require('node:fs')
const net = require('node:net')
const path = require('node:path')
const { after, afterEach, before, beforeEach, describe, test } = require('node:test')
const tls = require('node:tls')

const { discard, open } = require('../lib/endpoint')
const { read } = require('../lib/settings')
const { Cluster, withSentinel } = require('./support/cluster')
const { expected, recipients, sleep, start, temporaryDirectory, until } = require('./support/process')
const { Proxy } = require('./support/proxy')
const { eventsOf } = require('./support/streams')
const { Valkey, freePort, onPath } = require('./support/valkey')

/** Every command that the plugin's user needs; the README shows the same line. */
const ACL = [
  'on',
  '>secret',
  '~{haraka:accounting*',
  '+evalsha',
  '+eval',
  '+xadd',
  '+hset',
  '+hget',
  '+hincrby',
  '+type',
  '+time',
  '+smembers',
]

let home
const running = []
beforeEach(() => {
  home = temporaryDirectory()
})
afterEach(async () => {
  await Promise.all(running.splice(0).map(({ accounting }) => accounting.retire()))
  home.remove()
})

function publisher(redis, options = {}) {
  const started = start('', home.dir, { spool_after_ms: 100, ...options, redis })
  running.push(started)
  return started
}
// A sentinel closes the connections of the server that it promotes: asked again.
const count = (server, tag) =>
  eventsOf(server, tag).then(
    (events) => recipients(events).length,
    () => 0,
  )
const arrived = (server, n, tag) => until(async () => (await count(server, tag)) >= n)

describe('one server', () => {
  let valkey
  before(async () => {
    const socket = path.join(temporaryDirectory().dir, 'valkey.sock')
    valkey = await Valkey.start({ args: ['--unixsocket', socket, '--databases', '4'] })
    valkey.socket = socket
  })
  after(() => valkey.stop())
  beforeEach(() => valkey.with((command) => command('FLUSHALL')))

  test('is reached by URL', async () => {
    await publisher({ url: `redis://127.0.0.1:${valkey.port}` }).add(3)
    await arrived(valkey, 3)
  })

  test('is reached by Unix socket', async () => {
    await publisher({ path: valkey.socket }).add(3)
    await arrived(valkey, 3)
  })

  test('has the events in the database that was asked for', async () => {
    await publisher({ url: `redis://127.0.0.1:${valkey.port}/3` }).add(3)
    await until(() =>
      valkey.with(
        async (command) =>
          (await command('SELECT', 3)) && (await command('EXISTS', '{haraka:accounting}:delivered')),
      ),
    )
  })

  test('lets an ACL user in that may do no more than what the plugin needs', async () => {
    await valkey.with((command) => command('ACL', 'SETUSER', 'haraka', 'reset', ...ACL))
    writeFileSync(path.join(home.dir, 'password'), 'secret\n')
    const haraka = publisher({
      port: valkey.port,
      username: 'haraka',
      password_file: path.join(home.dir, 'password'),
    })
    await until(() => haraka.accounting.isUp)
    await haraka.add(3)
    assert.equal(haraka.accounting.counters.spooled, 0)
    await haraka.accounting.close()
    assert.equal(await valkey.with((command) => command('HLEN', '{haraka:accounting}:nodes')), 1)
    assert.deepEqual(haraka.lines.warn, [])
    assert.equal(haraka.lines.debug.filter((line) => line.includes('NOPERM')).length, 0)
  })

  test('that refuses the password gets the events once it accepts it', async () => {
    await valkey.with((command) => command('ACL', 'SETUSER', 'late', 'reset', ...ACL.with(1, '>other')))
    const haraka = publisher({ port: valkey.port, username: 'late', password: 'secret' })
    await haraka.add(3)
    await until(() => haraka.lines.warn.length > 0)
    assert.match(haraka.lines.warn.join('\n'), /cannot publish.*WRONGPASS/)
    await valkey.with((command) => command('ACL', 'SETUSER', 'late', '>secret'))
    await arrived(valkey, 3)
  })

  test('whose password was changed is said to refuse it, after the reset that came first', async () => {
    await valkey.with((command) => command('ACL', 'SETUSER', 'changed', 'reset', ...ACL))
    const haraka = publisher({ port: valkey.port, username: 'changed', password: 'secret' })
    await haraka.add(3)
    await arrived(valkey, 3)
    await valkey.with((command) => command('ACL', 'SETUSER', 'changed', 'resetpass', '>other'))
    await valkey.with((command) => command('CLIENT', 'KILL', 'USER', 'changed'))
    await until(() => haraka.lines.warn.some((line) => /cannot publish.*WRONGPASS/.test(line)))
    await sleep(300) // for further attempts
    assert.equal(haraka.lines.warn.length, 2, haraka.lines.warn.join('\n'))
    await valkey.with((command) => command('ACL', 'SETUSER', 'changed', '>secret'))
    await haraka.add(3)
    await arrived(valkey, 6)
    assert.equal(haraka.lines.info.filter((line) => line.startsWith('publishing')).length, 2)
  })

  test("gives the workers' wanted headers beside those of the ini", async () => {
    await valkey.with((command) => command('SADD', '{haraka:accounting}:wanted', '-', 'x-job', 'X-Tag'))
    const haraka = publisher({ port: valkey.port }, { headers: 'x-own' })
    await until(() => haraka.accounting.wanted.length > 1)
    assert.deepEqual(haraka.accounting.wanted.toSorted(), ['x-job', 'x-own', 'x-tag'])
  })
})

describe('the client library', () => {
  test('has one command on one connection, or an error at once: it queues nothing and connects to nothing by itself', async () => {
    const valkey = await Valkey.start()
    const proxy = await Proxy.start(valkey.port)
    const { settings } = read({ main: {}, redis: { port: proxy.port } }, {}, 'n')
    const client = await open(settings.redis, 'key')
    try {
      proxy.mode = 'swallow'
      const lost = client.sendCommand(['INCR', 'counter'])
      await until(() => valkey.with(async (command) => (await command('GET', 'counter')) === '1'))
      proxy.reset()
      await assert.rejects(lost, 'a command in flight is not sent again')
      proxy.mode = 'pass'
      await assert.rejects(client.sendCommand(['INCR', 'counter']), 'nothing waits for a connection')
      await sleep(300)
      assert.equal(proxy.connections, 1)
      assert.equal(await valkey.with((command) => command('GET', 'counter')), '1')
    } finally {
      discard(client)
      await proxy.stop()
      await valkey.stop()
    }
  })
})

describe('a server that lets nobody in', () => {
  const servers = []
  const connections = new Set()
  afterEach(() => {
    for (const socket of connections) socket.destroy()
    for (const server of servers.splice(0)) server.close()
  })

  async function listening(server) {
    servers.push(server)
    server.on('connection', (socket) => {
      connections.add(socket.on('error', () => {}))
      socket.once('close', () => connections.delete(socket))
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    return server.address().port
  }
  const opened = (redis) => {
    const { settings } = read(
      { main: {}, redis: { password: 'x', connect_timeout_ms: 100, ...redis } },
      {},
      'n',
    )
    return open(settings.redis, 'key')
  }

  test('is given up when it does not answer AUTH, which is said', async () => {
    const port = await listening(net.createServer((socket) => socket.resume()))
    await assert.rejects(opened({ port }), /^Error: no answer within 100 ms$/)
    await until(() => connections.size === 0)
    const haraka = publisher({ port, password: 'x', connect_timeout_ms: 100 })
    await haraka.add(1)
    await until(() => haraka.lines.warn.length > 0)
    assert.match(haraka.lines.warn.join('\n'), /cannot publish.* no answer within 100 ms/)
  })

  for (const [what, answer] of [
    ['answers AUTH', '+OK\r\n'],
    ['does not answer AUTH', ''],
  ]) {
    test(`is given up, and its connection closed, where it is found late and then ${what}`, async () => {
      const behind = await listening(
        tls.createServer(selfSigned(home.dir), (socket) =>
          socket.on('error', () => {}).on('data', () => socket.write(answer)),
        ),
      )
      let go
      const given = new Promise((resolve) => (go = resolve))
      const port = await listening(net.createServer((client) => hold(client, behind, given)))
      const redis = { port, tls: 'true', tls_reject_unauthorized: 'false' }
      await assert.rejects(opened(redis), /^Error: no answer within 100 ms$/)
      go()
      await until(() => connections.size === 0)
    })
  }

  /** Pass on what a client says at once, and the answers once they are given. */
  function hold(client, port, given) {
    const upstream = net.connect(port, '127.0.0.1').on('error', () => {})
    client.pipe(upstream)
    client.once('close', () => upstream.destroy())
    void given.then(() => upstream.pipe(client))
  }

  function selfSigned(dir) {
    const file = (name) => path.join(dir, name)
    const args = [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-subj',
      '/CN=x',
    ]
    execFileSync('openssl', [...args, '-keyout', file('key'), '-out', file('crt')], { stdio: 'pipe' })
    return { key: readFileSync(file('key')), cert: readFileSync(file('crt')) }
  }
})

test('the client library makes no text of what it sends, which takes as long as everything else', async () => {
  const valkey = await Valkey.start()
  const { settings } = read({ main: {}, redis: { port: valkey.port } }, {}, 'n')
  const client = await open(settings.redis, 'key')
  const bytes = Object.assign(Buffer.from('bytes'), { toString: () => assert.fail('made a text') })
  try {
    assert.equal(await client.sendCommand(['EVAL', 'return ARGV[1]', '0', bytes]), 'bytes')
  } finally {
    discard(client)
    await valkey.stop()
  }
})

test('a further connection takes next to no time from the event loop, wherever it goes', async () => {
  const valkey = await Valkey.start()
  const { settings } = read({ main: {}, redis: { port: valkey.port } }, {}, 'n')
  const classes = new Set()
  try {
    for (const database of ['', 1, 2]) {
      const client = await open({ ...settings.redis, database }, 'key')
      classes.add(Object.getPrototypeOf(client).constructor)
      discard(client)
    }
    assert.equal(classes.size, 1, 'the library made its commands once')
  } finally {
    await valkey.stop()
  }
})

const tlsServer = process.env.TLS_SERVER || onPath('redis-server')
describe(
  'TLS',
  { skip: !tlsServer && !process.env.CI && 'the bundled server has no TLS; set TLS_SERVER' },
  () => {
    let valkey, dir, file

    before(async () => {
      dir = temporaryDirectory()
      file = (name) => path.join(dir.dir, name)
      const openssl = (...args) => execFileSync('openssl', args, { cwd: dir.dir, stdio: 'pipe' })
      const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2']
      for (const ca of ['ca', 'other'])
        openssl('req', '-x509', ...key, '-keyout', `${ca}.key`, '-out', `${ca}.crt`, '-subj', `/CN=${ca}`)
      openssl(
        'req',
        ...key.slice(0, -2),
        '-keyout',
        'server.key',
        '-out',
        'server.csr',
        '-subj',
        '/CN=redis.test',
      )
      writeFileSync(file('san'), 'subjectAltName=DNS:redis.test,IP:127.0.0.1')
      openssl(
        'x509',
        '-req',
        '-in',
        'server.csr',
        '-CA',
        'ca.crt',
        '-CAkey',
        'ca.key',
        '-CAcreateserial',
        '-out',
        'server.crt',
        '-days',
        '2',
        '-extfile',
        'san',
      )
      const port = await freePort()
      const tls = [
        '--tls-port',
        String(port),
        '--tls-cert-file',
        file('server.crt'),
        '--tls-key-file',
        file('server.key'),
        '--tls-ca-cert-file',
        file('ca.crt'),
      ]
      const connection = {
        tls: true,
        rejectUnauthorized: false,
        cert: readFileSync(file('server.crt')),
        key: readFileSync(file('server.key')),
      }
      valkey = await Valkey.start({ port: 0, exec: tlsServer, args: tls, connection })
      valkey.port = port
    })
    after(async () => {
      await valkey?.stop()
      dir.remove()
    })
    beforeEach(() => valkey.with((command) => command('FLUSHALL')))

    const client = () => ({ tls_cert: file('server.crt'), tls_key: file('server.key') })

    test('reaches a server whose certificate the CA signed', async () => {
      await publisher({ url: `rediss://127.0.0.1:${valkey.port}`, tls_ca: file('ca.crt'), ...client() }).add(
        3,
      )
      await arrived(valkey, 3)
    })

    test('sends nothing to a server whose certificate another CA signed', async () => {
      const haraka = publisher({ port: valkey.port, tls: 'true', tls_ca: file('other.crt'), ...client() })
      await haraka.add(3)
      await until(() => haraka.lines.warn.length > 0)
      assert.match(haraka.lines.warn.join('\n'), /cannot publish.*certificate/)
      assert.equal(await valkey.with((command) => command('DBSIZE')), 0)
    })

    test('sends nothing to a server of another name', async () => {
      const haraka = publisher({
        port: valkey.port,
        tls: 'true',
        tls_ca: file('ca.crt'),
        tls_servername: 'else.test',
        ...client(),
      })
      await haraka.add(1)
      await until(() => haraka.lines.warn.length > 0)
      assert.match(haraka.lines.warn.join('\n'), /cannot publish.*(altnames|certificate)/)
      assert.equal(await valkey.with((command) => command('DBSIZE')), 0)
    })
  },
)

describe("a sentinel's master", () => {
  let servers
  before(async () => {
    servers = await withSentinel()
  })
  after(async () => {
    for (const server of Object.values(servers)) await server.stop()
  })

  test('is followed over a failover, and every event is there once', async () => {
    const { master, replica, sentinel } = servers
    const haraka = publisher({ sentinels: `127.0.0.1:${sentinel.port}`, timeout_ms: 500 })
    await haraka.add(50)
    await arrived(master, 50)
    await master.kill()
    for (let i = 0; i < 20; i++) await haraka.add(10)
    await arrived(replica, 250)
    assert.deepEqual(recipients(await eventsOf(replica)), expected(250))
  })
})

describe('a cluster', () => {
  let cluster
  before(async () => {
    cluster = await Cluster.start()
  })
  after(() => cluster.stop())

  test('has each partition on the node of its slot, and a message in one partition', async () => {
    const haraka = publisher({ cluster: cluster.addresses }, { key: 'spread', partitions: 4 })
    await until(() => haraka.accounting.isUp)
    await Promise.all(
      Array.from({ length: 200 }, (_, i) => haraka.one(i % 2 ? 'bounce' : 'delivered', `JOB-${i >> 1}.1`)),
    )
    let total = 0
    const seen = new Map()
    for (let i = 0; i < 4; i++) {
      const { owner } = await cluster.where(`{spread:${i}}:producers`)
      const events = Object.values(await eventsOf(owner, `spread:${i}`)).flat()
      assert.ok(events.length > 10, `${events.length} events in partition ${i}`)
      total += events.length
      for (const { jobId } of events) seen.set(jobId, (seen.get(jobId) ?? new Set()).add(i))
    }
    assert.equal(total, 200)
    assert.equal([...seen.values()].filter((partitions) => partitions.size > 1).length, 0)
  })

  test('whose slot moves gets the events once it has moved', async () => {
    const haraka = publisher({ cluster: cluster.addresses }, { key: 'moved' })
    await haraka.add(10)
    const key = '{moved}:delivered'
    const { slot, owner } = await cluster.where(key)
    await arrived(owner, 10, 'moved')
    const target = cluster.nodes.find((node) => node !== owner)
    const id = (node) => node.with((command) => command('CLUSTER', 'MYID'))
    const [from, to] = [await id(owner), await id(target)]
    await target.with((command) => command('CLUSTER', 'SETSLOT', slot, 'IMPORTING', from))
    await owner.with((command) => command('CLUSTER', 'SETSLOT', slot, 'MIGRATING', to))
    const keys = await owner.with((command) => command('CLUSTER', 'GETKEYSINSLOT', slot, 100))
    const move = (some) =>
      owner.with((command) => command('MIGRATE', '127.0.0.1', target.port, '', 0, 1000, 'KEYS', ...some))
    await move(keys.slice(0, 1))
    const halfway = haraka.add(10)
    await halfway
    assert.ok(haraka.accounting.counters.spooled >= 10, 'half a slot takes no script')
    await move(keys.slice(1))
    for (const node of [target, owner])
      await node.with((command) => command('CLUSTER', 'SETSLOT', slot, 'NODE', to))
    await haraka.add(10)
    await arrived(target, 30, 'moved')
    assert.deepEqual(recipients(await eventsOf(target, 'moved')), expected(30))
  })
})
