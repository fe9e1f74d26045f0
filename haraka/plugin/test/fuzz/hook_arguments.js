'use strict'

// What Haraka hands to hooks, with anything in the place of any value: an event that its readers take, or none.

const assert = require('node:assert/strict')

const fc = require('fast-check')

const { NOTES, build, complete } = require('../../lib/event')
const { MARK, MAX_BYTES } = require('../../lib/text')

const text = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({ unit: 'grapheme' }),
  fc.constantFrom(
    '',
    ' ',
    '\ud800',
    'a"b\\',
    '\r\n',
    '\u0000',
    '<a@b>',
    '__proto__',
    '550 5.1.1 no',
    '\u2028',
  ),
  fc.nat(20_000).map((length) => 'é\ud83d'.repeat(length)),
)
/** What throws where it is taken for a text or a number. */
const OBJECTS = [
  { toString: [] },
  Object.create(null),
  { valueOf: 1, toString: 1 },
  Symbol('x'),
  1n,
  ['a', Symbol('y')],
]
const value = fc.oneof(
  text,
  text,
  fc.anything(),
  fc.double(),
  fc.constantFrom(undefined, null, NaN, -1, 2 ** 53, 1e308, ...OBJECTS),
)
const address = fc.oneof(
  fc.record(
    { user: value, host: value, original_host: value, original: value },
    { requiredKeys: [], noNullPrototype: true },
  ),
  fc.constant({ user: 'a', host: 'b.test' }),
)
const rcpt = fc
  .tuple(
    address,
    fc.record(
      {
        dsn_status: value, dsn_smtp_code: value, dsn_smtp_extc: value, dsn_smtp_response: value, dsn_msg: value,
        dsn_code: value, reason: value,
      },
      { requiredKeys: [], noNullPrototype: true },
    ),
  )
  .map(([own, marks]) => ({ ...own, ...marks })) // prettier-ignore
const rcpts = fc.array(rcpt, { maxLength: 3 })
const mx = fc.option(
  fc.record(
    { exchange: text, from_dns: text, port: value, using_lmtp: fc.boolean(), path: text, bind: text },
    { requiredKeys: [], noNullPrototype: true },
  ),
  { nil: undefined },
)
const notes = fc.oneof(
  fc.record(
    {
      [NOTES]: fc.record({ helo: text, custom: fc.dictionary(text, text, { noNullPrototype: true }) }),
      vmta: text,
      outbound_ip: text,
    },
    { requiredKeys: [], noNullPrototype: true },
  ),
  fc.constant(undefined),
)
const hmail = fc.record({
  num_failures: fc.nat(100),
  todo: fc.record({ rcpt_to: rcpts, queue_time: value, uuid: text, domain: text, mail_from: address, notes }),
})
const context = fc.record({ now: fc.nat(2 ** 31 - 1), node: text, vmta: text, address: text, mx })

const delivered = fc.tuple(text, text, text, value, value, text, rcpts, value, value)
const deferred = fc.record(
  { err: value, fail_recips: fc.option(rcpts, { nil: undefined }), mx, delay: value },
  { requiredKeys: [], noNullPrototype: true },
)
const bounce = fc.record(
  { message: text, mx, bounced_rcpt: fc.option(rcpts), deferred_rcpt: fc.option(rcpts) },
  { requiredKeys: [], noNullPrototype: true },
)

const LONGEST = MAX_BYTES + Buffer.byteLength(MARK)

/** Every text has a value and a bound, and is UTF-8; every number can be read. */
function look(found) {
  if (typeof found === 'string') {
    assert.ok(found !== '' && found.isWellFormed() && Buffer.byteLength(found) <= LONGEST, found.slice(0, 50))
  } else if (typeof found === 'object') {
    assert.notEqual(found, null)
    Object.values(found).forEach(look)
  } else assert.ok(typeof found !== 'number' || (found >= 0 && found < Infinity))
}

function isEvent(type, body) {
  if (body === undefined) return
  const event = JSON.parse(complete(type, 'mx1-0:1:0', body))
  look(event)
  assert.ok(Number.isInteger(event.timeLogged) && event.v === 1 && event.rcpts.length > 0)
  assert.equal(Object.getPrototypeOf(event.custom ?? {}), Object.prototype)
  for (const each of event.rcpts) {
    assert.equal(typeof each.rcpt, 'string')
    if (type !== 'delivered') assert.match(each.dsnStatus, /^[45]\.\d{1,3}\.\d{1,3}$/)
  }
}

const shaped = (type, params) =>
  fc.property(hmail, params, context, (mail, given, about) => isEvent(type, build[type](mail, given, about)))

/** A hook may throw at what is no Haraka's, for its caller to say; what it returns is an event all the same. */
const anything = (type) =>
  fc.property(fc.anything(), fc.anything(), context, (mail, given, about) => {
    let body
    try {
      body = build[type](mail, given, about)
    } catch (error) {
      assert.ok(error instanceof TypeError, error.stack)
    }
    isEvent(type, body)
  })

const properties = {
  'a delivery becomes an event': shaped('delivered', delivered),
  'a deferral becomes an event': shaped('deferred', deferred),
  'a bounce becomes an event': shaped('bounce', bounce),
  'anything is no delivery': anything('delivered'),
  'anything is no deferral': anything('deferred'),
  'anything is no bounce': anything('bounce'),
}

module.exports = { properties }
