'use strict'

// node bench/throughput.js [events] [folder]: events a second and process into a local server, in bursts, of this state of the
// plugin or of that in another folder; and how full batches get.
// The server's settings are printed, since appendonly decides; and how many events wait at once, since what waits is young
// and every scavenge copies it. The best of ten parts of a burst is what a machine that does nothing else would give all the
// time; CPU time is that of the thread that runs the event loop, and in brackets that of all threads.

const { readFileSync } = require('node:fs')
const path = require('node:path')

const { Valkey } = require('../test/support/valkey')
const { delivery, loadPlugin } = require('./support')

const EVENTS = Number(process.argv[2] ?? 200_000)
const FOLDER = process.argv[3]
const PARTS = 10
const IN_FLIGHT = [1000, 2000, 8000]

/** CPU time of the event loop's thread, in µs. */
function threadUs() {
  return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'latin1').split(' ')[0]) / 1e3
}

/** Call hooks as long as fewer than `inFlight` wait; without turning the loop idly, which would count as CPU. */
function burst(plugin, calls, events, inFlight) {
  return new Promise((resolve) => {
    let begun = 0
    let pending = 0
    let scheduled = false
    const fill = () => {
      scheduled = false
      while (begun < events && pending < inFlight) {
        pending++
        const call = calls[begun++ % calls.length]
        call[1].done = done
        plugin.account_delivered(...call)
      }
    }
    const done = () => {
      pending--
      if (begun < events) schedule()
      else if (pending === 0) resolve()
    }
    const schedule = () => {
      if (scheduled) return
      scheduled = true
      setImmediate(fill)
    }
    fill()
  })
}

async function measure(plugin, calls, inFlight) {
  const before = plugin.accounting.counters
  const [cpu, thread, begin] = [process.cpuUsage(), threadUs(), performance.now()]
  let best = 0
  for (let part = 0; part < PARTS; part++) {
    const since = performance.now()
    await burst(plugin, calls, EVENTS / PARTS, inFlight)
    best = Math.max(best, EVENTS / PARTS / ((performance.now() - since) / 1000))
  }
  const seconds = (performance.now() - begin) / 1000
  const { user, system } = process.cpuUsage(cpu)
  const { counters } = plugin.accounting
  const each = (us) => (us / EVENTS).toFixed(2)
  console.log(
    `  ${String(inFlight).padStart(4)} at once: ${Math.round(EVENTS / seconds)} events/s, best part ${Math.round(best)},`,
    `CPU ${each(threadUs() - thread)} (${each(user + system)}) us/event,`,
    `${Math.round(EVENTS / (counters.batches - before.batches))} events/batch,`,
    `spooled ${counters.spooled - before.spooled}, dropped ${counters.dropped}`,
  )
}

async function run(args) {
  const valkey = await Valkey.start({ args })
  const { plugin, remove } = loadPlugin(valkey.port, FOLDER && { folder: path.resolve(FOLDER) })
  const calls = Array.from({ length: 10_000 }, (_, i) => delivery(i))
  await burst(plugin, calls, 50_000, 2000)
  console.log(args.join(' '))
  for (const inFlight of IN_FLIGHT) await measure(plugin, calls, inFlight)
  await plugin.shutdown()
  await valkey.stop()
  remove()
}

async function main() {
  await run(['--appendonly', 'no'])
  await run(['--appendonly', 'yes', '--appendfsync', 'everysec'])
  await run(['--appendonly', 'yes', '--appendfsync', 'always'])
}

main()
