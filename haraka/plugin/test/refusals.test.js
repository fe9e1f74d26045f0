'use strict'

// A server that is there and takes nothing, for the reasons that servers give: each is answered by spooling, and when the
// reason is gone every event is there once.

const assert = require('node:assert/strict')
const { after, afterEach, before, beforeEach, describe, test } = require('node:test')

const { Cluster } = require('./support/cluster')
const { expected, recipients, start, temporaryDirectory, until } = require('./support/process')
const { eventsOf } = require('./support/streams')
const { Valkey, freePort } = require('./support/valkey')

let home, haraka
beforeEach(() => {
  home = temporaryDirectory()
})
afterEach(async () => {
  await haraka.accounting.retire()
  home.remove()
})

async function publisher(redis, main) {
  haraka = start('', home.dir, { spool_after_ms: 100, max_hold_ms: 20_000, ...main, redis })
  await until(() => haraka.accounting.isUp)
  await haraka.add(5)
  return haraka
}
const arrived = (server, n) =>
  until(
    () =>
      eventsOf(server).then(
        (events) => recipients(events).length >= n,
        () => false,
      ),
    20_000,
  )

/** How often a server has refused something for this reason. */
async function refusals(client, reason) {
  const stats = await client.sendCommand(['INFO', 'errorstats'])
  return Number(new RegExp(`errorstat_${reason}:count=(\\d+)`).exec(stats)?.[1] ?? 0)
}

/** Events come while the server refuses them: it says why, and they are spooled. client: of that server. */
async function refused(client, reason) {
  const { spooled } = haraka.accounting.counters
  const before = await refusals(client, reason)
  await haraka.add(10)
  await until(async () => (await refusals(client, reason)) > before)
  await haraka.add(10)
  const { counters } = haraka.accounting
  assert.ok(counters.spooled >= spooled + 20, 'on disk when their hooks were let go')
  assert.deepEqual([counters.unsafe, counters.dropped], [0, 0])
}

async function allThere(server) {
  await arrived(server, 25)
  assert.deepEqual(recipients(await eventsOf(server)), expected(25))
}

describe('a server', () => {
  let valkey, client
  before(async () => {
    valkey = await Valkey.start({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
    client = await valkey.client()
  })
  after(async () => {
    client.destroy()
    await valkey.stop()
  })
  beforeEach(() => client.sendCommand(['FLUSHALL']))

  test('that became a replica (READONLY) has the events once it is a master again', async () => {
    await publisher({ port: valkey.port })
    await client.sendCommand(['REPLICAOF', '127.0.0.1', String(await freePort())])
    await refused(client, 'READONLY')
    await client.sendCommand(['REPLICAOF', 'NO', 'ONE'])
    await allThere(valkey)
  })

  test('that wants a password at run time (NOAUTH) has the events once it wants none', async () => {
    await publisher({ port: valkey.port })
    await client.sendCommand(['CONFIG', 'SET', 'requirepass', 'secret'])
    await client.sendCommand(['CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes'])
    await refused(client, 'NOAUTH')
    await client.sendCommand(['CONFIG', 'SET', 'requirepass', ''])
    await allThere(valkey)
  })

  test('that takes a right away at run time (NOPERM) has the events once it gives it back', async () => {
    await client.sendCommand(['ACL', 'SETUSER', 'haraka', 'on', '>secret', '~*', '+@all'])
    await publisher({ port: valkey.port, username: 'haraka', password: 'secret' })
    await client.sendCommand(['ACL', 'SETUSER', 'haraka', '-xadd'])
    await refused(client, 'NOPERM')
    await client.sendCommand(['ACL', 'SETUSER', 'haraka', '+xadd'])
    await allThere(valkey)
  })
})

test('a server that still reads its data after a restart (LOADING) has the events once it has read it', async () => {
  // So slow that the events come meanwhile; it looks at its clients after each kilobyte.
  const slow = ['--key-load-delay', '20000', '--loading-process-events-interval-bytes', '1024']
  const valkey = await Valkey.start({ args: ['--save', '3600 1000000', ...slow] })
  let client
  try {
    await publisher({ port: valkey.port })
    const fill = "for i = 1, 200 do redis.call('SET', 'k' .. i, string.rep('x', 2000)) end"
    await valkey.with((command) => command('EVAL', fill, 0))
    await valkey.with((command) => command('SAVE'))
    await valkey.kill()
    await valkey.run(/Server initialized/)
    client = await until(() => valkey.client().catch(() => undefined))
    await refused(client, 'LOADING')
    await allThere(valkey)
  } finally {
    client?.destroy()
    await valkey.stop()
  }
})

describe('a cluster', () => {
  let cluster, owner, slot, client
  const tag = 'haraka:accounting'
  before(async () => {
    cluster = await Cluster.start()
    ;({ owner, slot } = await cluster.where(`{${tag}}:delivered`))
    client = await owner.client()
  })
  after(async () => {
    client.destroy()
    await cluster.stop()
  })

  test('some slot of which nobody serves (CLUSTERDOWN) has the events once it is whole', async () => {
    await publisher({ cluster: cluster.addresses })
    const other = String(slot === 0 ? 1 : slot - 1)
    const holder = await cluster.ownerOf(Number(other))
    await holder.with((command) => command('CLUSTER', 'DELSLOTS', other))
    await refused(client, 'CLUSTERDOWN')
    await holder.with((command) => command('CLUSTER', 'ADDSLOTS', other))
    await allThere(owner)
  })

  test('the keys of which have moved already while their slot has not (ASK) has the events once it has', async () => {
    await client.sendCommand(['FLUSHALL'])
    await publisher({ cluster: cluster.addresses })
    const target = cluster.nodes.find((node) => node !== owner)
    const id = (node) => node.with((command) => command('CLUSTER', 'MYID'))
    const [from, to] = [await id(owner), await id(target)]
    await target.with((command) => command('CLUSTER', 'SETSLOT', slot, 'IMPORTING', from))
    await owner.with((command) => command('CLUSTER', 'SETSLOT', slot, 'MIGRATING', to))
    const keys = await client.sendCommand(['CLUSTER', 'GETKEYSINSLOT', String(slot), '100'])
    const at = ['127.0.0.1', String(target.port), '', '0', '5000']
    await client.sendCommand(['MIGRATE', ...at, 'KEYS', ...keys])
    await refused(client, 'ASK')
    for (const node of [target, owner])
      await node.with((command) => command('CLUSTER', 'SETSLOT', slot, 'NODE', to))
    await allThere(target)
  })
})
