'use strict'

// node bench/hook.js [calls]: time that one hook call takes from the event loop, beside a bare client.xAdd of the same event
// and beside JSON.stringify of it alone. Calls come in groups of 20, as replies of several connections do; between two
// groups the loop turns.

const { setImmediate: turn } = require('node:timers/promises')

const { build, HEAD } = require('../lib/event')
const { Valkey } = require('../test/support/valkey')
const { delivery, figures, loadPlugin } = require('./support')

const CALLS = Number(process.argv[2] ?? 100_000)
const GROUP = 20

async function measure(name, call) {
  const calls = Array.from({ length: 2000 }, (_, i) => delivery(i))
  for (let i = 0; i < 20_000; i++) {
    call(calls[i % calls.length])
    if (i % GROUP === 0) await turn()
  }
  const times = new Float64Array(CALLS)
  const cpu = process.cpuUsage()
  for (let i = 0; i < CALLS; i++) {
    const begin = process.hrtime.bigint()
    call(calls[i % calls.length])
    times[i] = Number(process.hrtime.bigint() - begin)
    if (i % GROUP === 0) await turn()
  }
  const { user, system } = process.cpuUsage(cpu)
  console.log(
    `${name.padEnd(28)} ${figures(times)}   CPU ${((user + system) / CALLS).toFixed(1)} us/event, all of the process`,
  )
}

async function main() {
  const valkey = await Valkey.start()
  const { plugin, remove } = loadPlugin(valkey.port)
  const client = await valkey.client()
  let pending = 0
  const next = () => pending--
  await measure('hook delivered', ([hmail, params]) => {
    pending++
    plugin.account_delivered(next, hmail, params)
  })
  while (pending > 0) await turn()
  console.log('counters', JSON.stringify(plugin.accounting.counters.figures()))
  const context = { now: Date.now(), node: 'mx1' }
  let index = 0
  await measure('bare client.xAdd', ([hmail, params]) => {
    const events = `[${HEAD.delivered}p:1:${index++}",${build.delivered(hmail, params, context)}]`
    client.xAdd('bare', '*', { events, n: '1' }).catch(() => {})
  })
  await measure('building the event alone', ([hmail, params]) => build.delivered(hmail, params, context))
  await plugin.shutdown()
  client.destroy()
  await valkey.stop()
  remove()
}

main()
