'use strict'

// node bench/outage.js [seconds] [events/s]: the longest gap of the event loop, the growth of memory and how long Haraka's answers to hooks wait
// while the server is away, for each kind of outage; and whether every event is there afterwards, once. A gap is shown with
// the most CPU time that the loop's thread had in one: the rest of it went to other processes.

const { readFileSync } = require('node:fs')
const { monitorEventLoopDelay } = require('node:perf_hooks')
const { setTimeout: sleep } = require('node:timers/promises')

const { Proxy } = require('../test/support/proxy')
const { eventsOf, ledgerOf } = require('../test/support/streams')
const { Valkey } = require('../test/support/valkey')
const { delivery, loadPlugin } = require('./support')

const SECONDS = Number(process.argv[2] ?? 10)
const RATE = Number(process.argv[3] ?? 2000)
const TICK_MS = 5

/** CPU time of the event loop's thread, in ms. */
function threadMs() {
  return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'latin1').split(' ')[0]) / 1e6
}

/** The most CPU time between two looks, about a millisecond apart where nothing keeps the loop. */
class Busiest {
  ms = 0

  constructor() {
    let last = threadMs()
    this.timer = setInterval(() => {
      const now = threadMs()
      this.ms = Math.max(this.ms, now - last)
      last = now
    }, 1)
  }

  stop() {
    clearInterval(this.timer)
  }
}

class Load {
  sent = 0
  waiting = 0
  slowest = 0

  constructor(plugin) {
    this.plugin = plugin
    this.begin = performance.now()
    this.timer = setInterval(() => this.tick(), TICK_MS)
  }

  tick() {
    const due = ((performance.now() - this.begin) / 1000) * RATE
    while (this.sent < due) this.call(this.sent++)
  }

  call(number) {
    const begin = performance.now()
    this.waiting++
    const done = () => {
      this.waiting--
      this.slowest = Math.max(this.slowest, performance.now() - begin)
    }
    this.plugin.account_delivered(...delivery(number, done))
  }

  async stop() {
    clearInterval(this.timer)
    while (this.waiting > 0) await sleep(5)
  }
}

async function outage(name, begin, end) {
  const valkey = await Valkey.start({ args: ['--appendonly', 'yes', '--appendfsync', 'everysec'] })
  const proxy = await Proxy.start(valkey.port)
  const { plugin, remove } = loadPlugin(proxy.port)
  const load = new Load(plugin)
  await sleep(3000)
  global.gc?.()
  const rss = process.memoryUsage.rss()
  let peak = rss
  const sampler = setInterval(() => (peak = Math.max(peak, process.memoryUsage.rss())), 100)
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  const busiest = new Busiest()
  load.slowest = 0
  await begin({ valkey, proxy })
  await sleep(SECONDS * 1000)
  await end({ valkey, proxy })
  await load.stop()
  const recovery = performance.now()
  while (plugin.accounting.counters.published < load.sent && performance.now() - recovery < 30_000)
    await sleep(20)
  delay.disable()
  busiest.stop()
  clearInterval(sampler)
  const ids = (await eventsOf(valkey)).delivered.map(({ jobId }) => jobId)
  const { counters } = plugin.accounting
  console.log(
    `${name.padEnd(24)} loop gap max ${(delay.max / 1e6).toFixed(0)} ms (CPU ${busiest.ms.toFixed(0)} ms) p99 ${(delay.percentile(99) / 1e6).toFixed(1)} ms,`,
    `memory +${((peak - rss) / 1e6).toFixed(0)} MB, slowest answer ${load.slowest.toFixed(0)} ms, spooled ${counters.spooled},`,
    `drained ${(performance.now() - recovery).toFixed(0)} ms after the end;`,
    `events ${load.sent}, in the stream ${ids.length}, different ${new Set(ids).size}, dropped ${counters.dropped},`,
    `duplicates refused ${(await ledgerOf(valkey))['delivered:duplicates'] ?? 0}`,
  )
  await plugin.shutdown()
  await proxy.stop()
  await valkey.stop()
  remove()
}

async function main() {
  const pass = ({ proxy }) => (proxy.mode = 'pass')
  await outage('nothing', pass, pass)
  await outage(
    'server stopped',
    ({ valkey }) => valkey.signal('SIGSTOP'),
    ({ valkey }) => valkey.signal('SIGCONT'),
  )
  await outage('replies swallowed', ({ proxy }) => (proxy.mode = 'swallow'), pass)
  await outage('connections refused', ({ proxy }) => (proxy.mode = 'refuse'), pass)
  await outage(
    'server out of memory',
    ({ valkey }) => valkey.with((command) => command('CONFIG', 'SET', 'maxmemory', 1)),
    ({ valkey }) => valkey.with((command) => command('CONFIG', 'SET', 'maxmemory', 0)),
  )
  await outage(
    'server killed',
    ({ valkey }) => valkey.kill(),
    ({ valkey }) => valkey.run(),
  )
}

main()
