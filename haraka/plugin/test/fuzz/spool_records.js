'use strict'

// Spool records: what is written reads back, what anybody else wrote is none, and nothing costs the records around it.

const assert = require('node:assert/strict')
const { createHash } = require('node:crypto')

const fc = require('fast-check')

const { form } = require('../../lib/batch')
const { TYPES } = require('../../lib/keys')
const { decode, encode, nextRecord } = require('../../lib/spool_record')

const TAG = 'haraka:accounting'
const COUNT = /^[1-9]\d{0,14}$/

const batch = fc
  .tuple(
    fc.integer({ min: 1, max: 999_999_999_999_999 }),
    fc.array(fc.tuple(fc.constantFrom(...TYPES), fc.string({ unit: 'binary' })), {
      minLength: 1,
      maxLength: 6,
    }),
  )
  .map(([seq, events]) =>
    form(
      'mx1-0',
      seq,
      events.map(([type, text]) => ({ type, body: `"x":${JSON.stringify(text)}` })),
    ),
  )

const field = fc.oneof(
  fc.constantFrom(2, 1, 0, -1, 1e15, 'mx1-0', TAG, '__proto__', null, '', [], {}, 'bounce'),
  fc.constantFrom([['bounce', 1, 9]], [['bounce', -1, 9]], [['__proto__', 1, 9]], [['bounce', 1, 1e12]]),
  fc.jsonValue(),
)

function signed(fields, payload) {
  const sum = createHash('sha256').update(JSON.stringify(fields)).update(payload).digest('hex').slice(0, 16)
  return Buffer.from(`${JSON.stringify([...fields, sum])}\n${payload}\n`)
}

/** Numbers of the records in some bytes, as a reader finds them. */
function numbers(bytes) {
  const found = []
  for (let at = 0; at < bytes.length;) {
    const { batch: each, end } = decode(bytes, at)
    if (each) found.push(each.seq)
    at = each ? end : at + nextRecord(bytes.subarray(at))
  }
  return found
}

/** What the publish script asks of its arguments. */
function isTaken({ batch: each, tag, sent }) {
  const [producer, seq, , ...parts] = each.args()
  assert.ok(/^[\w.-]+$/.test(producer) && COUNT.test(seq) && !/[{}\s]/.test(tag) && sent >= 0)
  assert.ok(parts.length > 0)
  for (let i = 0; i < parts.length; i += 3) {
    assert.ok(TYPES.includes(parts[i]) && COUNT.test(parts[i + 1]))
    assert.equal(JSON.parse(parts[i + 2]).length, Number(parts[i + 1]))
  }
}

const properties = {
  'a batch reads back as it was': fc.property(batch, fc.nat(), (one, sent) => {
    const found = decode(encode(one, TAG, sent))
    assert.deepEqual(found.batch, one)
    assert.deepEqual([found.tag, found.sent], [TAG, sent])
  }),
  'fields with a good checksum are what the server takes, or damage': fc.property(
    fc.array(field, { maxLength: 7 }),
    fc.constantFrom('[{"n":1}]', '[]', '[', '[1,2]'),
    (fields, payload) => {
      const found = decode(signed(fields, payload))
      if (!found.stop) isTaken(found)
    },
  ),
  'one field that is another is what the server takes, or damage': fc.property(
    fc.nat(5),
    field,
    (at, value) => {
      const fields = [2, 'mx1-0', TAG, 7, [['bounce', 1, 9]], 0].with(at, value)
      const found = decode(signed(fields, '[{"n":1}]'))
      if (!found.stop) isTaken(found)
    },
  ),
  'any bytes are no record, and are read in one pass': fc.property(
    fc.uint8Array({ maxLength: 5000 }),
    (bytes) => {
      assert.deepEqual(numbers(Buffer.from(bytes)), [])
    },
  ),
  'a change in one record costs no other': fc.property(
    fc.array(batch, { minLength: 3, maxLength: 3 }),
    fc.nat(),
    fc.nat(200),
    fc.uint8Array({ maxLength: 200 }),
    (batches, from, length, bytes) => {
      const records = batches.map((each, i) =>
        encode(form(each.producer, i + 1, [{ type: 'bounce', body: '"n":1' }]), TAG),
      )
      const middle = records[1]
      const begin = from % (middle.length - 1)
      const end = Math.min(begin + length, middle.length - 1)
      records[1] = Buffer.concat([middle.subarray(0, begin), bytes, middle.subarray(end)])
      const found = numbers(Buffer.concat(records))
      assert.equal(found[0], 1)
      assert.equal(found.at(-1), 3)
    },
  ),
}

module.exports = { properties }
