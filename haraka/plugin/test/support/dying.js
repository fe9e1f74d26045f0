'use strict'

// A process with accounting that adds events and says so, until it is killed. argv: port, directory, options as JSON.

const { start } = require('./process')

const [port, dir, options] = process.argv.slice(2)
const { add, one } = start(Number(port), dir, JSON.parse(options))

process.on('message', async ({ events }) => {
  await add(events)
  process.send({ safe: events })
})
process.send({ ready: true })
// Hooks whose event is not safe yet keep nothing alive; the channel to the test does.
void one
