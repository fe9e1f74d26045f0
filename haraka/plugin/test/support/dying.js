'use strict'

// A process with accounting that adds events, of one message or spread over many, and says so, until it is killed.
// argv: port, directory, options as JSON.

const { start } = require('./process')

const [port, dir, options] = process.argv.slice(2)
const { add, one } = start(Number(port), dir, JSON.parse(options))

process.on('message', async ({ events, spread }) => {
  const each = (_, i) => one('delivered', `JOB-${i}.1`)
  await (spread ? Promise.all(Array.from({ length: events }, each)) : add(events))
  process.send({ safe: events })
})
process.send({ ready: true })
