'use strict'

// Batches that may stand twice: they were sent without an answer, and by now the server has forgotten their producer, so
// that it cannot tell a copy. Pure.

/** Workers forget a producer after a day of silence at the earliest (producer_days). */
const FORGOTTEN_MS = 86_400_000

/** One line that names the events of batches of ascending numbers. */
function inDoubt(batches) {
  const [first, last] = [batches[0], batches.at(-1)]
  const events = batches.reduce((sum, batch) => sum + batch.events, 0)
  const from = `${first.producer}:${first.seq}:0`
  const to = `${last.producer}:${last.seq}:${last.events - 1}`
  const why = 'they were sent before, and the server has forgotten their producer'
  return `${events} events may stand twice: ${why}; eventIds ${from} to ${to}`
}

module.exports = { FORGOTTEN_MS, inDoubt }
