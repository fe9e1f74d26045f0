'use strict'

const assert = require('node:assert/strict')
const { test } = require('node:test')

const { enhancedIn, isEnhanced } = require('../lib/enhanced')

for (const [code, text, found] of [
  ['550', '5.1.1: no such user', '5.1.1'],
  ['550', '5.1.1, no such user', '5.1.1'],
  ['550', '5.1.1<a@b.test>: unknown', '5.1.1'],
  ['550', '5.1.1', '5.1.1'],
  ['550', '5.7.511 banned', '5.7.511'],
  ['550', '#5.1.1 no such user', '5.1.1'],
  ['550', '[5.1.1] no such user', '5.1.1'],
  ['550', '<5.1.1> no such user', '5.1.1'],
  ['450', '5.7.1 come back later', '5.7.1'],
  ['550', 'sorry, no mailbox here by that name (#5.1.1 - chkusr)', '5.1.1'],
  ['550', 'no such user (#5.1.1)', '5.1.1'],
  ['550', 'no such user (5.1.1)', '5.1.1'],
  ['550', 'no such user [#5.1.1]', '5.1.1'],
  ['550', 'no such user 5.1.1', '5.1.1'],
  ['550', 'no such user 5.1.1.', '5.1.1'],
  ['554', 'mx.test said: 550 5.1.1 no such user', '5.1.1'],
  ['554', 'mx.test said: 550-5.1.1 no such user', '5.1.1'],
  ['550', 'rejected, dsn=5.7.1, see our page', '5.7.1'],
  ['550', 'Error code: 5.7.606 banned', '5.7.606'],
  // No codes.
  ['550', 'IP=5.0.2.254 - A problem occurred', undefined],
  ['550', '5.0.2.254 is listed', undefined],
  ['550', 'blocked (5.1.1.7)', undefined],
  ['550', 'Exim 4.92.3 refuses you', undefined],
  ['550', 'refused by our server (4.92.3)', undefined],
  ['550', 'write to 15.1.1 Main Street', undefined],
  ['550', 'ticket 5.1.10000', undefined],
  ['550', 'no such user', undefined],
  ['550', '', undefined],
]) {
  test(`${code} ${text}: ${found ?? 'no enhanced code'}`, () => assert.equal(enhancedIn(text, code), found))
}

test('a value is an enhanced code as a whole or not at all', () => {
  for (const value of ['5.1.1', '4.7.511']) assert.ok(isEnhanced(value))
  for (const value of ['3.1.1', '5.1', '5.1.1.1', '5.1.1 ', '5.1.1000', '', undefined, 5])
    assert.ok(!isEnhanced(value))
})

test('a huge hostile text takes no noticeable time', () => {
  const begin = performance.now()
  for (const part of ['(', '( ', '#', '5.1.', 'code ', '550 ', ' '])
    assert.equal(enhancedIn(part.repeat(1_000_000), '550'), undefined)
  assert.ok(performance.now() - begin < 5000)
})
