'use strict'

// A cluster of three masters, and a master with a replica and a sentinel, on loopback ports.

const { mkdtempSync, writeFileSync } = require('node:fs')
const os = require('node:os')
const path = require('node:path')

const { until } = require('./process')
const { Valkey, freePort } = require('./valkey')

const SLOTS = 16384

class Cluster {
  static async start(size = 3) {
    const cluster = new Cluster()
    cluster.nodes = []
    for (let i = 0; i < size; i++) {
      // The bus listens 10 000 above the port.
      let port
      do port = await freePort()
      while (port > 50_000)
      cluster.nodes.push(
        await Valkey.start({ port, args: ['--cluster-enabled', 'yes', '--cluster-node-timeout', '2000'] }),
      )
    }
    await cluster.#join()
    return cluster
  }

  get addresses() {
    return this.nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')
  }

  async #join() {
    const [first, ...others] = this.nodes
    for (const other of others)
      await first.with((command) => command('CLUSTER', 'MEET', '127.0.0.1', other.port))
    for (const [i, node] of this.nodes.entries()) {
      const from = Math.floor((SLOTS * i) / this.nodes.length)
      const to = Math.floor((SLOTS * (i + 1)) / this.nodes.length) - 1
      await node.with((command) => command('CLUSTER', 'ADDSLOTSRANGE', from, to))
    }
    for (const node of this.nodes) await until(async () => (await info(node)).includes('cluster_state:ok'))
    for (const node of this.nodes) await until(async () => (await slots(node)).length === this.nodes.length)
  }

  /** {slot, owner} of a key. */
  async where(key) {
    const [node] = this.nodes
    const slot = Number(await node.with((command) => command('CLUSTER', 'KEYSLOT', key)))
    return { slot, owner: await this.ownerOf(slot) }
  }

  async ownerOf(slot) {
    const ranges = await slots(this.nodes[0])
    const range = ranges.find(([from, to]) => Number(from) <= slot && slot <= Number(to))
    return this.nodes.find(({ port }) => port === Number(range[2][1]))
  }

  async stop() {
    for (const node of this.nodes) await node.stop()
  }
}

const info = (node) => node.with((command) => command('CLUSTER', 'INFO'))
const slots = (node) => node.with((command) => command('CLUSTER', 'SLOTS'))

/** {master, replica, sentinel}: the sentinel watches the master under the name `mymaster`. */
async function withSentinel() {
  const master = await Valkey.start()
  const replica = await Valkey.start({ args: ['--replicaof', '127.0.0.1', String(master.port)] })
  const dir = mkdtempSync(path.join(os.tmpdir(), 'accounting-sentinel-'))
  const conf = path.join(dir, 'sentinel.conf')
  const port = await freePort()
  writeFileSync(
    conf,
    [
      `port ${port}`,
      'bind 127.0.0.1',
      `dir ${dir}`,
      `sentinel monitor mymaster 127.0.0.1 ${master.port} 1`,
      'sentinel down-after-milliseconds mymaster 1000',
      'sentinel failover-timeout mymaster 5000',
      '',
    ].join('\n'),
  )
  const sentinel = await Valkey.start({ port, dir, command: [conf, '--sentinel'] })
  await until(() => replica.with(async (command) => (await command('ROLE'))[3] === 'connected'))
  const known = async (command) => (await command('SENTINEL', 'REPLICAS', 'mymaster')).length === 1
  await until(() => sentinel.with(known))
  return { master, replica, sentinel }
}

module.exports = { Cluster, withSentinel }
