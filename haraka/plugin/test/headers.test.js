'use strict'

const assert = require('node:assert/strict')
const { test } = require('node:test')

const fixtures = require('haraka-test-fixtures')

const { begun, names, queued } = require('../lib/headers')

function connection(lines, helo = 'client.example') {
  const made = fixtures.connection.createConnection()
  made.init_transaction()
  made.hello = { host: helo }
  made.transaction.header.parse(lines)
  return made
}

function keep(made, wanted) {
  return queued(made.transaction, wanted, begun(made))
}

test("a header's first value is kept, unfolded, its TABs untouched", () => {
  const lines = ['X-Job: a\tb\r\n', 'X-Long: one\r\n two\r\n\tthree\r\n', 'X-Job: second\r\n']
  assert.deepEqual(keep(connection(lines), ['x-job', 'x-long']).custom, {
    'x-job': 'a\tb',
    'x-long': 'one two\tthree',
  })
})

test('a header that the message does not have is left out', () => {
  assert.deepEqual(keep(connection(['Subject: x\n']), ['x-job']), { helo: 'client.example', custom: {} })
})

test('a header that is really called custom_FIELD stands in for FIELD', () => {
  const lines = ['custom_X-Job: old\n', 'custom_Subject: old\n', 'Subject: new\n']
  assert.deepEqual(keep(connection(lines), ['x-job', 'subject']).custom, { 'x-job': 'old', subject: 'new' })
})

test('mail that nobody handed in has no HELO', () => {
  assert.deepEqual(keep(connection([], null), []), { custom: {} })
})

test('what is kept is the same after a restart', () => {
  const kept = keep(connection(['X-Job: \ud800"\\\u00e4\n']), ['x-job'])
  assert.deepEqual(JSON.parse(JSON.stringify(kept)), kept)
  assert.equal(kept.custom['x-job'].isWellFormed(), true)
})

test('mail that a plugin queues has its headers, and the HELO of the message whose notes it was given', () => {
  const made = connection(['X-Job: a\n'])
  assert.deepEqual(queued(made.transaction, ['x-job'], undefined), { custom: { 'x-job': 'a' } })
  assert.deepEqual(
    queued(made.transaction, ['x-job'], { helo: 'client.example', custom: { 'x-job': 'other' } }),
    {
      helo: 'client.example',
      custom: { 'x-job': 'a' },
    },
  )
})

test('names are in lower case, without the placeholder, blanks and what cannot be one, and not without end', () => {
  const hostile = ['', 'a b', 'a:b', 'x\n', 'b\u00fc', 'y'.repeat(201), '\u001b[31m']
  assert.deepEqual(names(['-', ' X-Job ', ...hostile, 'Subject']), ['x-job', 'x', 'subject'])
  assert.equal(names(Array.from({ length: 5000 }, (_, i) => `x-${i}`)).length, 1000)
})
