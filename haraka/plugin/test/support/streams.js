'use strict'

// What stands in the streams of a partition: every event, in order, with the entry it came in.

const { TYPES } = require('../../lib/keys')

/** {delivered: [event…], deferred, bounce}; fails where `n`, `at` or `b` does not agree with the events. */
async function eventsOf(valkey, tag = 'haraka:accounting') {
  return valkey.with(async (command) => {
    const found = {}
    for (const type of TYPES) {
      found[type] = []
      for (const [, fields] of await command('XRANGE', `{${tag}}:${type}`, '-', '+')) {
        const entry = Object.fromEntries(
          Array.from({ length: fields.length / 2 }, (_, i) => fields.slice(2 * i, 2 * i + 2)),
        )
        const events = JSON.parse(entry.events)
        // Events that a test made without ids have none to compare.
        const alien = events.find(({ eventId }) => eventId && !eventId.startsWith(`${entry.b}:`))
        if (alien) throw new Error(`b=${entry.b} of ${alien.eventId}`)
        if (Number(entry.n) !== events.length) throw new Error(`n=${entry.n} of ${events.length} events`)
        found[type].push(...events)
        if (Number(entry.at) !== found[type].length)
          throw new Error(`at=${entry.at} after ${found[type].length} events`)
      }
    }
    return found
  })
}

/** The ledger as an object of numbers. */
async function ledgerOf(valkey, tag = 'haraka:accounting') {
  const flat = await valkey.with((command) => command('HGETALL', `{${tag}}:ledger`))
  return Object.fromEntries(
    Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i], Number(flat[2 * i + 1])]),
  )
}

module.exports = { eventsOf, ledgerOf }
