'use strict'

// Haraka's answer to its hooks, on an object that has what a queue item of Haraka's has.

const assert = require('node:assert/strict')
const { beforeEach, describe, test } = require('node:test')

const constants = require('haraka-constants')

const { answerOf } = require('../lib/answer')
const { until } = require('./support/process')

constants.import(global)

class Item {
  bounce_error = null
  num_failures = 0
  calls = []
  logged = []

  delivered_respond(...args) {
    this.calls.push(['delivered', ...args])
    return 'delivered'
  }

  deferred_respond(retval, msg, params) {
    this.calls.push(['deferred', retval, this.num_failures])
    if (params?.throws) throw new Error('of Haraka')
  }

  bounce_respond(retval) {
    this.calls.push(['bounce', retval, this.bounce_error])
  }

  logcrit(line) {
    this.logged.push(line)
  }
}

describe("Haraka's answer to its hooks", () => {
  let item
  beforeEach(() => {
    item = new Item()
  })

  test('is carried out at once, with its arguments, where no event waits', () => {
    answerOf(item)
    assert.equal(item.delivered_respond(OK, 'words', { host: 'x' }), 'delivered')
    assert.deepEqual(item.calls, [['delivered', OK, 'words', { host: 'x' }]])
  })

  test('waits until the last event of the message is safe, and keeps its order over all three', () => {
    const answer = answerOf(item)
    answer.hold()
    item.delivered_respond(CONT)
    answerOf(item).hold()
    item.bounce_respond(CONT)
    item.deferred_respond(DENYSOFT, 5)
    answer.release()
    assert.deepEqual(item.calls, [])
    answer.release()
    assert.deepEqual(
      item.calls.map(([name]) => name),
      ['delivered', 'bounce', 'deferred'],
    )
  })

  test('of a next attempt waits again', () => {
    for (let attempt = 1; attempt <= 2; attempt++) {
      const answer = answerOf(item)
      answer.hold()
      item.deferred_respond(CONT)
      assert.equal(item.calls.length, attempt - 1)
      answer.release()
      assert.equal(item.calls.length, attempt)
    }
  })

  test('tells the reason and the number of failures that stood there when Haraka gave it', () => {
    const answer = answerOf(item)
    for (const number of [1, 2]) {
      answer.hold()
      item.bounce_error = `reason ${number}`
      item.num_failures = number
      item.bounce_respond(CONT)
      item.deferred_respond(CONT)
    }
    answer.release()
    answer.release()
    assert.deepEqual(item.calls, [
      ['bounce', CONT, 'reason 1'],
      ['deferred', CONT, 1],
      ['bounce', CONT, 'reason 2'],
      ['deferred', CONT, 2],
    ])
    assert.deepEqual([item.bounce_error, item.num_failures], ['reason 2', 2])
  })

  test('leaves the reason that it gives itself', () => {
    const answer = answerOf(item)
    answer.hold()
    item.bounce_error = 'first'
    item.deferred_respond = Object.getPrototypeOf(item).deferred_respond
    Object.getPrototypeOf(Object.getPrototypeOf(item)).bounce_respond = function () {
      this.bounce_error = 'of the call'
    }
    try {
      item.bounce_respond(CONT)
      item.bounce_error = 'second'
      answer.release()
      assert.equal(item.bounce_error, 'of the call')
    } finally {
      Item.prototype.bounce_respond = function (retval) {
        this.calls.push(['bounce', retval, this.bounce_error])
      }
    }
  })

  test('comes as far behind the one before it as Haraka gave it: what that began has time to end', async () => {
    const answer = answerOf(item)
    answer.hold()
    item.deferred_respond(CONT)
    const since = performance.now()
    while (performance.now() - since < 30);
    item.bounce_respond(CONT)
    answer.release()
    assert.equal(item.calls.length, 1, 'the second one is not carried out in the same turn')
    // What comes meanwhile stands behind it, also where nothing waits any more.
    item.delivered_respond(CONT)
    assert.equal(item.calls.length, 1)
    await until(() => item.calls.length === 3)
    assert.deepEqual(
      item.calls.map(([name]) => name),
      ['deferred', 'bounce', 'delivered'],
    )
  })

  test('that throws keeps none of the others back, and is told', () => {
    const answer = answerOf(item)
    answer.hold()
    item.deferred_respond(CONT, '', { throws: true })
    item.delivered_respond(CONT)
    answer.release()
    assert.deepEqual(
      item.calls.map(([name]) => name),
      ['deferred', 'delivered'],
    )
    assert.match(item.logged[0], /^deferred_respond failed: Error: of Haraka/)
  })

  test('to a bounce is OK instead of CONT where no bounce message is to be sent, and nothing else', () => {
    const answer = answerOf(item)
    answer.suppressesDsn = true
    for (const retval of [CONT, OK, DENY]) item.bounce_respond(retval)
    item.deferred_respond(CONT)
    answer.suppressesDsn = false
    item.bounce_respond(CONT)
    assert.deepEqual(
      item.calls.map(([name, retval]) => [name, retval]),
      [
        ['bounce', OK],
        ['bounce', OK],
        ['bounce', DENY],
        ['deferred', CONT],
        ['bounce', CONT],
      ],
    )
  })

  test('changes neither the prototype of messages nor what is listed or written of one', () => {
    const before = { ...Object.getOwnPropertyDescriptors(Item.prototype) }
    const keys = JSON.stringify(item)
    answerOf(item)
    assert.deepEqual(Object.getOwnPropertyDescriptors(Item.prototype), before)
    assert.equal(JSON.stringify(item), keys)
    assert.deepEqual(Object.keys(item), Object.keys(new Item()))
    assert.ok(item instanceof Item)
    new Item().delivered_respond(CONT)
  })

  test('cannot be held on an object of another kind, which stays as it is', () => {
    class Other {
      delivered_respond() {}
    }
    for (const other of [undefined, null, 5, new Other(), {}, Object.create(null), Object.freeze(new Item())])
      assert.equal(answerOf(other), undefined)
  })

  test('cannot be held where another plugin has given the message a method of its own, then or later', () => {
    item.bounce_respond = () => item.calls.push(['of another plugin'])
    assert.equal(answerOf(item), undefined)
    item.bounce_respond()
    assert.deepEqual(item.calls, [['of another plugin']])
    const later = new Item()
    answerOf(later)
    later.bounce_respond = () => {}
    assert.equal(answerOf(later), undefined)
  })
})
