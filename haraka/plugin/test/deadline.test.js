'use strict'

// Time as this process has lived it. The stalls are real: the event loop is kept busy.

const assert = require('node:assert/strict')
const { once } = require('node:events')
const net = require('node:net')
const { test } = require('node:test')

const { Deadline, LivedTime, atMost } = require('../lib/deadline')

function stall(ms) {
  const end = performance.now() + ms
  while (performance.now() < end);
}

/** A hand-moved clock. */
function clock() {
  return { ms: 0, now() { return this.ms } } // prettier-ignore
}

test('time goes on as it does, and over a stall by two looks at most', () => {
  const hand = clock()
  const time = new LivedTime(50, hand)
  hand.ms += 30
  assert.equal(time.now(), 30)
  assert.equal(time.look(), 30)
  hand.ms += 50
  assert.equal(time.look(), 80)
  hand.ms += 60_000
  assert.equal(time.now(), 180)
  assert.equal(time.look(), 180)
  hand.ms += 1
  assert.equal(time.now(), 181)
})

/** An answer that lies there when a stall of this process is over. */
async function answerDuring(ms) {
  const server = net.createServer((socket) => socket.end('answer').on('error', () => {}))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const client = net.connect(server.address().port, '127.0.0.1')
  await once(client, 'connect')
  const answer = once(client, 'data').then(() => 'answer')
  stall(ms)
  return { answer, close: () => (client.destroy(), server.close()) }
}

test('an answer that came during a stall which is longer than the deadline is in time', async () => {
  for (let i = 0; i < 5; i++) {
    const late = new Promise((resolve) => new Deadline(40, () => resolve('late')))
    const { answer, close } = await answerDuring(200)
    assert.equal(await Promise.race([answer, late]), 'answer')
    close()
  }
})

test('a deadline comes, and not before its time', async () => {
  const begin = performance.now()
  await new Promise((resolve) => new Deadline(100, resolve))
  assert.ok(performance.now() - begin >= 95)
})

test('a deadline that is cleared never comes, at whichever step', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  for (let steps = 0; steps < 4; steps++) {
    const deadline = new Deadline(20, () => assert.fail('it came'))
    for (let i = 0; i < steps; i++) t.mock.timers.tick(5)
    deadline.clear()
    t.mock.timers.tick(100)
  }
})

test('a deadline is cleared by what came during its last step', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const deadline = new Deadline(20, () => assert.fail('it came'))
  for (let i = 0; i < 4; i++) t.mock.timers.tick(5)
  // Its last timer has fired. Now the event loop looks at what came.
  deadline.clear()
  for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate)
})

test('work that is done in time has its outcome, else another', async () => {
  assert.equal(await atMost(5000, Promise.resolve('done'), 'late'), 'done')
  assert.equal(await atMost(20, new Promise(() => {}), 'late'), 'late')
  await assert.rejects(atMost(5000, Promise.reject(new Error('failed'))), /failed/)
})
