'use strict'

// node bench/hook.js [calls] [folder]: time that one call takes from the event loop: of the plugin's hook, of the hook of the
// plugin that it replaces, of a bare client.xAdd; and of the same hook of another state of this plugin, in that folder. Calls come in groups of 20, as replies of several connections do; between two
// groups the loop turns. The subjects take turns, 1000 calls each, so that what else the machine does meets all alike.

const path = require('node:path')
const { setImmediate: turn } = require('node:timers/promises')

const { build, complete } = require('../lib/event')
const { Valkey } = require('../test/support/valkey')
const { loadOldPlugin } = require('./old_plugin')
const { delivery, figures, loadPlugin } = require('./support')

const CALLS = Number(process.argv[2] ?? 100_000)
const BEFORE = process.argv[3]
const ROUND = 1000
const WARM_UP_ROUNDS = 20
const GROUP = 20

class Subject {
  #call
  #times = []
  #cpu = 0

  /** prepare(i): arguments of the i-th call; call(arguments): what is measured. */
  constructor(name, prepare, call) {
    this.name = name
    this.prepare = prepare
    this.#call = call
  }

  async round(warm) {
    const calls = Array.from({ length: ROUND }, (_, i) => this.prepare(i))
    const cpu = process.cpuUsage()
    for (let i = 0; i < ROUND; i++) {
      const begin = process.hrtime.bigint()
      this.#call(calls[i])
      const end = process.hrtime.bigint()
      if (warm) this.#times.push(Number(end - begin))
      if (i % GROUP === GROUP - 1) await turn()
    }
    const { user, system } = process.cpuUsage(cpu)
    if (warm) this.#cpu += user + system
  }

  toString() {
    const cpu = (this.#cpu / this.#times.length).toFixed(1).padStart(5)
    return `${this.name.padEnd(26)} ${figures(this.#times)}   CPU of the process ${cpu} us/call`
  }
}

async function main() {
  const valkey = await Valkey.start()
  const { plugin, remove } = loadPlugin(valkey.port)
  const before = BEFORE && loadPlugin(valkey.port, { folder: path.resolve(BEFORE) })
  const old = await loadOldPlugin()
  const client = await valkey.client()
  const context = { now: Date.now(), node: 'mx1' }
  let pending = 0
  const done = () => pending--
  const message = (i) => delivery(i, done)
  const called = (subject) => (args) => {
    pending++
    subject.account_delivered(...args)
  }
  const json = (i) =>
    `[${complete('delivered', `p:1:${i}`, build.delivered(...delivery(i).slice(1), context))}]`
  const idle = async () => {
    while (pending > 0) await turn()
  }
  const subjects = [
    new Subject('hook', message, called(plugin)),
    ...(before ? [new Subject('hook before', message, called(before.plugin))] : []),
    new Subject("old plugin's hook", message, ([, hmail, params]) =>
      old.plugin.delivered(() => {}, hmail, params),
    ),
    new Subject('bare client.xAdd', json, (events) => {
      pending++
      client.xAdd('bare', '*', { events, n: '1' }).then(done, done)
    }),
    new Subject('building the event alone', message, ([, hmail, params]) =>
      build.delivered(hmail, params, context),
    ),
    new Subject('the clock alone', message, () => {}),
  ]
  for (let round = 0; round < WARM_UP_ROUNDS + CALLS / ROUND; round++) {
    for (const subject of subjects) {
      await subject.round(round >= WARM_UP_ROUNDS)
      await idle()
    }
  }
  for (const subject of subjects) console.log(String(subject))
  console.log('counters', JSON.stringify(plugin.accounting.counters.figures()))
  await plugin.shutdown()
  await before?.plugin.shutdown()
  before?.remove()
  client.destroy()
  await valkey.stop()
  old.remove()
  remove()
}

main()
