'use strict'

// node bench/mail_rate.js <directory of the npm package Haraka> [--messages N] [--rounds N] [--warm-up N] [--intervals ms,...]
// [--controls]: CPU time that a real Haraka takes for a message without the plugin and with it, once for each
// publish_interval_ms; --controls adds hooks that only call next(), and hooks that do so every 50 ms, all together. Each round
// is a new process of each, all warmed up, that get blocks of messages in turn, so that what else the machine does meets all
// alike. Warm means that the compiler is done: it takes some 10 000 messages, and more code keeps it busy for longer. Sender
// and sink run in this process and are not counted; Haraka has a core of its own. What is compared is the CPU time of the event
// loop's thread, which bounds the mail rate, and that of all threads, which the garbage collector's and the disk's belong to.

const { parseArgs } = require('node:util')

const { eventsOf } = require('../test/support/streams')
const { Valkey } = require('../test/support/valkey')
const { Haraka, ownCore } = require('./haraka')

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    messages: { type: 'string', default: '2500' },
    rounds: { type: 'string', default: '10' },
    'warm-up': { type: 'string', default: '10000' },
    intervals: { type: 'string' },
    controls: { type: 'boolean', default: false },
  },
})
const [haraka] = positionals
const [messages, rounds, warmUp] = ['messages', 'rounds', 'warm-up'].map((name) => Number(values[name]))
const BLOCK = 100
const plugin = (ini = '') => ({ plugins: ['accounting-stream'], ini })
const CONTROLS = { 'only next()': { plugins: ['only_next'] }, 'next() every 50 ms': { plugins: ['held'] } }
const SUBJECTS = { without: { plugins: [] }, ...(values.controls && CONTROLS) }
if (values.intervals) {
  for (const ms of values.intervals.split(','))
    SUBJECTS[`plugin, interval ${ms} ms`] = plugin(`publish_interval_ms=${ms}`)
} else SUBJECTS.plugin = plugin()

/** CPU ms per message of each subject. */
async function round(port, before) {
  const subjects = []
  try {
    for (const each of Object.values(SUBJECTS))
      subjects.push(await Haraka.start(haraka, port, { ...each, before }))
    for (let done = 0; done < warmUp; done += BLOCK) {
      for (const subject of subjects) await subject.relay(BLOCK)
    }
    for (let done = 0; done < messages; done += BLOCK) {
      const first = (done / BLOCK) % subjects.length
      for (const subject of [...subjects.slice(first), ...subjects.slice(0, first)])
        await subject.measure(BLOCK)
    }
  } finally {
    for (const subject of subjects) await subject.stop()
  }
  return subjects.map(({ cpuPerMessage }) => cpuPerMessage)
}

const median = (list) => list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)]

/** Median, and mean with its standard error, as text. */
function summary(list) {
  const mean = list.reduce((sum, each) => sum + each, 0) / list.length
  const deviation = Math.sqrt(list.reduce((sum, each) => sum + (each - mean) ** 2, 0) / (list.length - 1))
  const error = deviation / Math.sqrt(list.length)
  return `median ${median(list).toFixed(1)} %, mean ${mean.toFixed(1)} +- ${error.toFixed(1)} %`
}

async function main() {
  const before = ownCore()
  const valkey = await Valkey.start()
  const names = Object.keys(SUBJECTS)
  const found = []
  for (let i = 0; i < rounds; i++) {
    found.push(await round(valkey.port, before))
    const each = names.map(
      (name, j) => `${name} ${found[i][j].main.toFixed(3)} (${found[i][j].all.toFixed(3)})`,
    )
    console.log(`round ${i + 1}: CPU ms/message, main thread (all): ${each.join(', ')}`)
  }
  for (const threads of ['main', 'all']) {
    const of = (j) => found.map((cpu) => cpu[j][threads])
    const more = (a, b) => summary(of(a).map((ms, i) => (ms / of(b)[i] - 1) * 100))
    console.log(
      `${threads} thread${threads === 'all' ? 's' : ''}: without ${median(of(0)).toFixed(3)} ms/message; more than that:`,
    )
    for (let j = 1; j < names.length; j++) console.log(`  ${names[j].padEnd(26)} ${more(j, 0)}`)
  }
  console.log(`events in the streams: ${(await eventsOf(valkey)).delivered.length}`)
  await valkey.stop()
}

main()
