'use strict'

// node bench/throughput.js [events]: events a second and process into a local server, in bursts; and how full batches get.
// The server's settings are printed, since appendonly decides.

const { Valkey } = require('../test/support/valkey')
const { delivery, loadPlugin } = require('./support')

const EVENTS = Number(process.argv[2] ?? 500_000)
const IN_FLIGHT = 8000

/** Call hooks as long as fewer than IN_FLIGHT wait; without turning the loop idly, which would count as CPU. */
function burst(plugin, calls, events) {
  return new Promise((resolve) => {
    let begun = 0
    let pending = 0
    let scheduled = false
    const fill = () => {
      scheduled = false
      while (begun < events && pending < IN_FLIGHT) {
        const [hmail, params] = calls[begun++ % calls.length]
        pending++
        plugin.account_delivered(next, hmail, params)
      }
    }
    const next = () => {
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

async function run(args) {
  const valkey = await Valkey.start({ args })
  const { plugin, remove } = loadPlugin(valkey.port)
  const calls = Array.from({ length: 2000 }, (_, i) => delivery(i))
  await burst(plugin, calls, 50_000)
  const before = plugin.accounting.counters
  const cpu = process.cpuUsage()
  const begin = performance.now()
  await burst(plugin, calls, EVENTS)
  const seconds = (performance.now() - begin) / 1000
  const { user, system } = process.cpuUsage(cpu)
  const { counters } = plugin.accounting
  const events = counters.published - before.published
  console.log(
    `${args.join(' ')}: ${Math.round(events / seconds)} events/s, CPU ${((user + system) / events).toFixed(2)} us/event,`,
    `${Math.round(events / (counters.batches - before.batches))} events/batch, spooled ${counters.spooled - before.spooled},`,
    `dropped ${counters.dropped}`,
  )
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
