'use strict'

const assert = require('node:assert/strict')
const { test } = require('node:test')

const { Ring } = require('../lib/ring')

const batch = (seq, counts = [1, 0, 0], length = 100) => ({ seq, counts, length })
const filled = (ring, n, now = () => 0) => {
  for (let seq = 1; seq <= n; seq++) ring.push(batch(seq), now(seq))
  return ring
}
const seqs = ({ batches }) => batches.map(({ seq }) => seq)

test('what the server lost and the ring holds is sent again, nothing is given up', () => {
  const answer = filled(new Ring(1e6, 1e6), 5).after(2, 0)
  assert.deepEqual(seqs(answer), [3, 4, 5])
  assert.deepEqual(answer.givenUp, [0, 0, 0])
})

test('the ring stays within its bytes, and what left it is counted as given up', () => {
  const ring = filled(new Ring(300, 1e6), 10)
  assert.ok(ring.bytes <= 300)
  const answer = ring.after(2, 0)
  assert.deepEqual(seqs(answer), [8, 9, 10])
  assert.deepEqual(answer.givenUp, [5, 0, 0])
})

test('the ring stays within its age, also where nothing new comes', () => {
  const ring = filled(new Ring(1e6, 51), 10, (seq) => seq * 10)
  assert.deepEqual(seqs(ring.after(0, 120)), [7, 8, 9, 10])
  assert.deepEqual(ring.after(0, 1000), { batches: [], givenUp: [10, 0, 0] })
})

test('a server that knows nothing of the producer has lost everything that left the ring', () => {
  const ring = new Ring(100, 1e6)
  ring.push(batch(1, [2, 0, 1]), 0)
  ring.push(batch(2, [0, 3, 0]), 0)
  ring.push(batch(3, [4, 0, 0]), 0)
  const answer = ring.after(0, 0)
  assert.deepEqual(seqs(answer), [3])
  assert.deepEqual(answer.givenUp, [2, 3, 1])
})

test('a batch that is acknowledged twice is held once', () => {
  const ring = filled(new Ring(1e6, 1e6), 3)
  ring.push(batch(3), 0)
  ring.push(batch(2), 0)
  assert.deepEqual(seqs(ring.after(0, 0)), [1, 2, 3])
})

test('where even the marks are gone the report is a lower bound, and memory stays bounded', () => {
  const ring = filled(new Ring(100, 1e6), 50_000)
  const { givenUp } = ring.after(5, 0)
  assert.ok(givenUp[0] > 10_000 && givenUp[0] <= 49_994, `${givenUp[0]}`)
  assert.deepEqual(ring.after(49_990, 0).givenUp, [9, 0, 0])
})
