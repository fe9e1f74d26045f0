'use strict'

// node bench/mail_rate.js <directory of the npm package Haraka> [messages] [rounds]: CPU time that a real Haraka takes for a
// message: without the plugin, with a plugin whose hooks only call next(), and with this one. Each round is three new processes,
// all warmed up, that get blocks of messages in turn, so that what else the machine does meets all alike. Sender and sink
// run in this process and are not counted.

const { eventsOf } = require('../test/support/streams')
const { Valkey } = require('../test/support/valkey')
const { Haraka } = require('./haraka')

const [haraka, messages = 1000, rounds = 8] = process.argv.slice(2)
const BLOCK = 100
const SUBJECTS = { without: [], 'only next()': ['only_next'], 'with it': ['accounting-stream'] }

/** CPU ms per message of each subject. */
async function round(port) {
  const subjects = []
  try {
    for (const plugins of Object.values(SUBJECTS)) subjects.push(await Haraka.start(haraka, port, plugins))
    for (let done = 0; done < messages; done += BLOCK) {
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
  return `median ${median(list).toFixed(1)} %, mean ${mean.toFixed(1)} % +- ${error.toFixed(1)} %`
}

async function main() {
  const valkey = await Valkey.start()
  const found = []
  for (let i = 0; i < rounds; i++) {
    found.push(await round(valkey.port))
    const each = Object.keys(SUBJECTS).map((name, j) => `${name} ${found[i][j].toFixed(3)} ms`)
    console.log(`round ${i + 1}: CPU/message ${each.join(', ')}`)
  }
  const more = (a, b) => summary(found.map((cpu) => (cpu[a] / cpu[b] - 1) * 100))
  console.log(`CPU/message without, median ${median(found.map(([cpu]) => cpu)).toFixed(3)} ms`)
  console.log(`hooks that only call next(): ${more(1, 0)}`)
  console.log(`the plugin:                  ${more(2, 0)}`)
  console.log(`the plugin above such hooks: ${more(2, 1)}`)
  console.log(`events in the streams: ${(await eventsOf(valkey)).delivered.length}`)
  await valkey.stop()
}

main()
