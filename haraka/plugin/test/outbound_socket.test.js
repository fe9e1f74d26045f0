'use strict'

const assert = require('node:assert/strict')
const { test } = require('node:test')

const { attemptOf, watch } = require('../lib/outbound_socket')

class Item {
  delivered = []
  mxlist = []
  try_deliver() {
    this.mxlist.shift()
    return 'tried'
  }
  try_deliver_host_on_socket(mx, host, port, socket) {
    this.delivered.push([mx, host, port, socket])
    return 'result'
  }
}

const mx = () => ({ exchange: '192.0.2.1' })
const socket = (localAddress) => ({ targetsocket: { localAddress } })

test('an item whose connections are watched delivers as before, and tells its address', () => {
  const item = new Item()
  watch(item)
  const destination = mx()
  assert.equal(item.try_deliver_host_on_socket(destination, 'h', 25, socket('192.0.2.9')), 'result')
  assert.equal(item.delivered.length, 1)
  assert.deepEqual(attemptOf(item), { mx: destination, address: '192.0.2.9' })
})

test('an item that is watched at every attempt is changed once, and no other item is', () => {
  const item = new Item()
  for (let i = 0; i < 3; i++) watch(item)
  item.try_deliver_host_on_socket(mx(), 'h', 25, socket('192.0.2.9'))
  assert.equal(item.delivered.length, 1)
  assert.deepEqual(
    Object.keys(item),
    ['delivered', 'mxlist'],
    'nothing that would be written to a queue file',
  )
  assert.equal(Object.hasOwn(new Item(), 'try_deliver_host_on_socket'), false)
})

test('what an earlier attempt left is forgotten when the next one begins', () => {
  const item = new Item()
  watch(item)
  item.try_deliver_host_on_socket(mx(), 'h', 25, socket('192.0.2.9'))
  watch(item)
  assert.equal(attemptOf(item), undefined)
})

test('the recipients that a split puts under a new item are found by their destination', () => {
  const item = new Item()
  watch(item)
  const destination = mx()
  item.try_deliver_host_on_socket(destination, 'h', 25, socket('192.0.2.9'))
  assert.equal(attemptOf(new Item(), destination).address, '192.0.2.9')
})

test('a deferral after every host was tried has no address: which one would it be', () => {
  const item = new Item()
  watch(item)
  item.try_deliver_host_on_socket(mx(), 'h', 25, socket('192.0.2.9'))
  assert.equal(attemptOf(item, undefined, 'Tried all MXs'), undefined)
})

/** An item that has tried all of its hosts, connected to the first of them where that is asked for. */
function tried(mxlist, connected) {
  const item = Object.assign(new Item(), { mxlist: [...mxlist] })
  watch(item)
  for (const each of mxlist) {
    assert.equal(item.try_deliver(), 'tried')
    if (each === connected) item.try_deliver_host_on_socket(each, 'h', 25, socket('192.0.2.9'))
  }
  item.try_deliver()
  return item
}
const host = (exchange, from_dns, port = 25) => ({ exchange, from_dns, port, priority: 0 })
const ERROR = 'Tried all MXs'

test('a deferral after the only host was tried has that as its destination, and an address where it was reached', () => {
  const only = host('192.0.2.1', 'mx.a.test')
  assert.deepEqual(attemptOf(tried([only]), undefined, ERROR), { mx: only, address: undefined })
  assert.equal(attemptOf(tried([only], only), undefined, `Too many failures (${ERROR})`).address, '192.0.2.9')
})

test('a deferral after several addresses of one host has its name and none of them', () => {
  const item = tried([host('192.0.2.1', 'mx.a.test'), host('2001:db8::1', 'mx.a.test')])
  const { mx: found, address } = attemptOf(item, undefined, ERROR)
  assert.deepEqual([found.exchange, found.port, address], ['mx.a.test', 25, undefined])
})

test('a deferral after several hosts has no destination', () => {
  const [one, other] = [host('192.0.2.1', 'mx1.a.test'), host('192.0.2.2', 'mx2.a.test')]
  for (const list of [[one, other], [one, host('192.0.2.1', 'mx1.a.test', 26)], []])
    assert.equal(attemptOf(tried(list, one), undefined, ERROR), undefined)
})

test('what an earlier attempt had tried is forgotten when the next one begins', () => {
  const item = tried([host('192.0.2.1', 'mx1.a.test')])
  watch(item)
  assert.equal(attemptOf(item, undefined, ERROR), undefined)
})

test('the recipients that Haraka 3.1.0 puts under a new item without telling where have the attempt of their delivery', () => {
  const notes = {}
  const item = Object.assign(new Item(), { notes, todo: { uuid: 'U.1' } })
  watch(item)
  item.try_deliver_host_on_socket(mx(), 'h', 25, socket('192.0.2.9'))
  const split = Object.assign(new Item(), { notes, todo: { uuid: 'U.1' } })
  const failed = 'Some recipients temp failed: x'
  assert.equal(attemptOf(split, undefined, failed).address, '192.0.2.9')
  assert.equal(
    attemptOf(Object.assign(new Item(), { notes, todo: { uuid: 'U.2' } }), undefined, failed),
    undefined,
  )
  watch(split)
  assert.equal(attemptOf(split, undefined, failed), undefined, 'not of its next attempt')
  assert.equal(JSON.stringify(notes), '{}')
})

test('an item of an unknown kind is left as it is', () => {
  const plain = { todo: {} }
  watch(plain)
  assert.deepEqual(plain, { todo: {} })
  class Changed {
    try_deliver_host_on_socket(options) {
      return options
    }
  }
  const changed = new Changed()
  watch(changed)
  assert.equal(Object.hasOwn(changed, 'try_deliver_host_on_socket'), false)
})

test('a delivery goes on where the socket cannot be looked at', () => {
  const item = new Item()
  watch(item)
  assert.equal(item.try_deliver_host_on_socket(undefined, 'h', 25, undefined), 'result')
  assert.equal(attemptOf(item), undefined)
})
