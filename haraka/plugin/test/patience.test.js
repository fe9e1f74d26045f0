'use strict'

// Pure: instants are the test's.

const assert = require('node:assert/strict')
const { test } = require('node:test')

const { Patience } = require('../lib/patience')

const of = (settings) =>
  new Patience({
    max_hold_ms: 500,
    spool_after_ms: 200,
    publish_interval_ms: 50,
    on_full: 'drop',
    on_full_hold_ms: 10_000,
    ...settings,
  })

test('an event goes at once after a pause, and a batch grows until the interval since the last one is over', () => {
  assert.ok(of().growsMs(1000, 1, 1050) <= 0)
  assert.equal(of().growsMs(1000, 1, 1010), 40)
  assert.ok(of().growsMs(-Infinity, 1, 0) <= 0, 'the very first')
  assert.ok(of({ publish_interval_ms: 0 }).growsMs(1000, 1, 1000) <= 0)
})

test('so many events do not wait for others, and none waits for half of the time that it has', () => {
  assert.equal(of().growsMs(1000, 64, 1000), 0)
  assert.equal(of({ publish_interval_ms: 1000 }).growsMs(0, 63, 0), 100)
})

test('an answer is let go before it would have waited too long by the next look', () => {
  const { tickMs } = of()
  assert.equal(of().limit(false, 1000), 1000 + tickMs - 500)
  assert.equal(of({ on_full: 'hold' }).limit(true, 20_000), 20_000 + tickMs - 10_000)
  assert.equal(of({ on_full: 'hold' }).limit(false, 1000), 1000 + tickMs - 500)
})
