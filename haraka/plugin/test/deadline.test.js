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

test('time goes on as it does, and over a stall of any length by a tenth of a look', () => {
  const hand = clock()
  const time = new LivedTime(50, hand)
  hand.ms += 30
  assert.equal(time.now(), 30)
  assert.equal(time.look(), 30)
  hand.ms += 100
  assert.equal(time.look(), 130)
  hand.ms += 60_000
  assert.equal(time.now(), 135)
  assert.equal(time.look(), 135)
  hand.ms += 1
  assert.equal(time.now(), 136)
})

test('a loop that is stalled at every look comes to an end of its patience all the same', () => {
  const hand = clock()
  const time = new LivedTime(50, hand)
  for (let look = 0; look < 100; look++) {
    hand.ms += 700
    time.look()
  }
  assert.equal(time.now(), 500)
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

/** Let timers and their clock go on. */
function pass(t, hand, ms) {
  hand.ms += ms
  t.mock.timers.tick(ms)
}
const turns = async () => {
  for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate)
}

test('a deadline that is cleared never comes, at whichever look, nor by what came during the last one', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  for (let looks = 0; looks <= 4; looks++) {
    const hand = clock()
    const deadline = new Deadline(20, () => assert.fail('it came'), hand)
    for (let i = 0; i < looks; i++) pass(t, hand, 5)
    deadline.clear()
    for (let i = 0; i < 10; i++) pass(t, hand, 5)
    await turns()
  }
})

test('an operation of several turns that are stalled each, such as a connection, is not late', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const hand = clock()
  let isLate = false
  const deadline = new Deadline(2000, () => (isLate = true), hand)
  for (let turn = 0; turn < 20; turn++) pass(t, hand, 1500)
  await turns()
  assert.equal(isLate, false)
  for (let i = 0; i < 4; i++) pass(t, hand, 500)
  await turns()
  assert.equal(isLate, true)
  deadline.clear()
})

test('work that is done in time has its outcome, else another', async () => {
  assert.equal(await atMost(5000, Promise.resolve('done'), 'late'), 'done')
  assert.equal(await atMost(20, new Promise(() => {}), 'late'), 'late')
  await assert.rejects(atMost(5000, Promise.reject(new Error('failed'))), /failed/)
})
